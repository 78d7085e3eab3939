"""The figures of a report, as SVG text: small panels, which a phone shows below one another.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; lines differ in their dashes too.
"""

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bss.compare.runs import FinishedRun
from bss.compare.statistics import Difference, band
from bss.training.run_folder import read_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK = "#000000"


COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of the arms; the control is black. Source: Okabe and Ito, "Color Universal Design", 2008; without its yellow,
which is too light for a line on white."""


DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)))


WIDTH = 4.4
"""Inches of a panel. Shown at 350 pixels, the width of a phone, its letters are still 10 pixels high."""


HISTOGRAM_EPOCHS = 4
"""The most epochs that one histogram shows: more lines are not told apart."""


@contextmanager
def _figure(height: float) -> Iterator["Figure"]:
    """A figure as wide as a panel, in the look of the page. It is drawn and made SVG inside the block."""
    import matplotlib
    from matplotlib.figure import Figure

    look = {
        "text.parse_math": False,  # the name of an arm may have a dollar in it
        "svg.fonttype": "path",  # letters are shapes: every browser shows them as wide as they were laid out for
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
    }
    with matplotlib.rc_context(look):
        yield Figure(figsize=(WIDTH, height), layout="constrained")


def _svg(figure: "Figure", name: str) -> str:
    """The text of a figure, for a page that holds several; equal figures of one name are equal text."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r' id="[\w.]+_\d+"', "", drawing)  # of groups; every figure of a page has the same ones
    head = rf'<svg viewBox="\1" {_NAMESPACES} aria-hidden="true">'
    return re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', head, drawing, count=1)


_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def _short(arm: str) -> str:
    """The name of an arm, in lines of a length that leaves room for the data."""
    return "\n".join(textwrap.wrap(arm.replace("+", " + "), 22, break_on_hyphens=True))


def forest(differences: Sequence[Difference], unit: str, margin: float) -> str:
    """Draw every arm's difference to the control: a dot per seed, the mean and its intervals of 95 % and of 90 %.

    Args:
        differences: to one control; at least one of them has a mean, and those without are left out.
        unit: of the numbers, for the axis.
        margin: in that unit; a band shows which means do not matter.
    """
    known = [each for each in differences if each.mean is not None]
    names = [_short(each.arm) for each in known]
    row = 0.27 if all("\n" not in name for name in names) else 0.36  # inches
    with _figure(0.9 + row * len(known)) as figure:
        axes = figure.add_subplot()
        axes.axvspan(-margin, margin, color="#eeeeee", zorder=0)
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, each in enumerate(known):
            axes.plot(each.values, [place + 0.28] * len(each.values), "o", color="#777777", markersize=3, alpha=0.7)
            for confidence, width in ((0.95, 1.2), (0.90, 3.5)):
                if (interval := each.interval(confidence)) is not None:
                    axes.plot(interval, [place] * 2, "-", color=COLOURS[1], linewidth=width)
            axes.plot([each.mean], [place], "D", color=COLOURS[1], markersize=5)
        axes.set_yticks(range(len(known)), names)
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"minus {known[0].control}, {unit}")
        return _svg(figure, "forest" + known[0].control)


def groups(arms: Sequence[str], control: str) -> list[list[str]]:
    """Deal the arms to panels: the control and six of the others, which is what one panel can show, in each."""
    others = [arm for arm in arms if arm != control]
    size = len(COLOURS)
    return [[control, *others[at : at + size]] for at in range(0, max(len(others), 1), size)]


def curves(
    arms: Mapping[str, Sequence[FinishedRun]], control: str, path: Sequence[str], label: str, *, scale: float = 1.0
) -> str | None:
    """Draw a number of ``metrics.jsonl`` over the updates: mean of the seeds, and a band of one standard deviation.

    Args:
        arms: those of one panel.
        control: drawn in black.
        path: keys that lead to the number in a row.
        label: of the vertical axis.
        scale: factor for the numbers.

    Returns:
        None where no run has the number.
    """
    found = {arm: [curve for run in members if (curve := run.curve(*path))[0]] for arm, members in arms.items()}
    if not any(found.values()):
        return None
    with _figure(3.1) as figure:
        axes = figure.add_subplot()
        others = 0
        for arm in arms:
            colour, dash = (BLACK, "-") if arm == control else (COLOURS[others], DASHES[others])
            others += arm != control
            if found[arm]:
                x, mean, std = band([(steps, [scale * value for value in y]) for steps, y in found[arm]])
                alone = "o" if len(x) == 1 else None
                axes.plot(x, mean, color=colour, linestyle=dash, linewidth=1.4, label=arm, marker=alone, markersize=4)
                low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
                axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        _finish(figure, axes, "updates", label)
        return _svg(figure, "/".join((*path, *arms)))


def histogram(arm: str, runs: Sequence[FinishedRun]) -> tuple[str, int, list[int]] | None:
    """Draw how the difficulty of the training samples is spread, before some of the epochs that were scored.

    Returns:
        The figure, the number of scores in each line (of all seeds), and the 0-based epochs; None for an arm without
        scores.
    """
    import numpy as np

    scores = [read_scores(run.path) for run in runs]
    common = sorted(set.intersection(*({int(epoch) for epoch in each["epoch"]} for each in scores)))
    if not common:
        return None
    places = np.linspace(0, len(common) - 1, min(HISTOGRAM_EPOCHS, len(common)))
    epochs = [common[round(place)] for place in places]
    bins = np.linspace(0, 2, 41)
    count = 0
    with _figure(2.6) as figure:
        axes = figure.add_subplot()
        for colour, dash, epoch in zip(COLOURS, DASHES, epochs, strict=False):
            pooled = np.concatenate([each["difficulty"][each["epoch"] == epoch][0] for each in scores])
            pooled = pooled[np.isfinite(pooled)]
            count = len(pooled)
            share = 100 * np.histogram(pooled, bins)[0] / max(count, 1)
            axes.stairs(share, bins, color=colour, linestyle=dash, linewidth=1.4, label=f"epoch {epoch + 1}")
        _finish(figure, axes, "difficulty (0 = balanced)", "% of the samples")
        return _svg(figure, f"histogram/{arm}"), count, epochs


def _finish(figure: "Figure", axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=2.6, columnspacing=1.2)
