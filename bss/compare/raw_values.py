"""Raw values of runs as one small file that can be sent and committed: a row per run, the same bytes every time."""

import csv
import gzip
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

KEYS = ("arm", "seed", "fold", "failed", "updates", "epochs", "chosen_epoch")
"""The columns that come first; ``epochs`` are finished ones, and ``chosen_epoch`` counts from 0."""


ALWAYS = {"arm", "seed", "updates", "epochs", "chosen_epoch"}
"""Those of them that are there whatever the runs have; the others only where a run has such a value."""


Row = dict[str, Any]
"""Column -> value of one run; None is an empty cell."""


def row_of(arm: str, config: Mapping[str, Any], summary: Mapping[str, Any], epochs: int) -> Row:
    """The row of one run: its test results as ``head.metric.choice``, such as ``audio.macro_f1.last``.

    Args:
        arm: name of its arm.
        config: what ``config.json`` holds.
        summary: what ``summary.json`` holds; of a failed run it has ``failed`` and no test.
        epochs: finished ones.
    """
    failed = (summary.get("failed") or {}).get("how")
    row = {"arm": arm, "seed": config["recipe"]["seed"], "fold": config["recipe"].get("fold"), "failed": failed}
    row |= {"epochs": epochs, "updates": summary.get("updates"), "chosen_epoch": summary.get("chosen_epoch")}
    for choice, metrics in ({} if failed else summary["test"]).items():
        if choice in ("chosen", "last"):
            row |= {f"{head}.{name}.{choice}": v for name, heads in metrics.items() for head, v in heads.items()}
    return row


def table(rows: Iterable[Row], more: Sequence[str] = ()) -> str:
    """CSV of the rows, sorted by arm, seed and fold.

    The columns of :data:`KEYS` come first, then others that every row has, and then those of results. Floats are
    written by as many digits as it takes to read the same number back.

    Args:
        rows: of runs.
        more: columns behind the keys.
    """
    rows = sorted(rows, key=lambda row: (row["arm"], row["seed"], row.get("fold") or 0))
    found = dict.fromkeys(name for row in rows for name in row)
    keys = [key for key in KEYS if key in ALWAYS or any(row.get(key) is not None for row in rows)]
    first = [*keys, *more]
    text = io.StringIO()
    columns = [*first, *(name for name in found if name not in KEYS and name not in more)]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    # csv writes floats by repr
    writer.writerows({name: value for name, value in row.items() if value is not None} for row in rows)
    return text.getvalue()


def packed(text: str) -> bytes:
    """The text by gzip, with neither a name nor a time in it."""
    file = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as inner:
        inner.write(text.encode())
    return file.getvalue()


def read(content: bytes) -> list[dict[str, str]]:
    """The rows of a packed file; every cell is a text, empty where a run has no such value."""
    return list(csv.DictReader(io.StringIO(gzip.decompress(content).decode())))


def without_folders(command: Sequence[str]) -> tuple[str, ...]:
    """The words of a command without the folders of the machine that it ran on: ``--out OUT``, ``cache=PATH``."""
    after = {"--data-root": "DATA", "--out": "OUT"}
    roots = [Path(), *(Path(word) for before, word in itertools.pairwise(command) if before == "--data-root")]
    return tuple(
        after.get(before, _without_path(word, roots)) for before, word in zip(["", *command], command, strict=False)
    )


def _without_path(word: str, roots: Sequence[Path]) -> str:
    """A word without its path: one from the root or a home, or one that is there below a folder."""
    name, equals, value = word.rpartition("=")
    whole = any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath)) or value[:1] in ("~", "$")
    there = bool(equals) and ("/" in value or "\\" in value) and any((root / value).exists() for root in roots)
    return f"{name}{equals}PATH" if whole or there else word
