"""The findings of the doctor, each with the rows and files that show it."""

from dataclasses import dataclass
from typing import NamedTuple

SEVERITIES = ("error", "warning", "note", "ok")
"""From worst to best: training stops or a test is void; results mean less than they seem; good to know; all is well."""


class Occurrence(NamedTuple):
    """A file, row or name at which a finding shows.

    Attributes:
        detail: what is there, in words.
        file: path of the file, relative to the root where it is below it; empty where it is about no file.
        row: the list and line, ``"annotations/train.csv line 3"``; empty where it is about no row.
        sample: the sample's name, or empty.
    """

    detail: str = ""
    file: str = ""
    row: str = ""
    sample: str = ""

    def __str__(self) -> str:
        subject = f"{self.file or self.sample} ({self.row})" if self.row else self.file or self.sample
        return f"{subject}: {self.detail}" if subject and self.detail else subject or self.detail


@dataclass(frozen=True)
class Finding:
    """The result of a check: one thing that was looked at, and what came of it.

    Attributes:
        check: which check, a stable name.
        severity: one of :data:`SEVERITIES`.
        message: a sentence with numbers.
        examples: every place where it shows; the printed report cuts them, the json has all.
    """

    check: str
    severity: str
    message: str
    examples: tuple[Occurrence, ...] = ()


def number(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 file``, ``7,442 files``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def percent(part: int, whole: int) -> str:
    """A share in percent, ``17.4%``; without a space, since lines are broken at those."""
    return f"{100 * part / whole:.1f}%"
