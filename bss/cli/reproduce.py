"""What ``python -m bss reproduce`` does with its flags."""

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence

from bss import tasks
from bss.cli.compare import carry_out, data_root, size_line, with_data
from bss.cli.launch import check_source
from bss.compare.arms import find, partly_reaching
from bss.compare.claims import Claims, claims_of
from bss.compare.comparison import Comparison, seeds_of
from bss.compare.contribution import contribute
from bss.compare.cost import costs_of, reckoning, size
from bss.compare.plan import PLAN_FILE, read
from bss.compare.planning import Asked, planned, said
from bss.compare.reproduction import prepared, remarks, tables_of
from bss.compare.runner import check_finished, devices_of
from bss.data.splits import Splits
from bss.utils.errors import RecipeError, RunFolderError


def reproduce(flags: argparse.Namespace) -> int:
    """Say what the prepared comparison of a data set costs, make it, and write the report and what can be sent back.

    Returns:
        The exit status, as of :func:`bss.cli.compare.compare`.
    """
    if flags.jobs < 1:
        raise RecipeError(f"--jobs must be at least 1, got {flags.jobs}")
    devices, claims = devices_of(flags.device), claims_of(flags.task)
    check_source(tasks.load(flags.task), flags.task, sample=flags.sample, root=flags.data_root)
    comparison = prepared(
        flags.task,
        seeds=seeds_of(flags.seeds),
        data_root=data_root(flags),
        out=flags.out,
        folds=flags.folds,
        settings=flags.set,
        sample=flags.sample,
        workers=flags.workers or 0,
    )
    _check_out(comparison, claims)
    for line in partly_reaching(find(comparison.arms), flags.set, comparison.base()):
        print(line)
    comparison, data = with_data(comparison, flags)
    source = ("--sample",) if flags.sample else ("--data-root", str(comparison.data_root))
    plan = planned(comparison, data, Asked(contrasts=claims.contrasts), source)
    updates = comparison.updates(len(data.train))
    print(size_line(comparison, f"{updates} updates", devices))
    print("\n".join(said(plan)))
    notes = remarks(comparison, flags.set)
    if flags.set:
        print(notes[-1])
    for line in _cost(comparison, data, devices, flags.jobs):
        print(line)
    if flags.dry_run:
        print(f"dry run: nothing was trained or written{', but for the generated data' * flags.sample}")
        return 0
    ended = carry_out(comparison, plan, flags, devices, notes=notes, tables=lambda results: tables_of(claims, results))
    if ended.found is not None:
        files = contribute(plan, [*ended.found.runs, *ended.found.failed], flags.out)
        print(f"to send back (docs/reproduce.md): {', '.join(map(str, files))}")
    return ended.status


def _check_out(comparison: Comparison, claims: Claims) -> None:
    """Refuse a folder that holds another comparison: its plan would be set aside, and its runs stand beside these.

    Raises:
        RunFolderError: names the plan that is there.
    """
    there = read(comparison.out)
    if there is None:
        return
    path, analysis = comparison.out / PLAN_FILE, there.analysis
    if set(analysis.arms) != set(comparison.arms) or set(analysis.contrasts) != set(claims.contrasts):
        raise RunFolderError(
            f"{path} is of another comparison, of {len(analysis.arms)} arms ({', '.join(analysis.arms[:3])}, ...) and "
            f"{len(analysis.contrasts)} contrasts: pass another --out"
        )


def _cost(comparison: Comparison, data: Splits, devices: Sequence[str], jobs: int) -> Iterator[str]:
    """Lines on what is still to be done, timed on the first device."""
    arms, finished = find(comparison.arms), check_finished(comparison)
    done = Counter(arm for arm, *_ in finished)
    left = {arm: count - done[arm] for arm, count in Counter(arm for arm, *_ in comparison.plan()).items()}
    if data.cache is not None and any(left.values()) and not data.cache.open():
        needed = sum(part.expected_size() for part in data.cache.parts.values())
        yield (
            "cost: the data's files are not decoded yet, so each timed batch decodes its own; the first run decodes "
            f"all of them once, about {size(needed)} in {data.cache.folder}"
        )
    costs = costs_of(comparison, arms, data, left, device=devices[0], jobs=jobs)
    yield from reckoning(costs, jobs=jobs, devices=devices)
    if costs:
        place = next(
            folder for folder in (comparison.out.absolute(), *comparison.out.absolute().parents) if folder.exists()
        )
        yield f"disk: {size(shutil.disk_usage(place).free)} are free at {place}"
