"""What is known of the samples of a run without reading their files, and what it says of the run's parts.

A data set that has ``listed_rows()``, as those of ``bss`` have, is asked for it when a run begins; of others nothing
is said.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bss.utils.errors import DataError

if TYPE_CHECKING:
    from bss.data.indexed import MapDataset
    from bss.data.splits import Splits


class Row(NamedTuple):
    """A sample as its list has it.

    Attributes:
        name: of the sample; empty where it has none.
        label: its class id.
        content: equal for samples that give the network equal inputs, but for views that are drawn at random.
        group: what a sound split keeps apart (an actor, a subject); empty where nothing is known.
    """

    name: str
    label: int
    content: Hashable
    group: str = ""


class Alike(NamedTuple):
    """How many samples of a part cannot be told apart by what the network gets of them.

    Attributes:
        count: samples with the same input as another.
        torn: those among them whose equals do not all have one label.
        best: the largest share of the part that any network can classify rightly, in [0, 1].
    """

    count: int
    torn: int
    best: float


def alike(contents: Iterable[Hashable], labels: Sequence[int]) -> Alike:
    """Count the samples with equal contents."""
    labels_of: dict[Hashable, list[int]] = defaultdict(list)
    for content, label in zip(contents, labels, strict=True):
        labels_of[content].append(label)
    groups = [group for group in labels_of.values() if len(group) > 1]
    torn = [group for group in groups if len(set(group)) > 1]
    # Of equal inputs all get one answer: the most frequent label is right as often as any can be.
    lost = sum(len(group) - Counter(group).most_common(1)[0][1] for group in torn)
    return Alike(sum(map(len, groups)), sum(map(len, torn)), 1 - lost / len(labels) if labels else 1.0)


def rows_of(part: "MapDataset | None") -> list[Row]:
    """What a part knows of its samples; empty where it knows nothing."""
    known = getattr(part, "listed_rows", None)
    return known() if known else []


def group_ids(part: "MapDataset") -> list[int] | None:
    """The group of every sample as a number, counted from 0 in the order in which groups come.

    A sample of which no group is known is a group of its own.

    Returns:
        One number per sample; None where the part knows no group of any of them.
    """
    rows = rows_of(part)
    if not any(row.group for row in rows):
        return None
    ids: dict[Hashable, int] = {}
    return [ids.setdefault(row.group or ("alone", place), len(ids)) for place, row in enumerate(rows)]


def check_classes(data: "Splits") -> None:
    """Refuse a validation or test sample of a class that no training sample has: nothing can learn it.

    Raises:
        DataError: names the class and the first such sample.
    """
    trained = set(data.labels_N.tolist())
    for title, part in (("validation", data.val), ("test", data.test)):
        unlearnt = [row for row in rows_of(part) if row.label not in trained]
        if unlearnt:
            names = [data.classes[label] for label in sorted({row.label for row in unlearnt})]
            first = f", the first is {unlearnt[0].name}" if unlearnt[0].name else ""
            raise DataError(
                f"no training sample has the class {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}, but "
                f"{len(unlearnt)} {title} samples have{first}: nothing can learn it.\n"
                f"Add training samples of it, or take its rows out of the {title} list"
            )


def notes(data: "Splits") -> list[str]:
    """Lines about the parts of a run: inputs that are equal for the network, and groups that are trained on."""
    parts = {"training": rows_of(data.train), "validation": rows_of(data.val), "test": rows_of(data.test)}
    known = {title: rows for title, rows in parts.items() if rows}
    return [line for line in (_equal_inputs(known), _known_groups(known, data.group)) if line]


def _equal_inputs(parts: dict[str, list[Row]]) -> str:
    found = []
    for title, rows in parts.items():
        same = alike((row.content for row in rows), [row.label for row in rows])
        if same.count:
            torn = f" ({same.torn:,} with different labels: {_percent(same.best)} right at best)" if same.torn else ""
            found.append(f"{same.count:,} of {len(rows):,} {title} samples{torn}")
    trained = {row.content for row in parts.get("training", ())}
    for title in ("validation", "test"):
        seen = sum(row.content in trained for row in parts.get(title, ()))
        if seen:
            found.append(f"{seen:,} of {len(parts[title]):,} {title} samples have the input of a training sample")
    return f"equal for the network: {'; '.join(found)}" if found else ""


def _known_groups(parts: dict[str, list[Row]], noun: str | None) -> str:
    trained = {row.group for row in parts.get("training", ())} - {""}
    if noun is None or not trained:
        return ""
    shares = {
        title: (sum(row.group in trained for row in parts[title]), len(parts[title]))
        for title in ("validation", "test")
        if title in parts
    }
    line = f"samples whose {noun} is trained on: " + ", ".join(
        f"{known:,} of {count:,} {title}" for title, (known, count) in shares.items()
    )
    if {"validation", "test"} <= shares.keys():
        val, test = (known / count for known, count in (shares["validation"], shares["test"]))
        if abs(val - test) > _RESEMBLES:
            line += "; the validation samples, which choose the epoch, do not resemble the test samples in this"
    return line


_RESEMBLES = 0.5
"""Shares of samples of known groups that differ by no more than this are taken for alike."""


def _percent(share: float) -> str:
    # Cut, not rounded: 100.0 % would say that there is nothing to lose.
    return f"{int(1000 * share) / 10:.1f} %"
