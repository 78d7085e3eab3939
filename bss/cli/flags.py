"""What the flags of all commands share: how a wrong one is refused, and kinds of value that argparse does not know."""

import argparse
import glob
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

from bss.recipes.fields import field_named
from bss.utils import paths
from bss.utils.errors import DataNotFoundError, RecipeError, nearest, shown

ELSEWHERE = {
    "ckpt-path": "--out",
    "data-dir": "--data-root",
    "gpu": "--device",
    "gpu-ids": "--device",
    "num-workers": "--workers",
    "output-dir": "--out",
    "random-seed": "--seed",
}
"""Name of a flag in other scripts of the field (OGM-GE's ``main.py``, Hugging Face's examples) -> the flag here."""


OF_THE_SCRIPTS = {
    "preset": "train-CL.py and train-SPL.py have it; arms of the paper's SPL are spl-paper, spl-paper-replacement",
    "official": "train-CL.py and train-SPL.py have it, as --preset released",
}
"""Flag of the data sets' scripts -> what to do where a command has it not."""


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses a wrong flag in two lines: what is wrong with it, and where the help is.

    A flag that there is not is answered with what was meant: one of a similar name, or the recipe field that ``--set``
    takes.

    Attributes:
        fields: gives the dotted names of the recipe's fields, asked when a flag is wrong.
    """

    fields: Callable[[], Collection[str]] | None = None

    @override
    def _parse_known_args(self, arg_strings: list[str], *rest: Any, **options: Any) -> Any:
        # What every version's parse_args comes to: argparse complains of what is missing before what is not known.
        if self._subparsers is None:  # those of a command are for its own parser
            self._check_known(arg_strings)
        return super()._parse_known_args(arg_strings, *rest, **options)

    def _check_known(self, args: Sequence[str]) -> None:
        """End the program with status 2 at the first flag that there is not."""
        for place, text in enumerate(args):
            flag, _, value = text.partition("=")
            if text == "--":
                return
            if not text.startswith("-") or " " in flag or flag in self._option_string_actions or _is_number(text):
                continue
            if text[:2] in self._option_string_actions and not text.startswith("--"):
                continue  # -h with something behind it
            following = args[place + 1] if place + 1 < len(args) else "-"
            if "=" not in text and (not following.startswith("-") or _is_number(following)):
                value = following
            if meant := self._meant(flag, value):
                self._refuse(f"there is no flag {flag}: {meant}")
            self.error(f"unrecognized arguments: {flag}")

    def _meant(self, flag: str, value: str) -> str:
        """What a flag that there is not may be meant to be; empty where nothing is like it."""
        name, flags = flag.lstrip("-").lower().replace("_", "-"), self._option_string_actions
        same = ELSEWHERE.get(name, f"--{name}")
        if same in flags:
            return f"it is {same} here"
        if name in OF_THE_SCRIPTS:
            return OF_THE_SCRIPTS[name]
        known = [each.lstrip("-") for each in flags if each.startswith("--")]
        if near := nearest(name, known, 1, cutoff=0.85):  # --seed of a comparison is its --seeds, and no field
            return f"did you mean --{near[0]}?"
        if "--set" in flags and self.fields and (field := field_named(name, self.fields())) is not None:
            return f"{field} is a recipe field: --set {field}={value or 'VALUE'}"
        near = nearest(name, known, 1, cutoff=0.6)
        return f"did you mean --{near[0]}?" if near else ""

    def _refuse(self, message: str) -> NoReturn:
        print(f"error: {message}\nsee {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    @override
    def error(self, message: str) -> NoReturn:
        """End the program with status 2."""
        if not message.startswith("argument "):  # a flag that is unknown or missing: the usage lists what there is
            super().error(message)
        self._refuse(message)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def between(least: int, most: int, why: str = "") -> Callable[[str], int]:
    """A ``type`` of an argument: a whole number in a range.

    Args:
        least: that is taken.
        most: that is taken.
        why: the end of the sentence on a number that is more.
    """

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {shown(text)}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        if value > most:
            raise argparse.ArgumentTypeError(f"must be at most {most:,}{why}, got {shown(value)}")
        return value

    return number


count = between(0, 10**6)
"""A whole number of at least 0, as ``type`` of an argument."""


def processes(text: str) -> int:
    """A number of processes that this machine can have any use for, as ``type`` of an argument."""
    cores = os.cpu_count() or 1
    most = max(16, 4 * cores)
    return between(0, most, f" (this machine has {cores} cores)")(text)


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
