"""What a comparison would cost: the work of a run by its recipe, its pace by a few timed steps, and its disk."""

import contextlib
import gc
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from bss import tasks
from bss.compare.arms import Arm
from bss.compare.comparison import Comparison
from bss.data.splits import Splits
from bss.models.modes import train_mode
from bss.training.build import Parts, as_trained, parts, plan
from bss.training.loops import predict, show_samples
from bss.training.run import Run
from bss.utils.devices import wait_for
from bss.utils.random_states import epoch_randomness

TIMED = 10
"""Batches of a kind that are timed."""


UNTIMED = 3
"""Batches before them: the first ones wait for loader processes, for memory, and for a GPU to choose its algorithms."""


PREFETCHED = 2
"""Batches that every loader process makes ahead, which say nothing of how fast it makes them."""


ENOUGH = 2.0
"""Seconds after which no further batch is waited for, as long as there are two."""


@dataclass(frozen=True)
class Work:
    """What one run of an arm does, in batches; at most, where a method makes epochs longer than the sampler does.

    Attributes:
        epochs: in how many epochs.
        steps: of the optimiser.
        scored: batches that scoring passes look at.
        valued: batches that a method looks at before an epoch.
        looks: batches that are measured: before and after the training, and after every epoch.
    """

    epochs: int
    steps: int
    scored: int
    valued: int
    looks: int


@dataclass(frozen=True)
class Pace:
    """Seconds that a batch takes, and bytes that a run keeps.

    Attributes:
        step: of the optimiser.
        scored: in a scoring pass; None = the arm makes none.
        valued: that a method looks at; None = the arm's method looks at none.
        look: that is measured.
        kept: bytes of the two checkpoints that a finished run keeps.
    """

    step: float
    scored: float | None
    valued: float | None
    look: float
    kept: int

    def seconds(self, work: Work) -> float:
        """Of a run. Passes that were not timed count as so many batches that are measured."""
        each = (self.step, self.scored or self.look, self.valued or self.look, self.look)
        batches = (work.steps, work.scored, work.valued, work.looks)
        return sum(count * seconds for count, seconds in zip(batches, each, strict=True))


def work_of(comparison: Comparison, arm: Arm, data: Splits) -> Work:
    """What one run of an arm does, by its recipe and the sizes of its epochs."""
    recipe = comparison.recipe(arm, comparison.pairs[0], comparison.updates(len(data.train)))
    planned, schedule = plan(data, recipe), recipe.schedule
    epochs = range(planned.epochs)

    def batches(samples: int) -> int:
        return math.ceil(samples / recipe.batch_size)

    whole, test = batches(len(data.train)), batches(len(data.test))
    watched = test if data.val is None else batches(len(data.val))
    scored = [epoch for epoch in epochs if recipe.uses_scores and schedule.needs_pass(epoch)]
    calibration = min(whole, schedule.calibration_batches) if schedule.mode == "calibrated" else 0
    steps = planned.sampler.total_steps(planned.epochs, recipe.batch_size, drop_last=recipe.tail == "last")
    looks = (
        (0 if data.val is None else watched) + test,  # the files are read once before the training
        planned.epochs * watched,
        2 * test,  # with the weights of the chosen and of the last epoch
        whole if recipe.imbalance_every else 0,  # features of the training samples
    )
    return Work(
        epochs=planned.epochs,
        steps=steps if recipe.updates is None else recipe.updates,
        scored=len(scored) * (whole + calibration),
        valued=sum(map(planned.method.prepare, epochs)) * whole,
        looks=sum(looks),
    )


