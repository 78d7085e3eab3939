"""What the flags of all commands share: how a wrong one is refused, and kinds of value that argparse does not know."""

import argparse
import glob
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from bss.utils import paths
from bss.utils.errors import DataNotFoundError, RecipeError


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses a flag's value in two lines: what is wrong with it, and where the help is."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2."""
        if not message.startswith("argument "):  # a flag that is unknown or missing: the usage lists what there is
            super().error(message)
        print(f"error: {message}\nsee {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def count(text: str) -> int:
    """A whole number of at least 0, as ``type`` of an argument."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text}") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


def path_text(text: str) -> str:
    """A path, or a name that may be one, with ``~`` and ``$VAR`` replaced, as ``type`` of an argument."""
    try:
        return paths.expanded(text)
    except RecipeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path(text: str) -> Path:
    """A path with ``~`` and ``$VAR`` replaced, as ``type`` of an argument that names a file or folder."""
    return Path(path_text(text))


def expanded(patterns: Iterable[Path]) -> list[Path]:
    """The paths, with those that a pattern such as ``runs/*`` stands for in its place, sorted.

    Most shells do that themselves; cmd and PowerShell do not. What exists is no pattern.

    Raises:
        DataNotFoundError: nothing is there that a pattern stands for.
    """
    found: list[Path] = []
    for path in patterns:
        if path.exists() or not glob.has_magic(str(path)):
            found.append(path)
            continue
        matches = sorted(glob.glob(str(path)))
        if not matches:
            raise DataNotFoundError(f"nothing is called {path}: give folders, or a pattern that some match")
        found += map(Path, matches)
    return found
