"""What the JSON of a run folder must hold to be reported: small checks that name the place, made up into larger ones.

A report reads what older versions, other people and failing disks have left. All of it is looked at here, once, so
that what works on the numbers need not ask what they are.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, get_args

from bss.utils.choices import Prediction
from bss.utils.errors import RunFolderError, shown

Check = Callable[[Any, str], None]
"""Refuses a value that is not as it should be, given the place where it stands."""


LARGEST = 2**53
"""Counts lie below it: a table holds them as 64-bit numbers, and a sum of a thousand must fit as well."""


HUGE = 1e100
"""Measured numbers lie below it: their squares are added up, and Python's overflow is an error."""


DEEPEST = 6
"""Levels of a recipe that are read; ours have two, and a text of a thousand brackets has a thousand."""


_HALF_LETTER = re.compile("[\ud800-\udfff]")  # which JSON can hold and UTF-8 cannot


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def _refuse(value: object, where: str, wanted: str) -> NoReturn:
    raise RunFolderError(f"{where} is {shown(value)}, and not {wanted}")


# ---- single values -------------------------------------------------------------------------------------------------


def text(value: Any, where: str) -> None:
    """A text that can be written into a file."""
    if not isinstance(value, str):
        _refuse(value, where, "a text")
    if not value.isascii() and _HALF_LETTER.search(value):
        _refuse(value, where, "a text of whole letters")


def line(value: Any, where: str) -> None:
    """A text that fits into a table and a line of the screen."""
    text(value, where)
    if not (value.isascii() and value.isprintable()) and _CONTROL.search(value):
        _refuse(value, where, "a text of one line")


def _names(table: Mapping[str, Any], where: str) -> None:
    """A table whose names are each a :func:`line`: looked at all at once, since most are."""
    together = "".join(table)
    if not (together.isascii() and together.isprintable()):
        for name in table:
            line(name, f"a name in {where}")


def flag(value: Any, where: str) -> None:
    """True or False."""
    if not isinstance(value, bool):
        _refuse(value, where, "true or false")


def number(value: Any, where: str) -> None:
    """A finite number whose square is finite as well."""
    if type(value) is float and abs(value) < HUGE:
        return
    measured(value, where)
    if value is None or not abs(value) < HUGE:  # NaN is not below anything
        _refuse(value, where, "a finite number")


def amount(value: Any, where: str) -> None:
    """A finite number from 0 on."""
    number(value, where)
    if value < 0:
        _refuse(value, where, "a number from 0 on")


def count(value: Any, where: str) -> None:
    """A whole number from 0 on."""
    if type(value) is not int or not 0 <= value < LARGEST:
        _refuse(value, where, "a whole number from 0 on")


def positive(value: Any, where: str) -> None:
    """A whole number from 1 on."""
    count(value, where)
    if value == 0:
        _refuse(value, where, "a whole number from 1 on")


def measured(value: Any, where: str) -> None:
    """A number, or one that has diverged: null, NaN or infinite."""
    if value is not None and type(value) is not float and not (type(value) is int and abs(value) < LARGEST):
        _refuse(value, where, "a number")


def share(value: Any, where: str) -> None:
    """A number from 0 to 1, or one that has diverged."""
    if type(value) is float and 0 <= value <= 1:
        return
    measured(value, where)
    if value is not None and math.isfinite(value) and not 0 <= value <= 1:
        _refuse(value, where, "a number from 0 to 1")


def fraction(value: Any, where: str) -> None:
    """A number from 0 to 1."""
    number(value, where)
    share(value, where)


def setting(value: Any, where: str, depth: int = 0) -> None:
    """What a recipe may hold: texts, numbers, null, and lists and tables of them."""
    if value is None or type(value) in (bool, float):
        return
    if isinstance(value, dict) and depth < DEEPEST:
        _names(value, where)
        for name, inner in value.items():
            setting(inner, f"{where}.{name}", depth + 1)
    elif isinstance(value, list) and depth < DEEPEST:
        for place, inner in enumerate(value):
            setting(inner, f"{where}[{place}]", depth + 1)
    elif isinstance(value, str):
        text(value, where)
    else:
        measured(value, where)  # none of the program's numbers is a whole one of more digits


# ---- what they are made up into ------------------------------------------------------------------------------------


