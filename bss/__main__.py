"""``python -m bss prepare`` makes a data root out of what was published, ``python -m bss doctor`` checks one."""

import argparse
import importlib
import pkgutil
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from bss import datasets
from bss import prepare as preparation
from bss.data import default_workers
from bss.errors import BssError, DataError, DataNotFoundError, RecipeError

STEMS = sorted(
    {module.name for module in pkgutil.iter_modules(preparation.__path__)}
    & {module.name for module in pkgutil.iter_modules(datasets.__path__)}
)
"""The data sets: whatever has a module in both packages."""


class _Parser(argparse.ArgumentParser):
    """Tells, where asked to, what each data set's source must hold: only when help is printed, since it imports all."""

    tells_sources = False

    def format_help(self) -> str:
        if self.tells_sources:
            sources = [f"{stem}: {_module(stem).DESCRIPTION}" for stem in STEMS]
            self.epilog = "\n\n".join(["what --source must be:", *(textwrap.indent(text, "  ") for text in sources)])
        return super().format_help()


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        argv: the arguments; None = those of the process.

    Returns:
        0: all is well. 1: some files failed, or the doctor found an error. 2: the input cannot be worked with at all.
        130: stopped by Ctrl-C.
    """
    flags = _parser().parse_args(argv)
    try:
        if flags.workers < 0:
            raise RecipeError(f"--workers must be at least 0, got {flags.workers}")
        if flags.command == "prepare":
            return _prepare(flags)
        from bss import doctor

        return doctor.run(flags.stem, flags.root, as_json=flags.json, workers=flags.workers)
    except KeyboardInterrupt:
        ending = "; run it again to go on where it stopped" if flags.command == "prepare" else ""
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
    failures = _module(flags.stem).prepare(flags.source, flags.out, workers=flags.workers)
    if failures:
        print(f"{len(failures)} failures, listed above; what is whole stays, so mend them and run it again")
    return 1 if failures else 0


def _module(stem: str) -> ModuleType:
    return importlib.import_module(f"bss.prepare.{stem}")


def _parser() -> argparse.ArgumentParser:
    about = "Prepare a data set for training, and check it before a GPU hour is spent."
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
    prepare.tells_sources = True
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
            "--workers", type=int, default=default_workers(), metavar="N", help="processes; 0: only this one"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
