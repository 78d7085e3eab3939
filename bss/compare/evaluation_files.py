"""What an evaluation leaves: numbers, predictions, a table and a page, in a folder that is written whole or not at all.

Format 1, see ``docs/evaluate.md``.
"""

import csv
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss.compare import figures, robustness
from bss.compare.document import Panel, Section, document
from bss.compare.evaluation import FIRST, Evaluated, Evaluation, Head
from bss.compare.tables import Table
from bss.compare.wording import DASH, p_text, span
from bss.scoring.calibration import BINS, Reliability
from bss.scoring.measures import MEASURES, Measured
from bss.training.environment import environment
from bss.training.run_folder import read_json, sealed
from bss.utils.errors import RunFolderError, shown
from bss.utils.filesystem import whole_folder

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""Version of ``evaluation.json``."""


FILES = ("evaluation.json", "evaluation.html", "table.md", "predictions.csv", "confusion.csv")
"""Everything that an evaluation writes."""


MOST_DRAWN = 12
"""The most networks whose classes and figures stand on the page; the files have those of all."""


TITLES = {
    "accuracy": "accuracy %",
    "macro_f1": "macro F1 %",
    "map": "mAP %",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE %",
    "adaptive_ece": "adaptive ECE %",
}
"""Name of a measure -> its column."""


PERCENT = ("accuracy", "macro_f1", "map", "ece", "adaptive_ece")
"""Measures that tables show in percent."""


# ---- the folder ----------------------------------------------------------------------------------------------------


def check_free(out: Path, asked: Mapping[str, Any]) -> None:
    """Refuse a folder that holds anything but an older evaluation of the same.

    Args:
        out: the folder; one that is not there, or is empty, is free.
        asked: what is to be evaluated, in plain values.

    Raises:
        RunFolderError: it is a file, or holds something else.
    """
    way = "pass another --out, or remove it"
    if not out.is_dir():
        if out.exists() or out.is_symlink():
            raise RunFolderError(f"--out {out} is not a folder: {way}")
        return
    try:
        there = sorted(path.name for path in out.iterdir())
    except OSError as error:
        raise RunFolderError(f"--out {out} cannot be read: {error.strerror}") from error
    if not there:
        return
    strange = [name for name in there if name not in FILES]
    if strange or "evaluation.json" not in there:
        first = strange[0] if strange else there[0]
        raise RunFolderError(f"--out {out} is a folder with other files in it ({first}): {way}")
    try:
        before = read_json(out, "evaluation.json").get("asked")
    except RunFolderError as error:
        raise RunFolderError(f"--out {out} holds another evaluation, and its {error}: {way}") from error
    if before != json.loads(json.dumps(dict(asked))):
        raise RunFolderError(f"--out {out} holds an evaluation of something else: {way}")


def write(evaluation: Evaluation, out: Path, asked: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write all files of an evaluation; an older one of the same is replaced when all of them are whole.

    Args:
        evaluation: the numbers.
        out: the folder, see :func:`check_free`.
        asked: what was evaluated, in plain values.
        about: what else ``evaluation.json`` says of it: data root, list.

    Raises:
        RunFolderError: it cannot be written.
    """
    check_free(out, asked)
    tables = list(tables_of(evaluation))
    content = as_json(evaluation, asked, about)
    try:
        with whole_folder(out) as folder:
            (folder / "evaluation.json").write_text(json.dumps(sealed(content), indent=1) + "\n", encoding="utf-8")
            _write_csv(folder / "predictions.csv", prediction_rows(evaluation))
            _write_csv(folder / "confusion.csv", confusion_rows(evaluation))
            (folder / "table.md").write_text(
                "\n".join(table.markdown() for table in tables), encoding="utf-8", errors="backslashreplace"
            )
            (folder / "evaluation.html").write_text(
                page(evaluation, content), encoding="utf-8", errors="backslashreplace"
            )
    except OSError as error:
        raise RunFolderError(
            f"--out {out} cannot be written: {error.strerror or error}; nothing was left there"
        ) from error


