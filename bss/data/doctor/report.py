"""The doctor's findings as text for a reader, and as one JSON object for a program."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bss.data.datasets.listing import list_of
from bss.data.doctor.findings import SEVERITIES, Finding, number, percent
from bss.data.doctor.tree import Tree

SHOWN = 4
"""Examples that the text shows of each finding."""


SHOWN_NAMES = 12
"""Names that the text shows of each finding that is about no file or row."""


_MARGIN = " " * 9


def status(findings: Sequence[Finding]) -> int:
    """The exit status: 1 if there is an error, else 0."""
    return int(any(finding.severity == "error" for finding in findings))


def as_dict(tree: Tree, findings: Sequence[Finding]) -> dict[str, Any]:
    """The whole report in plain types; the keys are described in :mod:`bss.data.doctor`."""
    return {
        "schema": 1,
        "stem": tree.data_set.stem,
        "title": tree.data_set.title,
        "root": str(tree.root),
        "generated": tree.generated,
        "status": status(findings),
        "counts": {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES},
        "splits": {split: _split(tree, split) for split in tree.samples},
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "message": finding.message,
                "examples": [example._asdict() for example in finding.examples],
            }
            for finding in findings
        ],
    }


def _split(tree: Tree, split: str) -> dict[str, Any]:
    samples = tree.samples[split]
    label, count = _majority(tree, split)
    labels = Counter(sample.label for sample in samples)
    return {
        "list": tree.short(list_of(samples[0])),
        "rows": len(samples),
        "published": list(tree.data_set.published.get(split, ())),
        "found": {kind: sum(bool(sample.files[kind]) for sample in samples) for kind in tree.kinds},
        "classes": {name: labels[label] for label, name in enumerate(tree.data_set.classes)},
        "majority": {"class": tree.data_set.classes[label], "share": count / len(samples)},
    }


def _majority(tree: Tree, split: str) -> tuple[int, int]:
    """The label of the class with most rows, the first of several, and the number of its rows."""
    return Counter(sample.label for sample in tree.samples[split]).most_common(1)[0]


# -------------------------------------------------------------------------------------------------------- text


def as_text(tree: Tree, findings: Sequence[Finding]) -> str:
    """The report for a reader: what was looked at, the classes, the findings from worst to best, the verdict."""
    width = min(100, max(60, shutil.get_terminal_size((100, 24)).columns))
    names = [name for name in dict.fromkeys(tree.editions.values()) if name]
    edition = f" ({', '.join(names)})" if names else ""
    parts = [f"{tree.data_set.title}{edition} under {tree.root}{' (a generated sample)' if tree.generated else ''}"]
    if tree.samples:
        parts += ["\n".join(_split_table(tree)), "\n".join(_class_table(tree, width))]
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    parts += ["\n".join(line for finding in ordered for line in _finding(finding, width))]
    return "\n\n".join([*parts, _verdict(tree, findings)])


def _split_table(tree: Tree) -> list[str]:
    head = ["list", "rows", "published", *(f"with {kind}" for kind in tree.kinds), "in the file"]
    rows = [head]
    for split in tree.samples:
        facts = _split(tree, split)
        published = " or ".join(f"{size:,}" for size in facts["published"]) or "-"
        found = [f"{count:,}" for count in facts["found"].values()]
        rows.append([split, f"{facts['rows']:,}", published, *found, facts["list"]])
    return _aligned(rows, left={0, len(head) - 1})


def _class_table(tree: Tree, width: int) -> list[str]:
    """The rows of every class in every split, in as many blocks side by side as fit; what a constant answer gets."""
    head = ["class", *tree.samples]
    rows = []
    splits = {split: Counter(sample.label for sample in samples) for split, samples in tree.samples.items()}
    for label, name in enumerate(tree.data_set.classes):
        rows.append([name, *(f"{counts[label]:,}" for counts in splits.values())])
    lines = _aligned([head, *rows], left={0})
    block_width = max(map(len, lines)) + 4
    blocks = max(1, min((width + 4) // block_width, -(-len(rows) // 8)))
    height = -(-len(rows) // blocks)
    columns = [[lines[0], *lines[1 + start : 1 + start + height]] for start in range(0, len(rows), height)]
    table = [
        "".join(column[i].ljust(block_width) for column in columns if i < len(column)).rstrip()
        for i in range(1 + height)
    ]
    constant = []
    for split in tree.samples:
        label, count = _majority(tree, split)
        constant.append(f"{split} {percent(count, len(tree.samples[split]))} ({tree.data_set.classes[label]})")
    return [*table, *textwrap.wrap(f"The same answer for all gets {', '.join(constant)}.", width)]


def _aligned(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _finding(finding: Finding, width: int) -> Iterator[str]:
    # break_long_words would tear paths apart; a terminal wraps those well enough.
    options = {"break_long_words": False, "break_on_hyphens": False}
    first = f"{finding.severity:{len(_MARGIN)}}"
    yield from textwrap.wrap(finding.message, width, initial_indent=first, subsequent_indent=_MARGIN, **options)
    if finding.severity == "ok":
        return
    if not any(example.file or example.row for example in finding.examples):
        names = [str(example) for example in finding.examples]
        more = f" ... and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
        indents = {"initial_indent": _MARGIN, "subsequent_indent": _MARGIN}
        yield from textwrap.wrap(", ".join(names[:SHOWN_NAMES]) + more, width, **indents, **options)
        return
    indents = {"initial_indent": f"{_MARGIN}- ", "subsequent_indent": f"{_MARGIN}  "}
    for example in finding.examples[:SHOWN]:
        yield from textwrap.wrap(str(example), width, **indents, **options)
    if len(finding.examples) > SHOWN:
        yield f"{_MARGIN}... and {len(finding.examples) - SHOWN:,} more"


def _verdict(tree: Tree, findings: Sequence[Finding]) -> str:
    count = Counter(finding.severity for finding in findings)
    warnings = f", {number(count['warning'], 'warning')}" if count["warning"] else ""
    if count["error"]:
        command = f" `{tree.data_set.prepare_command(tree.root)}` makes it out of what was published."
        made = command if _is_unprepared(tree) else ""
        return f"Not ready: {number(count['error'], 'error')}{warnings}. {tree.data_set.layout}.{made}"
    return f"Ready to train{warnings}." if warnings else "Ready to train: no errors, no warnings."


def _is_unprepared(tree: Tree) -> bool:
    """Whether there is no list, or not one file of some kind, as in what was published."""
    return not all(any(sample.files[kind] for _, sample in tree.all()) for kind in tree.kinds or ("list",))
