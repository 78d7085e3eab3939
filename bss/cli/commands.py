"""The commands of ``python -m bss``: prepare, doctor, compare, report. Their flags, and which room does the work."""

import argparse
import importlib
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from bss import tasks
from bss.cli.flags import Parser, count
from bss.compare.arms import ARMS
from bss.utils.errors import BssError, DataError, DataNotFoundError

STEMS = tasks.names()
"""The data sets that can be prepared, checked and trained on."""


class _Parser(Parser):
    """Ends its help with what ``ending`` says, where it has one: only when help is printed, since that takes time."""

    ending: Callable[[], str] | None = None

    def format_help(self) -> str:
        if self.ending is not None:
            self.epilog = self.ending()
        return super().format_help()


def _sources() -> str:
    """What each data set's source must hold."""
    sources = [f"{stem}: {_module(stem).DESCRIPTION}" for stem in STEMS]
    return "\n\n".join(["what --source must be:", *(textwrap.indent(text, "  ") for text in sources)])


def _arms() -> str:
    """Names and titles of all arms."""
    listed = [f"  {arm.name:36} {arm.title}" for arm in ARMS]
    return "\n".join(["the arms (an order and a change of the training step join as in spl+ogm-ge):", *listed])


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        argv: the arguments; None = those of the process.

    Returns:
        0: all is well. 1: some files or runs failed, or the doctor found an error. 2: the input cannot be worked with
        at all. 130: stopped by Ctrl-C.
    """
    flags = _parser().parse_args(argv)
    try:
        if flags.command == "prepare":
            return _prepare(flags)
        if flags.command in ("compare", "report"):
            from bss.cli import compare as command

            return getattr(command, flags.command)(flags)
        return _doctor(flags)
    except KeyboardInterrupt:
        ending = "; run it again to go on where it stopped" if flags.command in ("prepare", "compare") else ""
        print(f"stopped{ending}", file=sys.stderr)
        return 130
    except BssError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _prepare(flags: argparse.Namespace) -> int:
    if not flags.source.is_dir():
        raise DataNotFoundError(f"--source {flags.source} is not a folder")
    try:
        flags.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {flags.out} cannot be made: {error.strerror}") from error
    from bss.utils.processes import default_workers

    workers = default_workers() if flags.workers is None else flags.workers
    failures = _module(flags.stem).prepare(flags.source, flags.out, workers=workers)
    if failures:
        print(f"{len(failures)} failures, listed above; what is whole stays, so mend them and run it again")
    return 1 if failures else 0


def _doctor(flags: argparse.Namespace) -> int:
    from bss.data import doctor
    from bss.utils.processes import default_workers

    data_set = importlib.import_module(f"bss.data.datasets.{flags.stem}").DATA_SET
    workers = default_workers() if flags.workers is None else flags.workers
    tree, findings = doctor.examine(data_set, flags.root, workers=workers)
    if flags.json:
        print(json.dumps(doctor.report.as_dict(tree, findings), indent=1))
    else:
        print(doctor.report.as_text(tree, findings))
    return doctor.report.status(findings)


def _module(stem: str) -> ModuleType:
    return importlib.import_module(f"bss.data.prepare.{stem}")


def _parser() -> argparse.ArgumentParser:
    about = "Prepare and check a data set, compare ways to train on it, and report what came out."
    parser = _Parser(prog="python -m bss", description=about, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    prepare = commands.add_parser(
        "prepare",
        help="make a data root out of what was published",
        description="Make a data root out of what was published. Whole files are kept, so run it again after an\n"
        "interruption; delete one to have it made anew. Exit status: 0, 1 if some files failed, 2 if\n"
        "the source cannot be worked with at all.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    prepare.ending = _sources
    prepare.add_argument("stem", choices=STEMS, help="the data set")
    prepare.add_argument("--source", type=Path, required=True, metavar="RAW", help="what was published; see below")
    prepare.add_argument("--out", type=Path, required=True, metavar="ROOT", help="the data root; made when missing")

    doctor = commands.add_parser(
        "doctor",
        help="check a data root before training",
        description="Check a data root before training. Exit status: 0, 1 if there is an error, 2 if it cannot be "
        "looked at.",
        allow_abbrev=False,
    )
    doctor.add_argument("stem", choices=STEMS, help="the data set")
    doctor.add_argument("root", type=Path, metavar="ROOT", help="the data root")
    doctor.add_argument("--json", action="store_true", help="the report as one JSON object")

    for command in (prepare, doctor):
        command.add_argument(
            "--workers", type=count, metavar="N", help="processes (default: one per core, at most 8); 0: only this one"
        )
    _add_comparisons(commands)
    return parser


def _add_comparisons(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="train arms against each other and report",
        description="Train every arm with every seed from the same weights and data, and write table.md, table.csv\n"
        "and report.html into --out. The runs are in OUT/ARM/seedN. The same command goes on where it was stopped,\n"
        "and trains nothing twice. Exit status: 0, 1 if runs failed, 2 if it cannot be done at all, 130 if stopped.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    compare.ending = _arms
    compare.add_argument("task", help=f"{', '.join(STEMS)}, or a Python file like bss/tasks/cremad.py")
    compare.add_argument(
        "--arms", default="uniform,random-pacing,cl,spl,anti", metavar="A,B", help="see below (default: %(default)s)"
    )
    compare.add_argument(
        "--seeds", default="5", metavar="N", help="5 (default): seeds 0 to 4; 3,7: these two; 0-9: these ten"
    )
    compare.add_argument(
        "--updates",
        choices=("equal", "epochs"),
        default="equal",
        help="every arm gets the optimiser steps of uniform order (equal, the default), or the recipe's epochs",
    )
    compare.add_argument("--data-root", type=Path, required=True, metavar="DIR", help="the data set's folder")
    compare.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default 1)")
    compare.add_argument(
        "--device", default="auto", metavar="NAME", help="auto (default): all GPUs in turn; cpu; cuda:1"
    )
    compare.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="processes per run that load data (default: the cores, shared; none for data in memory)",
    )
    compare.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field of the task's CL recipe"
    )

    report = commands.add_parser(
        "report",
        help="make the page of runs that exist",
        description="Make the tables and the page of runs that exist. Exit status: 0, 1 if folders were left out, 2\n"
        "if the runs cannot be compared.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders that hold some")

    for command in (compare, report):
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
        command.add_argument(
            "--control",
            default="",
            metavar="A,B",
            help="arms to compare with: the first with all, others with the arms whose epochs have their sizes "
            "(default: uniform order, then random pacing)",
        )
        command.add_argument("--metric", default="accuracy", metavar="NAME", help="accuracy (default), macro_f1 or map")