def maybe(check: Check) -> Check:
    """Null, or what the check takes."""

    def checked(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return checked


def each(check: Check) -> Check:
    """A table, whatever the names in it, of what the check takes."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "a table")
        _names(value, where)
        for name, inner in value.items():
            check(inner, f"{where}.{name}")

    return checked


def one_of(*choices: str) -> Check:
    """One of some texts."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, str) or value not in choices:
            _refuse(value, where, f"one of {', '.join(choices)}")

    return checked


def listed(check: Check) -> Check:
    """A list of what the check takes."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, list):
            _refuse(value, where, "a list")
        for place, inner in enumerate(value):
            check(inner, f"{where}[{place}]")

    return checked


def record(needed: Mapping[str, Check], others: Mapping[str, Check]) -> Check:
    """A table with fields that it must have, and with others that it may have; what is in neither is not read."""
    checks = (*needed.items(), *others.items())

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "a table")
        prefix = f"{where} " if where.endswith(":") else f"{where}."
        for name in needed:
            if name not in value:
                raise RunFolderError(f"{prefix}{name} is missing")
        for name, check in checks:
            if name in value:
                check(value[name], f"{prefix}{name}")

    return checked


# ---- the files -----------------------------------------------------------------------------------------------------


_ACCURACY = record({"accuracy": record({"all": share}, {})}, {})


_SHARES = each(each(share))


def metrics(value: Any, where: str) -> None:
    """Accuracy and other metrics, each of the same heads, of which one is all of them together."""
    _ACCURACY(value, where)
    _SHARES(value, where)
    for name, heads in value.items():
        if heads.keys() != value["accuracy"].keys():
            raise RunFolderError(
                f"{where}.{name} is of the heads {', '.join(heads)}, and the accuracy of {', '.join(value['accuracy'])}"
            )


def _pair(value: Any, where: str) -> None:
    """What a number was, and what it is now."""
    listed(setting)(value, where)
    if len(value) != 2:
        _refuse(value, where, "two values")


_BY_MODALITY = maybe(each(maybe(number)))


_IMBALANCE = maybe(
    record(
        {},
        {
            "index": maybe(number),
            "gradient_ratio": maybe(number),
            "true_class_probability": _BY_MODALITY,
            "gradient_norm": _BY_MODALITY,
            "shapley": maybe(each(_BY_MODALITY)),
            "probe": _BY_MODALITY,
        },
    )
)


MARK = record(
    {},
    dict.fromkeys(
        ("arm", "title", "task", "task_file", "task_title", "initial_weights", "training_samples"), maybe(line)
    )
    | {"tuned": listed(line)},
)
"""``arm.json``."""


CONFIG = record(
    {
        "recipe": record(
            {"seed": count, "batch_size": positive}, {"prediction": one_of(*get_args(Prediction)), "fold": maybe(count)}
        ),
        "sampler": line,
        "samples": record({"test": positive}, {"train": count, "val": maybe(count)}),
        "versions": each(maybe(line)),
        "device": line,
        "machine": each(setting),
    },
    {
        **dict.fromkeys(("method", "commit", "arm", "task", "task_hash", "title"), maybe(line)),
        "seed": count,
        "fold": count,
        "tested_groups": each(listed(line)),
        "method_settings": maybe(each(setting)),
        "command": listed(text),
        "classes": listed(text),
        "generated": flag,
        "corrupted": each(record({}, {"pairs": count, "labels": count, "hash": line})),
        "lists": each(record({}, {"hash": line, "count": count, "commonest_class_accuracy": fraction})),
        "continued": listed(
            record(
                {},
                {
                    "finished_epochs": count,
                    "step": count,
                    "commit": maybe(line),
                    "versions": each(maybe(line)),
                    "machine": each(setting),
                    "command": listed(text),
                    "device": line,
                    "changed": each(_pair),
                    "after": record({}, {"how": line}),
                },
            )
        ),
    },
)
"""``config.json``; what a recipe holds is :func:`setting`'s to look at."""


ROW = record(
    {"epoch": count, "samples": count, "steps": count, "seconds": amount},
    {"train_loss": measured, "val": metrics, "test": metrics, "imbalance": _IMBALANCE},
)
"""A line of ``metrics.jsonl``."""


SUMMARY = record(
    {"test": record({"chosen": metrics, "last": metrics}, {}), "chosen_epoch": count},
    {
        **{"oracle": record({}, {"epoch": count}), "imbalance": _IMBALANCE},
        **{"updates": count, "seconds": amount, "stopped_early": count},
    },
)
"""``summary.json`` of a finished run."""


FAILED = record({"how": line, "epoch": count, "step": count, "reason": line}, {})
"""What ``summary.json`` says, in ``failed``, of a run that ended before its end."""


def _contrast(value: Any, where: str) -> None:
    """An arm and its control."""
    listed(line)(value, where)
    if len(value) != 2:
        _refuse(value, where, "an arm and its control")


def _below_it(value: Any, where: str) -> None:
    """A folder below the one that the file is in."""
    line(value, where)
    parts = value.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\\" in value or ":" in parts[0]:
        _refuse(value, where, "the path of a folder below this one")


PLAN = record(
    {
        "format": count,
        "analysis": record(
            {
                "arms": listed(line),
                "seeds": listed(count),
                "contrasts": listed(_contrast),
                "metric": line,
                "outcomes": listed(line),
                "margin": amount,
                "looks": positive,
                "alpha": amount,
            },
            {},
        ),
        "runs": listed(
            record(
                {
                    "arm": line,
                    "seed": count,
                    "fold": maybe(count),
                    "folder": _below_it,
                    "command": listed(text),
                    "recipe": line,
                },
                {},
            )
        ),
        "previous": maybe(line),
        "seen": listed(count),
    },
    {},
)
"""``plan.json``; whether its parts fit together is for :mod:`bss.compare.plan` to say."""


TUNING = record(
    {
        "format": count,
        "grid": each(listed(line)),
        "tried": listed(
            record(
                {
                    "arm": line,
                    "setting": listed(line),
                    "seed": count,
                    "fold": maybe(count),
                    "folder": _below_it,
                    "recipe": line,
                    "accuracy": maybe(fraction),
                },
                {},
            )
        ),
        "chosen": listed(record({"arm": line, "fold": maybe(count), "setting": listed(line)}, {})),
    },
    {},
)
"""``tune.json``."""


CURVE = record(
    {
        "label": line,
        "modalities": listed(line),
        "corruption": line,
        "unit": one_of("share", "dB", "severity"),
        "clean": record({"all": fraction}, {}),
        "points": listed(
            record(
                {"level": number, "accuracy": record({"all": listed(fraction)}, {})},
                {"lacking": listed(count), "kept_none": listed(count)},
            )
        ),
        "lines": each(fraction),
        "samples": positive,
        "untouched": count,
    },
    {},
)
"""One of ``robustness`` in ``evaluation.json``, as a report reads it; heads beside ``all`` are looked at there."""