def _write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with open(path, "w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_curves(folder: Path) -> list[robustness.Curve]:
    """The curves of missing and noisy modalities in the folder of an evaluation.

    Raises:
        RunFolderError: its ``evaluation.json`` is damaged, newer than this program, or has no curve.
    """
    path = folder / "evaluation.json"
    said = read_json(folder, "evaluation.json")
    if said.get("format") != FORMAT:
        raise RunFolderError(f"{path} has the format {shown(said.get('format'))}, and this program reads {FORMAT}")
    found = said.get("robustness")
    if not isinstance(found, list) or not found:
        raise RunFolderError(
            f"{path} has no curves for a report to show: evaluate with --drop or --noise, or leave the folder out"
        )
    return [robustness.from_json(each, f"{path}: robustness[{place}]") for place, each in enumerate(found)]


# ---- numbers -------------------------------------------------------------------------------------------------------


def as_json(evaluation: Evaluation, asked: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers of an evaluation, in plain values; NaN is null."""
    part = evaluation.part
    return {
        "format": FORMAT,
        "asked": dict(asked),
        **about,
        "part": {
            "title": part.title,
            "samples": len(part),
            "groups": None if part.groups is None else len(set(part.groups)),
            "grouped_by": part.grouped_by,
            "dropped": list(part.dropped),
            **({"blank": list(part.blank)} if part.blank else {}),
        },
        "ece": {"bins": BINS, "of": "top label", "closed": "right, the first at 0 too"},
        "runs": [_described(run) for run in evaluation.runs],
        "ensembles": [_described(run) for run in evaluation.ensembles],
        "mcnemar": [pair._asdict() for pair in evaluation.pairs],
        "robustness": [robustness.as_json(curve) for curve in evaluation.curves],
        "notes": list(evaluation.notes),
        **environment(),
    }


def _described(run: Evaluated) -> dict[str, Any]:
    own = run.own
    return {
        "label": run.label,
        "arm": run.arm,
        "seeds": list(run.seeds),
        "folders": list(run.folders),
        "checkpoint": run.checkpoint or None,
        "epoch": run.epoch,
        "device": run.device,
        "samples": len(run.names),
        "classes_with_samples": run.occurring,
        "classes": list(run.classes),
        "own_test": None
        if own is None
        else {"same": own.same, "flipped": own.flipped, "largest": own.largest, "elsewhere": own.elsewhere},
        "trained_on": run.trained_on,
        "imbalance": run.imbalance,
        "heads": {name: _head(head, run.classes) for name, head in run.heads.items()},
        "recipe": run.recipe,
    }


def _head(head: Head, classes: Sequence[str]) -> dict[str, Any]:
    return {
        **{name: {"value": value, "interval": interval} for name, (value, interval) in head.measured.items()},
        "averaged_classes": {"macro_f1": head.averaged, "map": sum(row.samples > 0 for row in head.rows)},
        "classes": [
            {"class": name, **{key: _plain(value) for key, value in row._asdict().items()}}
            for name, row in zip(classes, head.rows, strict=True)
        ],
        "confusion": head.confusion_CC.tolist(),
        "reliability": _curve(head.reliability),
        "adaptive_reliability": _curve(head.adaptive),
    }


def _curve(curve: Reliability) -> dict[str, Any]:
    """A reliability curve in plain values, n of each bin included."""
    bins = curve.bins
    return {
        "edges": curve.edges.tolist(),
        "n": bins.weight.astype(int).tolist(),
        "confidence": [_plain(value) for value in bins.confidence.tolist()],
        "accuracy": [_plain(value) for value in bins.accuracy.tolist()],
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def prediction_rows(evaluation: Evaluation) -> Iterator[list[object]]:
    """``predictions.csv``: a row for each sample and network, with what each head says of it."""
    heads = list(evaluation.runs[0].heads)
    columns = [f"{head}{what}" for head in heads for what in ("", "_probability", "_right")]
    yield ["run", "name", "label", *columns]
    for run in evaluation.all:
        for place, (name, label) in enumerate(zip(run.names, run.truth_N.tolist(), strict=True)):
            row: list[object] = [run.label, name, run.classes[label]]
            for head in (run.heads[each] for each in heads):
                predicted, right = run.classes[head.predicted_N[place]], bool(head.hit_N[place])
                row += [predicted, repr(float(head.confidence_N[place])), "yes" if right else "no"]
            yield row


def confusion_rows(evaluation: Evaluation) -> Iterator[list[object]]:
    """``confusion.csv``: a row for each network, head and true class, with how often it was taken for each class."""
    classes = evaluation.runs[0].classes
    yield ["run", "head", "label", *classes]
    for run in evaluation.all:
        order = [run.classes.index(name) for name in classes]
        for name, head in run.heads.items():
            for row in order:
                yield [run.label, name, run.classes[row], *head.confusion_CC[row, order].tolist()]


# ---- tables --------------------------------------------------------------------------------------------------------


def tables_of(evaluation: Evaluation) -> Iterator[Table]:
    """The tables of an evaluation: the prediction, every head, pairs of runs, how far the modalities are apart."""
    if len(evaluation.all) > 1:
        yield prediction_table(evaluation)
    yield head_table(evaluation)
    if evaluation.pairs:
        yield pair_table(evaluation)
    if any(run.imbalance for run in evaluation.all):
        yield imbalance_table(evaluation)
    if evaluation.curves:
        yield robustness.level_table(evaluation.curves)
        yield robustness.area_table(evaluation.curves)


def prediction_table(evaluation: Evaluation) -> Table:
    """A row for each run and ensemble: what its prediction is worth."""
    rows = [[run.label, *_numbers(run.heads[FIRST])] for run in evaluation.all]
    caption = f"Of the prediction (the head {FIRST}). {_what(evaluation)}"
    return Table("Runs", caption, _frame(["", *TITLES.values()], rows))


def head_table(evaluation: Evaluation) -> Table:
    """A row for each head of each run."""
    several = len(evaluation.all) > 1
    rows = [
        [*([run.label] if several else []), name, *_numbers(head), f"{head.averaged} of {len(run.classes)}"]
        for run in evaluation.all
        for name, head in run.heads.items()
    ]
    columns = [*([""] if several else []), "head", *TITLES.values(), "classes in macro F1"]
    caption = f"As above. n = {_samples(evaluation)}." if several else _what(evaluation)
    return Table("Heads", caption, _frame(columns, rows))


def _samples(evaluation: Evaluation) -> str:
    """How many samples there are, in words: of runs that met different ones the fewest and the most."""
    counts = sorted({len(run.names) for run in evaluation.runs})
    return f"{span([f'{count:,}' for count in counts])} samples"


def _what(evaluation: Evaluation) -> str:
    """What was measured, how, and n."""
    part, run = evaluation.part, evaluation.runs[0]
    groups = ""
    way = "Wilson's for the accuracy, of a bootstrap for the others"
    if part.groups is not None:
        count, noun = len(set(part.groups)), part.grouped_by
        groups = f" in {count:,} group{'s' * (count != 1)} ({noun})"
        way = f"of a bootstrap of whole groups ({noun}), for the accuracy not narrower than Wilson's"
    return (
        f"{part.title}, n = {_samples(evaluation)}{groups} of {run.occurring} of {len(run.classes)} classes. In "
        f"brackets 95 % intervals for another sample of the same kind, {way}. mAP averages over the {run.occurring} "
        f"classes that have samples. ECE is that of the top label, in {BINS} bins of equal width; adaptive, of equal "
        "weight."
    )


def _numbers(head: Head) -> list[str]:
    return [measure_text(name, head.measured[name]) for name in MEASURES]


def measure_text(name: str, measured: Measured) -> str:
    """A number with its interval as text, ``66.3 [63.9, 68.7]``; percent where :data:`PERCENT` says so."""
    scale, digits = (100.0, 1) if name in PERCENT else (1.0, 3)
    text = f"{scale * measured.value:.{digits}f}"
    if measured.interval is None:
        return text
    low, high = (f"{scale * end:.{digits}f}" for end in measured.interval)
    return f"{text} [{low}, {high}]"


def pair_table(evaluation: Evaluation) -> Table:
    """Every two runs by the samples that one alone has right."""
    rows = [
        [pair.first, pair.second, f"{pair.only_first:,}", f"{pair.only_second:,}", p_text(pair.p), p_text(pair.p_holm)]
        for pair in evaluation.pairs
    ]
    grouped = " Samples come in groups, which it does not know: p is too small." if evaluation.part.groups else ""
    caption = (
        "McNemar's exact test: of the samples that only one of two predictions has right, is the split even? p (Holm) "
        f"is adjusted for the number of pairs, {len(rows)}. n = {_samples(evaluation)}.{grouped}"
    )
    columns = ["first", "second", "only the first right", "only the second right", "p", "p (Holm)"]
    return Table("Pairs of runs", caption, _frame(columns, rows))


def imbalance_table(evaluation: Evaluation) -> Table:
    """How far the modalities' own heads are apart."""
    known = [run for run in evaluation.all if run.imbalance is not None]
    rows = []
    for run in known:
        assert run.imbalance is not None  # mypy does not look into the comprehension
        means, gaps = run.imbalance["true_class_probability"], run.imbalance["gap"]
        accuracy = {name: run.heads[name].measured["accuracy"].value for name in means}
        index = run.imbalance["index"]
        rows.append(
            [
                run.label,
                f"{100 * (max(accuracy.values()) - min(accuracy.values())):.1f}",
                DASH if index is None else f"{index:.3f}",
                ", ".join(f"{name} {value:.3f}" for name, value in means.items()),
                ", ".join(f"{name} {value:+.3f}" for name, value in gaps.items()),
            ]
        )
    caption = (
        "Of the modalities' own heads: accuracy of the best minus that of the worst; index 1 - weakest / strongest of "
        f"the mean probabilities of the right class; their mean differences. n = {_samples(evaluation)}."
    )
    columns = ["", "accuracy gap, points", "imbalance index", "probability of the right class", "gap"]
    return Table("Imbalance of the modalities", caption, _frame(columns, rows))


def class_table(run: Evaluated) -> Table:
    """A row for each class: the prediction, and the recall of every other head."""
    others = [name for name in run.heads if name != FIRST]
    rows = []
    for place, (name, row) in enumerate(zip(run.classes, run.heads[FIRST].rows, strict=True)):
        shares = [row.precision, row.recall, row.f1, row.average_precision]
        shares += [run.heads[other].rows[place].recall for other in others]
        rows.append([name, f"{row.samples:,}", f"{row.predicted:,}", *map(_percent, shares)])
    columns = [
        "class",
        "n",
        "predicted",
        "precision %",
        "recall %",
        "F1 %",
        "AP %",
        *(f"{o}: recall %" for o in others),
    ]
    caption = f"Of the prediction; n is the number of samples of a class, {DASH} is what none of them gives."
    return Table(f"Classes: {run.label}", caption, _frame(columns, rows))


def _percent(share: float) -> str:
    return DASH if math.isnan(share) else f"{100 * share:.1f}"


def _frame(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns), dtype=object)


# ---- the page ------------------------------------------------------------------------------------------------------


def page(evaluation: Evaluation, content: Mapping[str, Any], sections: Sequence[Section] = ()) -> str:
    """The evaluation as one HTML page that needs no network.

    Args:
        evaluation: the numbers.
        content: of ``evaluation.json``.
        sections: what else a command has to show; it comes before the classes and figures.
    """
    run = evaluation.runs[0]
    what = run.label if len(evaluation.runs) == 1 else f"{len(evaluation.runs)} runs"
    title = content.get("task_title") or "Trained networks"
    drawn = robustness.panels(evaluation.curves)
    curves = [Section(panels=drawn)] if drawn else []
    return document(
        f"{title}: {what}, measured",
        [Section(tables=[table]) for table in tables_of(evaluation)] + [*curves, *sections, *_each(evaluation)],
        template="evaluation.html",
        notes=evaluation.notes,
        where=list(_made_by(evaluation, content)),
    )


def _made_by(evaluation: Evaluation, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was measured, and how, for the end of the page."""
    weights = [
        f"{run.label}: {' '.join(run.folders)}, {run.checkpoint} weights, of epoch {run.epoch + 1}"
        for run in evaluation.runs
        if run.epoch is not None
    ]
    yield "weights", "\n".join(weights)
    for name in ("data_root", "list"):
        if content.get(name):
            yield name.replace("_", " "), str(content[name])
    yield "device", ", ".join(sorted({run.device for run in evaluation.runs}))
    yield "command", shlex.join(content["command"])
    yield "commit", str(content["commit"])
    yield "versions", ", ".join(f"{name} {version}" for name, version in content["versions"].items() if version)


def _each(evaluation: Evaluation) -> Iterator[Section]:
    drawn = evaluation.all[:MOST_DRAWN]
    for run in drawn:
        yield Section(tables=[class_table(run)], panels=_panels(run))
    if len(drawn) < len(evaluation.all):
        left = len(evaluation.all) - len(drawn)
        yield Section(notes=[f"Classes and figures of {left} more are in evaluation.json and confusion.csv."])


def _panels(run: Evaluated) -> list[Panel]:
    head = run.heads[FIRST]
    count = int(np.sum(head.confusion_CC))
    curve = figures.reliability(head.reliability, run.label)
    matrix = figures.confusion(head.confusion_CC, run.classes, run.label)
    return [
        Panel(
            curve,
            f"{run.label}, prediction: how often it is right (bars) by how sure it is, in {BINS} bins; their mean "
            f"confidence (diamonds) lies on the diagonal. ECE {measure_text('ece', head.measured['ece'])} %, "
            f"n = {count:,} samples.",
        ),
        Panel(
            matrix,
            f"{run.label}, prediction: true classes in the rows, shaded by the share of their samples in each "
            f"predicted class; counts in confusion.csv. n = {count:,} samples.",
        ),
    ]
