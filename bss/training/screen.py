"""What a run prints: its sizes and plan, a line for every epoch, and the test result."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bss.data.splits import Splits
from bss.recipes.recipe import Recipe
from bss.scoring.heads import Metrics, predicted_by, unimodal_heads
from bss.training.build import Plan
from bss.training.run_folder import EpochRow, Failure, Summary
from bss.utils import distributed
from bss.utils.choices import Prediction


def say(text: str) -> None:
    """Print a text once, above a progress bar, whatever the number of processes."""
    if distributed.is_main():
        tqdm.write(text)


def sizes_line(data: Splits) -> str:
    """How many samples and classes there are, and what was left out."""
    val = f"{len(data.val)} validation, " if data.val is not None else ""
    text = f"{len(data.train)} training, {val}{len(data.test)} test samples, {len(data.classes)} classes"
    dropped = [name for names in data.dropped.values() for name in names]
    if dropped:
        shown = ", ".join(dropped[:3]) + (" ..." if len(dropped) > 3 else "")
        text += f"; left out for want of usable files: {len(dropped)} ({shown}; all in config.json)"
    blank = [name for names in data.blank.values() for name in names]
    if blank:
        shown = ", ".join(blank[:3]) + (" ..." if len(blank) > 3 else "")
        text += f"; with a neutral picture: {len(blank)} ({shown}; all in config.json)"
    if data.corrupted:
        names = {"train": "training", "val": "validation"}
        parts = [
            f"{len(each.pairs)} mismatched pairs and {len(each.labels)} wrong labels in {names[name]}"
            for name, each in data.corrupted.items()
        ]
        text += f"\ncorrupted by the seed: {', '.join(parts)}; none in test"
    return text


def growth_note(recipe: Recipe) -> str:
    """A line on a schedule that grows for longer than the run lasts; empty where the run sees the whole set."""
    schedule = recipe.schedule
    epochs = recipe.epochs - schedule.warmup_epochs
    if recipe.updates is not None or schedule.start == 1 or schedule.grow_epochs <= epochs:
        return ""
    return (
        f"schedule.grow_epochs={schedule.grow_epochs} is more than the {epochs} epochs of the schedule, so this run "
        f"ends with {100 * schedule.pace(epochs - 1):.0f} % of the training set: --set schedule.grow_epochs={epochs} "
        "or less lets it see the whole"
    )


def plan_line(planned: Plan, batch_size: int, updates: int | None, tail: str) -> str:
    """How many samples the epochs will see; shows at once whether a pacing is in effect."""
    sampler, method, epochs = planned.sampler, planned.method, planned.epochs
    sizes = [sampler.size_at(epoch) for epoch in range(epochs)]
    partial = [epoch for epoch, size in enumerate(sizes) if size < sampler.size]
    if not partial:
        plan = f"all {sampler.size} samples in every epoch"
    else:
        plan = f"{sizes[partial[0]]} of {sampler.size} samples in epoch {partial[0] + 1}"
        if partial[-1] + 1 < epochs:
            plan += f", all from epoch {partial[-1] + 2} on"
        elif len(partial) > 1:
            plan += f", {sizes[-1]} in epoch {epochs}"
    steps = updates or sampler.total_steps(epochs, distributed.share_of_batch(batch_size), drop_last=tail == "last")
    rearranged = method.rearranges and not updates
    unless = f", but for what {type(method).__name__} adds or leaves out" if rearranged else ""
    return f"{type(sampler).__name__}: {plan}; {steps} steps of {batch_size} in all{unless}"


def _percentages(metrics: Metrics, prediction: Prediction | str) -> str:
    """The accuracy of every head; what is no sum of all heads is not called ``all``, as it is in the files."""
    accuracy = metrics["accuracy"]
    names = {"all": "all" if prediction == "all" else f"prediction ({predicted_by(prediction, accuracy)})"}
    return "  ".join(f"{names.get(head, head)} {100 * value:.1f}" for head, value in accuracy.items())


def epoch_line(
    row: EpochRow, epochs: int, measured: Metrics, name: str, prediction: Prediction | str, left: float = 0.0
) -> str:
    """What is printed after an epoch: loss, accuracy of every head, how far the modalities' own are apart, and times.

    Args:
        row: of the epoch.
        epochs: of the run.
        measured: on what was measured after it.
        name: of that.
        prediction: which heads it sums.
        left: seconds until the run ends, about.
    """
    own = unimodal_heads(measured["accuracy"]).values()
    gap = f"  gap {100 * (max(own) - min(own)):.1f}" if len(own) > 1 else ""
    rest = f", about {tqdm.format_interval(left)} left" if left else ""
    return (
        f"epoch {row['epoch'] + 1}/{epochs}  {row['samples']} samples  loss {row['train_loss']:.3f}  "
        f"{name} accuracy %: {_percentages(measured, prediction)}{gap}  ({row['seconds']:.1f} s{rest})"
    )


def seconds_left(steps: float, between: float, seen: Sequence[int], done: int) -> float:
    """About how long a run takes from here: its steps and what comes between them cost what they have cost so far.

    Args:
        steps: seconds of the optimiser steps so far.
        between: seconds of all else so far: scoring, measuring, saving.
        seen: by the plan, how many samples have been shown after each epoch.
        done: number of epochs that are over.
    """
    if not 0 < done < len(seen):
        return 0.0
    return steps * (seen[-1] / seen[done - 1] - 1) + between * (len(seen) / done - 1)


def way_on(folder: Path, task: str | None) -> str:
    """What a user may type next: measure the run, or the page of a run whose data set no task knows.

    Args:
        folder: of the run, finished.
        task: its name, or the path of its file; None = it has none.
    """
    command, more = ("report", []) if task is None else ("evaluate", ["--task", task] if task.endswith(".py") else [])
    words = ["python", "-m", "bss", command, str(folder), *more, "--out", f"{folder}-{command}"]
    return f"run folder: {folder}\nnext: {shlex.join(words)}"


def failure_line(failure: Failure, changed: Mapping[str, Sequence[Any]]) -> str:
    """How the part of the run before this one has ended, and what is another number now."""
    line = f"it has ended before ({failure['how']}) after step {failure['step']} of epoch {failure['epoch'] + 1}"
    listed = ", ".join(f"{name} {before} -> {now}" for name, (before, now) in changed.items())
    return f"{line}; {listed or 'nothing is changed, so it may end there again'}"


def closing_lines(summary: Summary, prediction: Prediction | str) -> str:
    """The test result of a run, by its summary."""
    lines = []
    if "stopped_early" in summary:
        last, best = summary["stopped_early"] + 1, summary["chosen_epoch"] + 1
        lines.append(f"stopped early after epoch {last}: validation has not become better since epoch {best}")
    if "oracle" in summary:
        oracle = _percentages(summary["oracle"], prediction)
        lines.append(f"best on test (oracle), epoch {summary['oracle']['epoch'] + 1}: {oracle}")
    else:
        lines.append(
            f"test accuracy %, epoch {summary['chosen_epoch'] + 1} (chosen on validation): "
            f"{_percentages(summary['test']['chosen'], prediction)}"
        )
    lines.append(f"test accuracy %, last epoch: {_percentages(summary['test']['last'], prediction)}")
    return "\n".join(lines)
