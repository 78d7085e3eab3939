"""What ``python -m bss report`` does with its flags, and how every command writes a report."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bss.cli.flags import expanded
from bss.compare.document import Section
from bss.compare.latex import as_latex
from bss.compare.page import Source, page
from bss.compare.plan import Plan
from bss.compare.planning import METRIC, Missing, followed, missing
from bss.compare.runs import Found, find_folders, read_runs, remarks
from bss.compare.tables import METRICS, Results, Table, all_tables, as_csv, as_markdown, finding, results_of
from bss.compare.tuning import Tuning, tuning_table, tunings_of, untuned
from bss.utils.errors import RecipeError, RunFolderError, shown
from bss.utils.filesystem import whole_file
from bss.utils.listed import entries

if TYPE_CHECKING:
    from bss.compare.robustness import Curve


def report(flags: argparse.Namespace) -> int:
    """Write the report of runs that exist. It reads the run folders, and what the flags name, and nothing else.

    Returns:
        The exit status: 0, or 1 if some folders were left out or runs are missing.
    """
    check_metric(flags.metric)
    named = expanded(flags.runs)
    evaluations = [path for path in named if (path / "evaluation.json").is_file()]
    given = [path for path in named if path not in evaluations]
    if not given:
        raise RecipeError(f"{named[0]} is an evaluation, and a report is of runs: name their folders beside it")
    folders, curves = find_folders(given), _curves(evaluations)
    if flags.task is not None and flags.data_root is None:
        raise RecipeError("--task is for showing samples: give --data-root, the data set's folder, as well")
    source = None if flags.data_root is None else Source(checked_root(flags.data_root), flags.task)
    found = read_runs(folders)
    if source is not None:
        source.check(found.runs)
    by = followed([*found.runs, *found.failed])
    gone = missing(found, by, given)
    tunings = tunings_of([*found.runs, *found.failed])
    left_out = write_report(
        found, flags, source, plan=by.plan, other=by.reason, gone=gone, tunings=tunings, curves=curves
    )
    return 1 if left_out or gone else 0


def write_report(
    found: Found,
    flags: argparse.Namespace,
    source: Source | None,
    *,
    plan: Plan | None,
    gone: Sequence[Missing],
    order: Sequence[str] = (),
    notes: Sequence[str] = (),
    other: str = "",
    tunings: Sequence[Tuning] = (),
    curves: "Sequence[Curve]" = (),
    before: Callable[[Results], Sequence[Table]] = lambda results: (),
) -> int:
    """Write the report's files, say what came out, and return how many folders were left out.

    Args:
        found: the runs.
        flags: those of the command that are about the report.
        source: where samples are that the page shows; None = it shows none.
        plan: that the runs were made by.
        gone: runs that are missing.
        order: names of the arms, in the order in which they stand.
        notes: sentences on what else a reader must know.
        other: see :class:`bss.compare.tables.Results`.
        tunings: what was chosen for the arms before.
        curves: accuracy with modalities that are missing or noisy.
        before: tables made of the results, which come first.
    """
    results = results_of(
        found.runs,
        controls=entries("--control", flags.control),
        metric=flags.metric or (METRIC if plan is None else plan.analysis.metric),
        order=order,
        left_out=found.left_out,
        notes=[*notes, *remarks([*found.runs, *found.failed]), *(said for each in tunings for said in untuned(each))],
        other=other,
        failed=found.failed,
        missing=[each.told for each in gone],
        plan=plan,
    )
    out, first, further = flags.out, before(results), [tuning_table(each) for each in tunings]
    disturbed = _disturbed(curves) if curves else Section()
    tables = {"table.md": as_markdown(results, [*further, *disturbed.tables], first), "table.csv": as_csv(results)}
    if flags.format == "latex":
        tables["table.tex"] = as_latex(results)
    made_folder(out)  # only now: a report that is refused leaves nothing
    for name, text in tables.items():
        _save(out / name, text)
    sections = [Section(tables=[table]) for table in (*first, *further)]
    if curves:
        sections.append(disturbed)
    _save(out / "report.html", page(results, source, sections))  # last: if it cannot be made, the tables are there
    for path, reason in results.left_out:
        print(f"left out: {path}: {reason}", file=sys.stderr)
    print(finding(results))
    for each in gone:
        print(f"to repeat {each.arm} seed {each.seed}: {shlex.join(each.command) or 'the command that began it'}")
    print(", ".join(str(out / name) for name in (*tables, "report.html")))
    print(f"\n{all_tables(results)[0].text()}")
    return len(results.left_out)


def _curves(evaluations: Sequence[Path]) -> "list[Curve]":
    """What evaluations have measured with modalities that were missing or noisy."""
    if not evaluations:  # what reads them takes longer to import than a report takes
        return []
    from bss.compare.evaluation_files import read_curves

    return [curve for path in evaluations for curve in read_curves(path)]


def _disturbed(curves: "Sequence[Curve]") -> Section:
    from bss.compare.robustness import area_table, level_table, notes_of, panels

    return Section(
        tables=[level_table(curves), area_table(curves)], panels=panels(curves), notes=list(notes_of(curves))
    )


def _save(path: Path, text: str) -> None:
    try:
        with whole_file(path) as temporary:  # two commands on one --out may end at once
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror}") from error


def check_metric(metric: str | None) -> None:
    """Refuse the name of a metric that is none.

    Raises:
        RecipeError: it is none (lists them).
    """
    if metric is not None and metric not in METRICS:
        raise RecipeError(f"unknown metric {shown(metric)}; the metrics are {', '.join(METRICS)}")


def checked_root(root: Path) -> Path:
    """A data set's folder as it is.

    Raises:
        RecipeError: it is no folder.
    """
    if not root.is_dir():
        raise RecipeError(f"--data-root {root} is not a folder")
    return root


def made_folder(out: Path) -> None:
    """Make the folder that a command writes into.

    Raises:
        RunFolderError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"--out {out} cannot be made: {error.strerror}") from error