def pace_of(comparison: Comparison, arm: Arm, data: Splits, device: str, known: Pace | None = None) -> Pace:
    """Time some batches of every kind of work that the arm has, loading included; global random states stay.

    Args:
        comparison: the comparison; nothing is written.
        arm: of it.
        data: of its first seed.
        device: where.
        known: of another arm of it, whose network is the same: what both have beside training steps is not timed again.
    """
    task = tasks.load(comparison.task)
    recipe = comparison.recipe(arm, comparison.pairs[0], comparison.updates(len(data.train)))
    run = Run(comparison.out, comparison.data_root, torch.device(device), workers=comparison.workers)
    planned = plan(data, recipe)
    built = parts(planned, task.build_model(recipe, comparison.data_root), data, recipe, run)
    method, device_of_run, precision = planned.method, built.device, recipe.precision
    usual = planned.epochs // 2  # behind the warm-up that some methods have

    def timed(work: Iterator[object]) -> float:
        return _seconds_each(work, device_of_run, ahead=PREFETCHED * comparison.workers)

    def looked_at(loader: Iterable[Any]) -> float:
        return timed(predict(built.model, [batch], precision=precision) for batch in _ever(loader))

    try:
        with epoch_randomness(built.seed, 0, device_of_run, step=0):
            _score_by_place(built, len(data.train))
            # Before the steps: a network that ten steps have driven away from finite numbers could not be measured.
            look = looked_at(built.watched_loader) if known is None else known.look
            scored, valued = None if known is None else known.scored, None
            if not any(map(built.needs_pass, range(planned.epochs))):
                scored = None
            elif scored is None:
                scored = looked_at(built.passes.loader)
            if method.prepare(usual):
                show = partial(show_samples, built.model, method=method, precision=precision)
                valued = timed(map(show, ([batch] for batch in _ever(built.passes.loader))))
            method.begin_epoch(usual)
            train_mode(built.step.model)
            step = timed(built.step.take(batch, number) for number, batch in enumerate(_training_batches(built)))
            return Pace(step, scored, valued, look, _kept(built))
    finally:
        for restore in built.restore:
            restore()


def _score_by_place(built: Parts, num_samples: int) -> None:
    """Fill the table without a scoring pass: a step takes as long with any order."""
    table, scores = built.plan.table, torch.linspace(0, 1, num_samples, device=built.device)
    table.update(torch.arange(num_samples, device=built.device), similarity=scores, loss=scores)
    table.synchronize()


