"""Find samples that are the same under different names: files with the same bytes, texts with the same letters."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from bss.data.datasets.listing import Sample
from bss.data.doctor.findings import Finding, Occurrence, number, percent
from bss.data.doctor.media import Job
from bss.data.doctor.tree import Tree
from bss.data.rows import alike

TEXT = "text"


class _Row(NamedTuple):
    split: str
    sample: Sample
    parts: dict[str, Hashable]  # kind, or TEXT -> what stands for its content; None where it lacks or is broken

    @property
    def whole(self) -> Hashable:
        return None if None in self.parts.values() else tuple(self.parts.values())


def jobs(tree: Tree) -> list[Job]:
    """The files to look at: every file of the samples once, in the order of the lists, those to be hashed marked.

    A file can only be a copy if another one has its size; for the frames of a clip, all of them.
    """
    uses = {path: (kind, sample) for _, sample in tree.all() for kind, files in sample.files.items() for path in files}
    size_of = {path: _size(path) for path in uses}
    alike: dict[Hashable, set[tuple[Path, ...]]] = defaultdict(set)
    for _, sample in tree.all():
        for kind, paths in sample.files.items():
            if paths:
                alike[kind, tuple(size_of[path] for path in paths)].add(paths)
    hashed = {path for copies in alike.values() if len(copies) > 1 for paths in copies for path in paths}
    return [
        Job(path, kind, path in hashed, getattr(sample, "windows", {}).get(kind))
        for path, (kind, sample) in uses.items()
    ]


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def copies(tree: Tree) -> Iterator[Finding]:
    """Find samples that are copies, whole or in one modality: in one list (warning) or in two (error)."""
    rows = [_Row(split, sample, _parts(tree, sample)) for split, sample in tree.all()]
    found = [*_whole_copies(tree, rows), *_part_copies(tree, rows)]
    yield from found
    compared = {kind for row in rows for kind, part in row.parts.items() if part is not None}
    if compared and not found:
        kinds = " or ".join(kind for kind in rows[0].parts if kind in compared)
        yield Finding("copies", "ok", f"no two samples have the same {kinds}")


def _parts(tree: Tree, sample: Sample) -> dict[str, Hashable]:
    parts: dict[str, Hashable] = {}
    for kind, paths in sample.files.items():
        facts = [tree.facts.get(path) for path in paths]
        good = bool(facts) and all(fact and fact.usable for fact in facts)
        # Without a hash there is no other file of this size: the path stands for the content.
        parts[kind] = tuple(fact.digest or path for fact, path in zip(facts, paths, strict=True)) if good else None
    if hasattr(sample, TEXT):
        parts[TEXT] = sample.read if sample.text else None
    return parts


def _whole_copies(tree: Tree, rows: Sequence[_Row]) -> Iterator[Finding]:
    groups = _groups(rows, lambda row: row.whole)
    for split in tree.samples:
        members = [[row for row in group if row.split == split] for group in groups]
        yield from _within(tree, split, "copies", "sample under several names", members)
    for one, other in combinations(tree.samples, 2):
        if pairs := list(_across(groups, one, other)):
            yield Finding(
                "shared-content",
                "error",
                f"{number(len(pairs), f'{other} sample is a copy', f'{other} samples are copies')} of one in {one} "
                f"under another name: {other} must not measure what was learnt",
                _pair_examples(tree, pairs),
            )


def _part_copies(tree: Tree, rows: Sequence[_Row]) -> Iterator[Finding]:
    for kind in rows[0].parts if rows and len(rows[0].parts) > 1 else ():
        groups = [group for group in _groups(rows, lambda row, kind=kind: row.parts[kind]) if _differ(group, kind)]
        for split in tree.samples:
            members = [[row for row in group if row.split == split] for group in groups]
            yield from _within(tree, split, f"copies-{kind}", f"{kind} in several samples", members)
        for one, other in combinations(tree.samples, 2):
            if pairs := list(_across(groups, one, other)):
                yield Finding(
                    f"shared-{kind}",
                    "warning",
                    f"{number(len(pairs), f'{other} sample has', f'{other} samples have')} the very {kind} of another "
                    f"sample in {one}",
                    _pair_examples(tree, pairs),
                )


def _groups(rows: Sequence[_Row], key: Callable[[_Row], Hashable]) -> list[list[_Row]]:
    """The groups of two or more rows with the same content."""
    groups: dict[Hashable, list[_Row]] = defaultdict(list)
    for row in rows:
        if key(row) is not None:
            groups[key(row)].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _differ(group: Sequence[_Row], kind: str) -> bool:
    """Whether a shared part tells more than other checks do: no whole copies, and each sample uses files of its own."""
    files = {row.sample.files.get(kind) for row in group}
    return len({row.whole or row.sample.listed for row in group}) > 1 and (kind == TEXT or len(files) > 1)


def _within(tree: Tree, split: str, check: str, what: str, groups: Sequence[Sequence[_Row]]) -> Iterator[Finding]:
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return
    count = sum(len(group) for group in groups)
    torn = [group for group in groups if len({row.sample.label for row in group}) > 1]
    agreeing = [group for group in groups if len({row.sample.label for row in group}) == 1]
    labels = "the labels agree"
    if torn:
        labels = f"{number(len(torn), 'time')} with different labels"
        if check == "copies":
            same = {id(row.sample): position for position, group in enumerate(groups) for row in group}
            samples, total = tree.samples[split], len(tree.samples[split])
            best = alike((same.get(id(sample), sample.listed) for sample in samples), [s.label for s in samples]).best
            labels += f", so that at best {percent(round(best * total), total)} of {split} can be told right"
    yield Finding(
        check,
        "warning",
        f"{split}: the same {what}: {number(len(groups), 'time')}, {count:,} of {len(tree.samples[split]):,} samples; "
        f"{labels}",
        tuple(
            Occurrence(
                f"{tree.data_set.classes[first.sample.label]}; as {_where(tree, again)}",
                row=tree.short(first.sample.listed),
                sample=first.sample.name,
            )
            for first, again in ((group[0], group[1:]) for group in torn + agreeing)
        ),
    )


def _where(tree: Tree, rows: Sequence[_Row]) -> str:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    sample = rows[0].sample
    return f"{sample.name} ({tree.short(sample.listed)}), {tree.data_set.classes[sample.label]}{more}"


def _across(groups: Sequence[Sequence[_Row]], one: str, other: str) -> Iterator[tuple[_Row, _Row]]:
    """Yield (a row of the first split, its copy in the other split) for every row of the other that has one.

    Copies under the same name are left out: the check of the names has them.
    """
    for group in groups:
        first = next((row for row in group if row.split == one), None)
        if first is not None:
            yield from ((first, row) for row in group if row.split == other and row.sample.name != first.sample.name)


def _pair_examples(tree: Tree, pairs: Sequence[tuple[_Row, _Row]]) -> tuple[Occurrence, ...]:
    return tuple(
        Occurrence(
            f"as {first.sample.name} ({tree.short(first.sample.listed)})",
            row=tree.short(again.sample.listed),
            sample=again.sample.name,
        )
        for first, again in pairs
    )
