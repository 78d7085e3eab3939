"""What ``python -m bss compare`` does with its flags."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bss import tasks
from bss.cli.launch import check_source, sample_root
from bss.cli.recipe_file import read
from bss.cli.report import check_metric, checked_root, made_folder, write_report
from bss.compare.arms import find, partly_reaching
from bss.compare.comparison import Comparison, check_arms, picked_folds, seeds_of
from bss.compare.dry_run import dry_run
from bss.compare.page import Source
from bss.compare.plan import Plan, write
from bss.compare.planning import Asked, Missing, planned, said
from bss.compare.runner import check_data, check_finished, devices_of, run_all
from bss.compare.runs import Found, ended_not_finite, find_folders, read_runs
from bss.compare.tables import Results, Table
from bss.compare.tuning import (
    Trials,
    Tuning,
    begun,
    check_sound,
    choice_lines,
    chosen,
    grid_of,
    left,
    trials_of,
    tuning_lines,
    unfinished,
    whole,
    write_tuning,
)
from bss.data.splits import Splits
from bss.training.build import check_memory
from bss.utils.errors import RecipeError, first_line, shown
from bss.utils.interrupts import STATUS, Interrupts
from bss.utils.listed import entries
from bss.utils.processes import enough_workers


def compare(flags: argparse.Namespace) -> int:
    """Write down what is planned, train what is not trained yet, and write the report.

    Returns:
        The exit status: 0; 1 if runs failed (the report is of the others); 130 if Ctrl-C stopped it, 75 if SIGTERM did.
    """
    check_metric(flags.metric)
    if flags.jobs < 1:
        raise RecipeError(f"--jobs must be at least 1, got {flags.jobs}")
    devices, controls = devices_of(flags.device), entries("--control", flags.control)
    comparison, data = _planned(flags, controls)
    asked = Asked(tuple(controls), metric=flags.metric, margin=flags.margin, looks=flags.looks)
    source = ("--sample",) if flags.sample else ("--data-root", str(comparison.data_root))
    plan = planned(comparison, data, asked, source)
    trials = _trials(comparison, data, flags)
    tuning = None if trials is None else whole(trials)
    if trials is not None and tuning is None and not flags.dry_run:
        tuning, status = _tuned(trials, flags, devices)
        if tuning is None:
            return status
    if tuning is not None:
        for line in choice_lines(tuning, comparison):
            print(line)
        comparison = replace(comparison, chosen=tuning.chosen)
        plan = planned(comparison, data, asked, source)
    updates = comparison.updates(len(data.train))
    budget = f"{comparison.base().epochs} epochs" if updates is None else f"{updates} updates"
    print(size_line(comparison, budget, devices))
    print("\n".join(said(plan)))
    runs = comparison.plan()
    if len(runs) < len(plan.runs):
        print(f"plan: it has {len(plan.runs)} runs, and this command makes {len(runs)} of them")
    if flags.dry_run:
        before = [] if trials is None else [arm for arm, _ in unfinished(trials)]
        print("\n".join(dry_run(comparison, data, jobs=flags.jobs, devices=devices, before=before)))
        return 0
    return carry_out(comparison, plan, flags, devices, tunings=[tuning] if tuning else []).status


def size_line(comparison: Comparison, budget: str, devices: Sequence[str]) -> str:
    """A line on how many runs a comparison has, for the screen.

    Args:
        comparison: the comparison.
        budget: how long each trains, in words.
        devices: what the runs are dealt to.
    """
    folds = f" x {len(comparison.pairs) // len(comparison.seeds)} folds" if comparison.folds is not None else ""
    return f"{len(comparison.arms)} arms x {len(comparison.seeds)} seeds{folds}, {budget} each, on {', '.join(devices)}"


class Ended(NamedTuple):
    """How a comparison ended that was carried out.

    Attributes:
        status: the exit status, as of :func:`compare`.
        found: the runs that the report is of; None = there is no report.
    """

    status: int
    found: Found | None = None


def carry_out(
    comparison: Comparison,
    plan: Plan,
    flags: argparse.Namespace,
    devices: list[str],
    *,
    notes: Sequence[str] = (),
    tunings: Sequence[Tuning] = (),
    tables: Callable[[Results], Sequence[Table]] = lambda results: (),
) -> Ended:
    """Write the plan, train what is not trained yet, and write the report.

    Args:
        comparison: what is trained.
        plan: what it is judged by.
        flags: those of the command that are about the running and the report.
        devices: what the runs are dealt to.
        notes: sentences for the report, beside those on failed runs.
        tunings: what was chosen for the arms before.
        tables: made of the results, for the report, before its own.
    """
    runs = comparison.plan()
    made_folder(flags.out)
    check_finished(comparison)
    if (kept := write(plan, flags.out)) is not None:
        print(f"plan: another one was there, and is kept as {kept}")
    failed, stopped = _trained(comparison, flags, devices)
    if stopped is not None:
        return Ended(stopped)
    if len(failed) == len(runs):
        reason = failed[runs[0]]
        print(f"no report was written: all {len(runs)} runs failed, the first with: {reason}", file=sys.stderr)
        return Ended(1)
    if failed:
        listed = ", ".join(f"{arm} seed {seed}" for arm, seed in failed)
        print(f"{len(failed)} of {len(runs)} runs failed (why: above, and in table.md): {listed}", file=sys.stderr)
    # A run whose numbers are not finite is an outcome, and is read; what the machine lost is to be repeated.
    lost = {each: reason for each, reason in failed.items() if not ended_not_finite(comparison.folder(*each))}
    left_out = [f"Failed and left out: {arm} seed {seed}: {reason}" for (arm, seed), reason in lost.items()]
    by_folder = {comparison.folder(*each): each for each in runs if each not in lost}
    found = read_runs(by_folder)
    lost |= {by_folder[path]: reason for path, reason in found.left_out}
    commands = {(run.arm, run.pair): run.command for run in plan.runs}
    gone = [Missing(*each, first_line(reason), commands[each]) for each, reason in lost.items()]
    shown_from = Source(comparison.data_root, comparison.task if comparison.task.endswith(".py") else None)
    write_report(
        found,
        flags,
        shown_from,
        order=comparison.arms,
        notes=(*notes, *left_out),
        plan=plan,
        gone=gone,
        tunings=tunings,
        before=tables,
    )
    known = {comparison.folder(*each).resolve() for each in runs}
    others = [path for path in find_folders([flags.out]) if path.resolve() not in known and (path / "done").exists()]
    if others:
        print(
            f"the report is of the runs of this command; {flags.out} holds {len(others)} more, and\n"
            f"python -m bss report {flags.out} --out {flags.out} makes one of all of them"
        )
    return Ended(1 if failed or found.left_out else 0, found)


def _trained(
    comparison: Comparison, flags: argparse.Namespace, devices: list[str]
) -> tuple[dict[tuple[str, Any], str], int | None]:
    """Train what is not finished; why runs failed, and the exit status where all was stopped before its end."""
    with Interrupts() as interrupts:
        outcomes = run_all(comparison, jobs=flags.jobs, devices=devices, interrupts=interrupts)
    failed = {(outcome.arm, outcome.seed): outcome.failure for outcome in outcomes if outcome.failure}
    unfinished = [each for each in comparison.plan() if not (comparison.folder(*each) / "done").exists()]
    if len(unfinished) <= len(failed):
        return failed, None
    remaining = len(unfinished) - len(failed)
    print(f"stopped with {remaining} runs to go; the same command goes on from there", file=sys.stderr)
    return failed, STATUS[signal.Signals(interrupts.noted or signal.SIGINT)]


def _trials(comparison: Comparison, data: Splits, flags: argparse.Namespace) -> Trials | None:
    """The runs of ``--tune``, checked as far as they can be before anything is trained; None where nothing is tuned."""
    if not flags.tune:
        return None
    trials = trials_of(comparison, grid_of(comparison, flags.tune, flags.set))
    check_sound(trials, data, comparison.recipe(find(comparison.arms)[0], comparison.pairs[0], None))
    trials = left(trials)
    print("\n".join(tuning_lines(trials)))
    return trials


def _tuned(trials: Trials, flags: argparse.Namespace, devices: list[str]) -> tuple[Tuning | None, int]:
    """Train what a tuning has left, and let each arm choose; without a tuning the exit status says why."""
    made_folder(flags.out)
    check_finished(trials)
    tuning = begun(trials)
    write_tuning(tuning, flags.out)
    failed, stopped = _trained(trials, flags, devices)
    if stopped is not None:
        return None, stopped
    lost = [f"{arm} seed {seed}" for arm, seed in failed if not ended_not_finite(trials.folder(arm, seed))]
    if lost:
        print(
            f"{len(lost)} of {len(trials.plan())} tuning runs failed, so that nothing is chosen; the same command "
            f"repeats them: {', '.join(lost)}",
            file=sys.stderr,
        )
        return None, 1
    tuning = chosen(tuning, trials)
    write_tuning(tuning, flags.out)
    return tuning, 0


def _planned(flags: argparse.Namespace, controls: Sequence[str]) -> tuple[Comparison, Splits]:
    """What the flags ask for, checked as far as it can be before anything is trained, and the data of its first seed.

    A line is printed for every setting that reaches some of the arms only.
    """
    task = tasks.load(flags.task)
    check_source(task, flags.task, sample=flags.sample, root=flags.data_root)
    comparison = Comparison(
        task=flags.task,
        arms=entries("--arms", flags.arms),
        seeds=seeds_of(flags.seeds),
        budget=flags.updates,
        assignments=tuple(flags.set),
        data_root=data_root(flags),
        out=flags.out,
        workers=flags.workers or 0,
        epochs=flags.epochs,
        sample=flags.sample,
        code=tasks.task_file(flags.task),
        folds=flags.folds,
        tested=picked_folds(flags.fold, flags.folds),
    )
    if flags.recipe is not None:
        comparison = _with_recipe_file(comparison, flags.recipe)
    arms = find(comparison.arms)
    for name in controls:
        if name not in comparison.arms:
            raise RecipeError(f"the control {shown(name)} is none of --arms {','.join(comparison.arms)}")
    check_arms(comparison, None)
    for line in partly_reaching(arms, comparison.assignments, comparison.base()):
        print(line)
    return with_data(comparison, flags)


def with_data(comparison: Comparison, flags: argparse.Namespace) -> tuple[Comparison, Splits]:
    """The comparison with its number of loader processes, and the data of its first seed, both checked.

    Raises:
        BssError: data that are not there or cannot be read; arms that the task does not admit; too few samples;
            finished runs that were trained on others.
    """
    check_arms(comparison, None)
    task = tasks.load(comparison.task)
    if comparison.sample:
        task.write_sample(comparison.data_root)
    first = comparison.recipe(find(comparison.arms)[0], comparison.pairs[0], None)
    check_memory(first, torch.device(devices_of(flags.device)[0]))
    data = task.build_data(first, comparison.data_root)
    if flags.workers is None:
        comparison = replace(comparison, workers=enough_workers(data.train) // flags.jobs)
    updates = comparison.updates(len(data.train))
    if updates == 0:
        raise RecipeError(f"{len(data.train)} training samples do not fill one batch of {first.batch_size}")
    check_arms(comparison, updates)
    check_data(comparison, data)
    return comparison, data


def _with_recipe_file(comparison: Comparison, path: Path) -> Comparison:
    """The comparison with the fields of ``--recipe``; ``--epochs``, ``--folds`` and ``--set`` are stronger."""
    file = read(path, comparison.task)
    given = file.for_comparison(replace(comparison, assignments=(), epochs=None).base())
    if comparison.epochs is not None:
        given = [each for each in given if not each.startswith("epochs=")]
    if comparison.folds is not None:
        given = [each for each in given if not each.startswith(("fold=", "folds="))]
    made = replace(comparison, assignments=(*given, *comparison.assignments))
    if comparison.epochs is not None:
        file.check_epochs(made.base())
    return made


def data_root(flags: argparse.Namespace) -> Path:
    """The data set's folder: the one that a flag names, or that of the generated data.

    Raises:
        RecipeError: it is no folder.
    """
    if flags.sample:
        return sample_root(flags.task, flags.out)
    return checked_root(flags.data_root)
