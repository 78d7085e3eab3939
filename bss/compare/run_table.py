"""A row for every run, under its arm's mean: what it came to, and the fields in which the runs differ."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bss.compare.pairs import Pair
from bss.compare.runs import OWN_FIELDS, FailedRun, FinishedRun, KnownRun
from bss.compare.tables import EPOCHS, Results, Table, setting_text
from bss.compare.wording import DASH, listed, mean_text, pairs_text
from bss.recipes.recipe import FREE_FIELDS

MADE_BY = {"commit": 8, "device": 40}
"""Fields of ``config.json`` that stand in the table where the runs differ in them, and how much of their text does."""


def run_table(results: Results) -> Table:
    """Every run under the mean of its arm, in the order of the arms and of the seeds.

    Failed runs stand among them, at what they count for. Of the recipe those fields have a column in which the runs
    differ, one does not have included.
    """
    import pandas as pd

    fields = differing(results)
    measured = _measured(results)
    rows = []
    for arm in results.names:
        members = list(results.arms.get(arm, ()))
        failed = [run for run in results.failed if run.arm == arm]
        finished = [[read(run) for read, _ in measured.values()] for run in members]
        means = [
            _mean([numbers[place] for numbers in finished], digits)
            for place, (_, digits) in enumerate(measured.values())
        ]
        several: list[KnownRun] = [*members, *failed]
        rows.append([arm, f"mean of {len(members)}", *means, *_settings(several, fields)])
        rows += [
            [arm, str(results.pair(run)), *_numbers(numbers, measured), *_settings([run], fields)]
            for run, numbers in zip(members, finished, strict=True)
        ]
        rows += [
            [arm, str(results.pair(run)), *_of_failed(run, results, measured), *_settings([run], fields)]
            for run in failed
        ]
    return Table(
        "Runs",
        f"Test {results.noun} in % of {results.prediction} (all), then of every head, {EPOCHS[results.primary]}; "
        "optimiser steps, and seconds of all epochs. Every seed stands under the mean and standard deviation of its "
        "arm. "
        f"Then the fields of the recipe in which the runs differ; a dash: it has no such field. {_others(results)}"
        "Paper leaves out what stands in the table of arms.",
        pd.DataFrame(rows, columns=["arm", "seed", *measured, *map(_short, fields)]),
        grouped=True,
        minor=frozenset(map(_short, fields)),
    )


def _all(results: Results) -> list[KnownRun]:
    return [*results.runs, *results.failed]


def differing(results: Results) -> list[str]:
    """Names of the fields that say how the runs differ: of the recipe, dotted, and of :data:`MADE_BY`."""
    runs = _all(results)
    names = dict.fromkeys(name for run in runs for name in run.recipe if name not in FREE_FIELDS | OWN_FIELDS)
    return [name for name in (*names, *MADE_BY) if len({_setting(run, name) for run in runs}) > 1]


def _short(name: str) -> str:
    return name.removeprefix("schedule.")


def _setting(run: KnownRun, name: str) -> str:
    if name in MADE_BY:
        return str(run.config.get(name))[: MADE_BY[name]]
    return setting_text(run.recipe[name]) if name in run.recipe else DASH


def _settings(runs: Sequence[KnownRun], names: Sequence[str]) -> Iterator[str]:
    """The fields of some runs; of several values, how many there are."""
    for name in names:
        values = dict.fromkeys(_setting(run, name) for run in runs)
        yield next(iter(values)) if len(values) == 1 else f"{len(values)} values"


Read = Callable[[FinishedRun], float | None]


def _measured(results: Results) -> dict[str, tuple[Read, int]]:
    """Column -> how its number is read from a run, and with how many decimals it is written."""
    first, *others = results.epochs
    columns: dict[str, tuple[Read, int]] = {f"{first}: all": (_test(results, first, "all"), 2)}
    columns |= {f"{epoch}: all": (_test(results, epoch, "all"), 2) for epoch in others}
    columns |= {head: (_test(results, first, head), 2) for head in results.heads if head != "all"}
    columns["chosen epoch"] = (lambda run: run.summary["chosen_epoch"] + 1, 0)
    columns["steps"] = (lambda run: run.updates, 0)
    columns["seconds"] = (lambda run: run.seconds, 1)
    return columns


def _test(results: Results, epoch: str, head: str) -> Read:
    def read(run: FinishedRun) -> float | None:
        tested: Any = run.summary["test"]
        value = tested[epoch][results.metric].get(head)
        return 100 * value if isinstance(value, int | float) and math.isfinite(value) else None

    return read


def _numbers(numbers: Sequence[float | None], measured: Mapping[str, tuple[Read, int]]) -> list[str]:
    decimals = [digits for _, digits in measured.values()]
    return [_number(number, digits) for number, digits in zip(numbers, decimals, strict=True)]


def _number(number: float | None, digits: int) -> str:
    return DASH if number is None else f"{number:,.{digits}f}"


def _mean(numbers: Sequence[float | None], digits: int) -> str:
    known = [number for number in numbers if number is not None]
    return mean_text(known, digits=digits or 1)


def _of_failed(run: FailedRun, results: Results, measured: Mapping[str, tuple[Read, int]]) -> list[str]:
    """What a failed run counts for, which is its outcome in accuracy alone, and dashes."""
    worth = f"{100 * run.accuracy:.2f} (failed)" if run in results.imputed else "failed"
    return [worth if name.endswith(": all") else DASH for name in measured]


def _others(results: Results) -> str:
    """A sentence on runs that lack a field which other runs with their sampler and method have; empty without any."""
    kinds: dict[object, list[KnownRun]] = {}
    for run in _all(results):
        kinds.setdefault((run.config["sampler"], run.config.get("method")), []).append(run)
    lacking: dict[tuple[str, ...], dict[str, list[Pair]]] = {}
    for runs in kinds.values():
        names = dict.fromkeys(name for run in runs for name in run.recipe)
        for run in runs:
            if missing := tuple(_short(name) for name in names if name not in run.recipe):
                lacking.setdefault(missing, {}).setdefault(run.arm, []).append(results.pair(run))
    told = [
        f"{listed([f'{arm} {pairs_text(seeds)}' for arm, seeds in arms.items()], '; ')} without {listed(names)}"
        for names, arms in lacking.items()
    ]
    return f"Of one sampler and method, some runs lack fields that others have: {'; '.join(told)}. " if told else ""
