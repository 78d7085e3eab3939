"""What a comparison would do, without doing it: which runs are left, and for how long they would train."""

from collections.abc import Iterable, Sequence

from bss.compare.arms import find
from bss.compare.comparison import Comparison
from bss.compare.cost import TIMED, at_once, duration, pace_of, threads_of_a_run, work_of
from bss.compare.pairs import Pair
from bss.compare.runner import is_finished
from bss.data.splits import Splits
from bss.training.build import as_trained


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
    data = as_trained(data, comparison.recipe(arms[0], comparison.pairs[0], None))
    done = {arm.name: [pair for pair in comparison.pairs if is_finished(comparison, arm, pair)] for arm in arms}
    works = {arm.name: work_of(comparison, arm, data) for arm in arms}
    width = max(map(len, works))
    lines = []
    for name, work in works.items():
        left = [pair for pair in comparison.pairs if pair not in done[name]]
        finished = f"; finished: {_listed(done[name])}" if done[name] else ""
        seeds = f"seeds {_listed(left)}" if left else "none"
        lines.append(f"  {name:{width}}  {work.steps} updates in {work.epochs} epochs; to train: {seeds}{finished}")
    number = len(before) + sum(len(comparison.pairs) - len(seeds) for seeds in done.values())
    if not number:
        return [*lines, "dry run: all runs are finished, so that only the report would be made"]
    with threads_of_a_run(jobs):
        pace = pace_of(comparison, arms[0], data, devices[0])
    runs = {name: len(comparison.pairs) - len(done[name]) + before.count(name) for name in works}
    seconds = sum(runs[name] * pace.seconds(works[name]) for name in works)
    together = at_once(jobs, devices, number)
    return [
        *lines,
        f"{TIMED} steps of {arms[0].name} on {devices[0]} took {1000 * pace.step:.3g} ms each, and {TIMED} batches "
        f"that are only looked at {1000 * pace.look:.3g} ms each",
        f"dry run: {number} {'runs' if number > 1 else 'run'} would take about {duration(seconds / together)}"
        f"{f' with {together} at a time' if together > 1 else ''}, the start of each and the measuring of imbalance "
        "aside; nothing was trained",
    ]


def _listed(seeds: Iterable[Pair]) -> str:
    return ", ".join(map(str, seeds))
