"""How one fuzzed case ended."""

import traceback
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

Ending = Literal["same", "refused", "traceback", "other results"]
MAX_LINES = 3


class Outcome(NamedTuple):
    """One case.

    Attributes:
        mutation: what was done, and to which file.
        ending: ``"same"``, accepted with every result as before; ``"refused"``, by a short error of ours, or left out
            by name; ``"traceback"``, any other exception; ``"other results"``, accepted, and a result differs silently.
        detail: the error, or what differs.
    """

    mutation: str
    ending: Ending
    detail: str = ""


def outcome_of(mutation: str, read: Callable[[], Any], differences: Callable[[Any], str]) -> Outcome:
    """Read what was damaged, and judge.

    Args:
        mutation: what was done.
        read: reads it, as users' commands do.
        differences: what differs, given what was read; empty where all is as before or what differs was named.
    """
    try:
        result = read()
    except (ValueError, FileNotFoundError) as error:
        return refusal(mutation, error)
    except Exception:
        return Outcome(mutation, "traceback", traceback.format_exc())
    found = differences(result)
    return Outcome(mutation, "other results", found) if found else Outcome(mutation, "same")


def refusal(mutation: str, error: Exception) -> Outcome:
    """An error of a kind that users are shown: a refusal, where its message is short and raised by us."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and "/bss/" in frames[-1].filename.replace("\\", "/")
    message = str(error)
    if ours and message and len(message.splitlines()) <= MAX_LINES:
        return Outcome(mutation, "refused", message)
    return Outcome(mutation, "traceback", "".join(traceback.format_exception(error)))