def _ever(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches of a loader, over and over."""
    return itertools.chain.from_iterable(itertools.repeat(loader))


def _training_batches(built: Parts) -> Iterator[Any]:
    """Without end: the first epochs of a curriculum may have fewer batches than are timed."""
    for epoch in itertools.count():
        built.plan.table.synchronize()  # closes the epoch of online scores
        built.plan.sampler.set_epoch(epoch)
        yield from built.train_loader


def _seconds_each(work: Iterator[object], device: torch.device, *, ahead: int) -> float:
    """Mean time of :data:`TIMED` items after some others; of two at least, where they take long.

    Args:
        work: does an item at a time.
        device: is waited for.
        ahead: items that loader processes have ready.
    """

    def mean(most: int, least: int) -> float:
        began, count = time.perf_counter(), 0
        for _ in itertools.islice(work, most):
            count += 1
            if count >= least and time.perf_counter() - began > ENOUGH:
                break
        wait_for(device)
        return (time.perf_counter() - began) / count

    mean(UNTIMED + ahead, least=2)
    return mean(TIMED, least=2)


def _kept(built: Parts) -> int:
    """Bytes of ``best.pt``, which has the weights, and of ``last.pt``, which has the optimiser's state as well."""
    weights = sum(value.nbytes for value in built.model.state_dict().values())
    states = built.step.optimizer.state.values()
    return 2 * weights + sum(value.nbytes for state in states for value in state.values() if torch.is_tensor(value))


# ---- of all runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What the runs of one arm cost that are still to be made.

    Attributes:
        arm: its name.
        runs: how many are left.
        work: of one.
        pace: of one.
    """

    arm: str
    runs: int
    work: Work
    pace: Pace

    @property
    def seconds(self) -> float:
        """Of one run."""
        return self.pace.seconds(self.work)


def costs_of(
    comparison: Comparison, arms: Sequence[Arm], data: Splits, left: Mapping[str, int], *, device: str, jobs: int
) -> list[Cost]:
    """Time every arm that has runs left, with a progress bar.

    Args:
        comparison: the comparison; nothing is written.
        arms: of it.
        data: of its first seed.
        left: arm -> number of runs that are still to be made.
        device: where the steps are timed.
        jobs: runs at a time, which share this machine's cores as they will.
    """
    todo = [arm for arm in arms if left[arm.name]]
    data = as_trained(data, comparison.recipe(arms[0], comparison.pairs[0], None))
    found: list[Cost] = []
    known: Pace | None = None
    with threads_of_a_run(jobs):
        for arm in tqdm(todo, desc="timing a few steps", unit="arm", disable=None, leave=False):
            pace = pace_of(comparison, arm, data, device, known)
            if device != "cpu" or comparison.workers:
                gc.collect()  # a device's memory and loader processes of many arms would pile up
            known = pace if known is None or known.scored is None else known
            found.append(Cost(arm.name, left[arm.name], work_of(comparison, arm, data), pace))
    return found


@contextlib.contextmanager
def threads_of_a_run(jobs: int) -> Iterator[None]:
    """Compute in as many threads as each of so many runs at a time has."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def at_once(jobs: int, devices: Sequence[str], runs: int) -> int:
    """How many runs get on at full pace: those of one GPU wait for one another, on a CPU each has its cores."""
    places = torch.get_num_threads() if devices[0] == "cpu" else len(devices)
    return max(1, min(jobs, places, runs))


def reckoning(costs: Sequence[Cost], *, jobs: int, devices: Sequence[str]) -> list[str]:
    """Say what runs would cost, arm by arm and in all, and what is not counted."""
    if not costs:
        return ["cost: all runs are finished, so that only the report is made"]
    width = max(len(cost.arm) for cost in costs)
    lines = [f"cost of a run on {devices[0]}, from a few timed batches of every arm, loading included:"]
    for cost in costs:
        work, pace = cost.work, cost.pace
        kinds = (
            ("steps", work.steps, pace.step),
            ("scored", work.scored, pace.scored),
            ("valued", work.valued, pace.valued),
            ("measured", work.looks, pace.look),
        )
        sums = " + ".join(
            f"{count:,} {noun} x {float(f'{1000 * each:.3g}'):g} ms" for noun, count, each in kinds if each and count
        )
        lines.append(f"  {cost.arm:{width}}  {sums} = {hours(cost.seconds)}; runs to make: {cost.runs}")
    runs, seconds = sum(cost.runs for cost in costs), sum(cost.runs * cost.seconds for cost in costs)
    together = at_once(jobs, devices, runs)
    said = f", {hours(seconds / together)} with {together} at a time" if together > 1 else ""
    kept = sum(cost.runs * cost.pace.kept for cost in costs)
    return [
        *lines,
        f"cost: {runs} run{'s' * (runs != 1)}, {hours(seconds)} in all{said}; the start of each, linear probes and "
        "writing are not in it, and a method that makes epochs longer makes fewer of them than counted",
        f"disk: {size(kept)} for checkpoints, {size(kept // runs)} a run",
    ]


def hours(seconds: float) -> str:
    """A time in hours with three digits, and in smaller units where it is short: ``"0.05 h (3 min)"``."""
    text = f"{float(f'{seconds / 3600:.3g}'):,g} h"
    return text if seconds >= 3600 else f"{text} ({duration(seconds)})"


def duration(seconds: float) -> str:
    """A time in the two units that matter: ``"3 h 20 min"``."""
    minutes, whole = seconds / 60, seconds / 3600
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    if whole < 1:
        return f"{round(minutes)} min"
    if whole < 48:
        return f"{int(whole)} h {round(minutes - 60 * int(whole))} min"
    return f"{int(whole // 24)} d {round(whole % 24)} h"


def size(count: float) -> str:
    """Bytes in the unit that matters, with three digits: ``"268 MB"``."""
    power = max(1, min(4, int(math.log10(max(count, 1)) / 3)))
    return f"{float(f'{count / 1000**power:.3g}'):g} {('kB', 'MB', 'GB', 'TB')[power - 1]}"
