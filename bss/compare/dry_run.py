"""What a comparison would do, without doing it: which runs are left, and for how long they would train."""

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bss import tasks
from bss.compare.arms import Arm, find
from bss.compare.comparison import Comparison
from bss.compare.runner import is_finished
from bss.data.splits import Splits
from bss.models.modes import train_mode
from bss.training.build import Parts, as_trained, parts, plan
from bss.training.loops import predict
from bss.training.run import Run
from bss.utils.devices import wait_for
from bss.utils.random_states import epoch_randomness

TIMED = 10
"""Steps of the optimiser that are timed, and batches that the network is measured on."""


UNTIMED = 3
"""Steps before them: the first ones wait for loader processes, for memory, and for a GPU to choose its algorithms."""


@dataclass(frozen=True)
class Work:
    """What one run of an arm does.

    Attributes:
        updates: steps of the optimiser.
        epochs: in how many epochs.
        batches: batches that the network only looks at: in scoring passes, after every epoch and in the final test.
    """

    updates: int
    epochs: int
    batches: int


def dry_run(
    comparison: Comparison, data: Splits, *, jobs: int, devices: Sequence[str], before: Sequence[str] = ()
) -> list[str]:
    """Say which runs would be trained, and how long that would take; nothing is trained or written.

    Args:
        comparison: the comparison.
        data: of its first seed.
        jobs: runs at a time.
        devices: which the runs are dealt to.
        before: the arm of each run that would come before those of the comparison, to tune it.

    Returns:
        Lines to print.

    Raises:
        RunFolderError: see :func:`bss.compare.runner.is_finished`.
    """
    arms = find(comparison.arms)
    data = as_trained(data, comparison.recipe(arms[0], comparison.seeds[0], None))
    done = {arm.name: [seed for seed in comparison.seeds if is_finished(comparison, arm, seed)] for arm in arms}
    works = {arm.name: work_of(comparison, arm, data) for arm in arms}
    width = max(map(len, works))
    lines = []
    for name, work in works.items():
        left = [seed for seed in comparison.seeds if seed not in done[name]]
        finished = f"; finished: {_listed(done[name])}" if done[name] else ""
        seeds = f"seeds {_listed(left)}" if left else "none"
        lines.append(f"  {name:{width}}  {work.updates} updates in {work.epochs} epochs; to train: {seeds}{finished}")
    number = len(before) + sum(len(comparison.seeds) - len(seeds) for seeds in done.values())
    if not number:
        return [*lines, "dry run: all runs are finished, so that only the report would be made"]
    step, look = timed(comparison, arms[0], data, devices[0])
    each = {name: work.updates * step + work.batches * look for name, work in works.items()}
    seconds = sum((len(comparison.seeds) - len(done[name]) + before.count(name)) * each[name] for name in works)
    at_once = min(jobs, len(devices), number)
    return [
        *lines,
        f"{TIMED} steps of {arms[0].name} on {devices[0]} took {1000 * step:.3g} ms each, and {TIMED} batches that are "
        f"only looked at {1000 * look:.3g} ms each",
        f"dry run: {number} {'runs' if number > 1 else 'run'} would take about {duration(seconds / at_once)}"
        f"{f' on {at_once} devices' if at_once > 1 else ''}, the start of each and the measuring of imbalance aside; "
        "nothing was trained",
    ]


def work_of(comparison: Comparison, arm: Arm, data: Splits) -> Work:
    """What one run of an arm does, by its recipe and the sizes of its epochs."""
    recipe = comparison.recipe(arm, comparison.seeds[0], comparison.updates(len(data.train)))
    planned, batch = plan(data, recipe), recipe.batch_size
    scored = [epoch for epoch in range(planned.epochs) if recipe.uses_scores and recipe.schedule.needs_pass(epoch)]
    steps = planned.sampler.total_steps(planned.epochs, batch, drop_last=recipe.tail == "last")
    looks = (
        len(scored) * math.ceil(len(data.train) / batch),
        planned.epochs * math.ceil(len(data.test if data.val is None else data.val) / batch),
        2 * math.ceil(len(data.test) / batch),  # with the weights of the chosen and of the last epoch
    )
    return Work(steps if recipe.updates is None else recipe.updates, planned.epochs, sum(looks))


def timed(comparison: Comparison, arm: Arm, data: Splits, device: str) -> tuple[float, float]:
    """Seconds of a training step, and of a batch that the network only looks at; global random states stay."""
    task = tasks.load(comparison.task)
    recipe = comparison.recipe(arm, comparison.seeds[0], comparison.updates(len(data.train)))
    run = Run(comparison.out, comparison.data_root, torch.device(device), workers=comparison.workers)
    built = parts(plan(data, recipe), task.build_model(recipe, comparison.data_root), data, recipe, run)
    try:
        with epoch_randomness(built.seed, 0, built.device, step=0):
            _score_by_place(built, len(data.train))
            built.plan.method.begin_epoch(0)
            train_mode(built.step.model)
            steps = (built.step.take(batch, number) for number, batch in enumerate(_training_batches(built)))
            step = _seconds_each(steps, built.device)
            batches = itertools.chain.from_iterable(itertools.repeat(built.watched_loader))
            looks = (predict(built.model, [batch], precision=recipe.precision) for batch in batches)
            return step, _seconds_each(looks, built.device)
    finally:
        for restore in built.restore:
            restore()


def _score_by_place(built: Parts, num_samples: int) -> None:
    """Fill the table without a scoring pass: a step takes as long with any order."""
    table, scores = built.plan.table, torch.linspace(0, 1, num_samples, device=built.device)
    table.update(torch.arange(num_samples, device=built.device), similarity=scores, loss=scores)
    table.synchronize()


def _training_batches(built: Parts) -> Iterator[Any]:
    """Without end: the first epochs of a curriculum may have fewer batches than are timed."""
    for epoch in itertools.count():
        built.plan.table.synchronize()  # closes the epoch of online scores
        built.plan.sampler.set_epoch(epoch)
        yield from built.train_loader


def _seconds_each(work: Iterator[Any], device: torch.device) -> float:
    """Mean time of :data:`TIMED` items, after :data:`UNTIMED` others."""
    times = []
    for count in (UNTIMED, TIMED):
        began = time.perf_counter()
        for _ in itertools.islice(work, count):
            pass
        wait_for(device)
        times.append((time.perf_counter() - began) / count)
    return times[1]


def duration(seconds: float) -> str:
    """A time in the two units that matter: ``"3 h 20 min"``."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    if hours < 1:
        return f"{round(minutes)} min"
    if hours < 48:
        return f"{int(hours)} h {round(minutes - 60 * int(hours))} min"
    return f"{int(hours // 24)} d {round(hours % 24)} h"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))
