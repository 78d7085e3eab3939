"""``table.tex``: the primary comparison as a table for a paper, in LaTeX with the booktabs package."""

import re

from bss.compare.pairs import units
from bss.compare.tables import EPOCHS, Results, generated_data
from bss.compare.wording import MINUS, PLUS_MINUS, interval_text, mean_text, point_decimals, points

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # at the beginning of a row, LaTeX takes it for the height of the row before
    "]": "{]}",
    MINUS: "$-$",
    PLUS_MINUS: r"$\pm$",
}
"""What a text must not hold as it is, and what stands for it. Other letters are left to LaTeX, which reads UTF-8."""


def escaped(text: str) -> str:
    """A text as LaTeX: every character that means something there stands for itself."""
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found.group()], text)


def as_latex(results: Results) -> str:
    """Write ``table.tex``: a row per arm, with its mean and its paired difference to the control at every outcome.

    It is a ``table`` that needs the package booktabs. Failed runs are among the numbers.
    """
    control = results.controls[0]
    epochs = results.epochs
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(_caption(results))}}}",
        rf"\begin{{tabular}}{{l{'rrr' * len(epochs)}}}",
        r"\toprule",
        " & ".join(["", *(rf"\multicolumn{{3}}{{c}}{{{escaped(EPOCHS[epoch])}}}" for epoch in epochs)]) + r" \\",
        " ".join(rf"\cmidrule(lr){{{2 + 3 * place}-{4 + 3 * place}}}" for place in range(len(epochs))),
        " & ".join(["arm", *["$n$", r"mean $\pm$ std", escaped(f"minus {control} [95 %]")] * len(epochs)]) + r" \\",
        r"\midrule",
        *(
            " & ".join([escaped(arm), *(cell for epoch in epochs for cell in _cells(results, epoch, arm))]) + r" \\"
            for arm in [control, *results.compared(control)]
        ),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cells(results: Results, epoch: str, arm: str) -> list[str]:
    """Number of seeds, mean and difference of an arm at an epoch."""
    values = results.values(epoch, failed=True)
    own = units(values.get(arm, {}))
    difference = results.difference(values, arm, results.controls[0])
    interval = difference.interval()
    ends = [] if interval is None else [interval_text(interval)]
    against = " ".join([points(difference.mean, point_decimals(interval)), *ends])
    cells = [str(len(own)), mean_text(own), "" if arm == results.controls[0] else against]
    return [escaped(cell) for cell in cells]


def _caption(results: Results) -> str:
    """What is shown, of what, and how it was come by."""
    judgement = results.judgement
    widened = ", widened for folds that train on samples in common (Nadeau and Bengio 2003)" if results.folds else ""
    said = [
        generated_data(results),
        f"Test {results.noun} in %: mean {PLUS_MINUS} standard deviation over n {results.over}, and the paired "
        f"difference to {results.controls[0]} in percentage points with its 95 % interval by Student's t{widened}.",
        "Planned before the runs." if judgement.planned else f"Exploratory: {judgement.departure}.",
    ]
    if results.imputed:
        count = len(results.imputed)
        said.append(
            f"{count} failed run{'s' * (count > 1)} at the accuracy of the training set's commonest class included."
        )
    return " ".join(text for text in said if text)
