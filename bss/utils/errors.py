"""Errors that a user can mend: the message says what was found, where, and the way out.

The command line prints these in one or two lines, without a traceback; everything else is a bug and keeps its
traceback. They also are ``ValueError``, ``OSError`` or ``ImportError``, so code that embeds the library can
catch those.
"""

import contextlib
import difflib
import re
from collections.abc import Collection, Iterable, Iterator


class BssError(Exception):
    """Base of every error that is the input's fault, not the program's."""


class RecipeError(BssError, ValueError):
    """A recipe field, a flag or a combination of them that cannot be run."""


class RunFolderError(BssError, ValueError):
    """A run folder that cannot be used as asked."""


class RunHeldError(RunFolderError):
    """A run folder that another process trains in."""


class TrainingError(BssError, ValueError):
    """A training that cannot go on, for example because its loss is not finite."""


class NotFiniteError(TrainingError):
    """A training whose loss, weights, scores or predictions have become NaN or infinite."""


class MemoryRanOutError(TrainingError):
    """A training that the memory of its device does not hold."""


class FileHeldError(BssError, PermissionError):
    """A file that can neither be replaced nor deleted, on a system where another program's open file forbids it.

    It is made like any ``OSError``: a number, the text for the user, which names the file, and the file.
    """

    def __str__(self) -> str:
        return str(self.strerror)


class DataError(BssError, ValueError):
    """A file or a row of a data set that cannot be used."""


class DataNotFoundError(BssError, FileNotFoundError):
    """A data set, or a part of it, that is not where it was looked for."""


class MissingExtraError(BssError, ImportError):
    """A package that a part of the library needs, and that is not installed."""


class LoadingError(BssError, RuntimeError):
    """Processes that load data and cannot hand it over, for want of something that the machine can be given."""


_IN_RUN = ("out", "resume", "device", "workers", "data_root")
"""Flags that are arguments of ``bss.training.run.Run``; the others are fields of the recipe."""


@contextlib.contextmanager
def told_in_python(call: str = "Run", arguments: Collection[str] = _IN_RUN) -> Iterator[None]:
    """Add to an error of the block what the command line's flags in its message are in Python.

    It is a note: notebooks and tracebacks show it, and the command line, where the flags are right, prints the message.

    Args:
        call: what takes those flags that are no fields of a recipe.
        arguments: its own, which are called like the flags. Other flags are taken for fields, but where it is another
            call than ``Run``, which has no recipe.
    """
    try:
        yield
    except BssError as error:
        fields = re.findall(r"--set (\w[\w.]*=\S*[\w/])", str(error))
        flags = [flag.replace("-", "_") for flag in re.findall(r"--(?!set\b)(\w[\w-]*)", str(error))]
        own = [f"{flag}=..." for flag in flags if flag in arguments]
        fields += [f"{flag}=..." for flag in flags if flag not in arguments and call == "Run"]
        said = [f"bss.recipes.override(recipe, {list(dict.fromkeys(fields))})"] if fields else []
        said += [f"{call}({', '.join(dict.fromkeys(own))})"] if own else []
        if said and not getattr(error, "__notes__", None):
            error.add_note(f"In Python: {' and '.join(said)}")
        raise


def shown(value: object, length: int = 60) -> str:
    """The ``repr`` of a value for an error, cut to ``length`` characters: a cell of a list may hold megabytes."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"a {type(value).__name__} with a number of thousands of digits"
    return text if len(text) <= length else f"{text[: length - 3]}..."


def first_line(error: object, length: int = 200) -> str:
    """The first line of an error's text, cut to ``length`` characters: libraries explain at length, or quote a file."""
    return str(error).strip().partition("\n")[0][:length]


def guess(name: str, known: Iterable[str]) -> str:
    """``" (did you mean NAME?)"`` with the known name that is most like a mistyped one; empty if none is."""
    alike = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" (did you mean {alike[0]}?)" if alike else ""


def nearest(name: str, known: Iterable[str], count: int = 3, *, cutoff: float = 0.0) -> list[str]:
    """The known names that are most like a mistyped one, the most like first; none that is less like it than a cutoff.

    Args:
        name: what was typed.
        known: what there is.
        count: how many at most.
        cutoff: 0 takes any name, 1 the same one only.
    """
    return difflib.get_close_matches(name, sorted(set(known)), n=max(count, 1), cutoff=cutoff)
