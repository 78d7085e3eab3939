"""What ``python -m bss evaluate`` does with its flags."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bss import tasks
from bss.cli.disturbed import Disturbances, with_lines
from bss.cli.flags import expanded
from bss.cli.launch import device_of
from bss.compare import evaluation_files as files
from bss.compare.evaluation import (
    FIRST,
    Ensembles,
    Evaluated,
    Evaluation,
    check_names,
    check_together,
    evaluated,
    labels_of,
    pairs_of,
)
from bss.compare.robustness import Curve, line_of, notes_of
from bss.compare.runs import find_folders
from bss.data.parts import Part
from bss.recipes.fields import override
from bss.training.load import SavedRun, read_saved
from bss.training.predictions import predict_part
from bss.training.screen import say
from bss.utils import distributed
from bss.utils.errors import DataNotFoundError, RecipeError
from bss.utils.processes import enough_workers, preload

MAY_SET = ("batch_size", "missing", "precision", "channels_last")
"""Recipe fields that say how a trained network is measured; all others are what it was trained with."""


FEW_GROUPS = 10
"""An interval over fewer groups than this is said to be a guess."""


def evaluate(flags: argparse.Namespace) -> int:
    """Measure trained networks on a part of their data set, and write what came out.

    Returns:
        The exit status, 0.
    """
    device = device_of(flags.device)
    with distributed.process_group(device):
        _evaluate(flags, device)
    return 0


def _evaluate(flags: argparse.Namespace, device: Any) -> None:
    disturbances = Disturbances.of(flags)
    folders = find_folders(expanded(flags.runs))
    asked = _asked(flags, folders)
    files.check_free(flags.out, asked)
    runs = [_light(read_saved(folder, checkpoint=flags.checkpoint, task=flags.task), flags) for folder in folders]
    roots = [_root(run, flags) for run in runs]
    check_together(runs, [run.classes(root) for run, root in zip(runs, roots, strict=True)])
    preload(Path(str(runs[0].config.get("task"))).stem)
    measured: list[Evaluated] = []
    parts: list[Part] = []
    ensembles = Ensembles()
    curves: list[Curve] = []
    for folder, root, (arm, label) in zip(folders, roots, labels_of(runs), strict=True):
        saved = _with_set(read_saved(folder, checkpoint=flags.checkpoint, task=flags.task), flags)
        part = saved.part(root, flags.split, listed=flags.list)
        check_names(part)
        disturbances.check(saved, part)
        whose = "--data-root" if flags.data_root is not None else "where the run says that it was trained"
        say(f"{label}: the weights of {_weights(saved)}; {part.title}, {len(part):,} samples of {root} ({whose})")
        loaded = saved.loaded(root)
        workers = enough_workers(part.samples) if flags.workers is None else flags.workers
        predictions = predict_part(loaded, part, device=device, workers=workers, progress=label)
        found = disturbances.curves(
            saved, loaded, part, predictions, root=root, label=label, device=device, workers=workers
        )
        if not distributed.is_main():
            continue
        run = evaluated(
            saved, loaded, part, predictions, arm=arm, label=label, device=device, resamples=flags.resamples
        )
        ensembles.add(run, part, predictions)
        measured.append(run)
        parts.append(part)
        say(_numbers(run))
        for curve in found:
            say(line_of(curve))
        curves += found
    if not distributed.is_main():
        return
    curves = with_lines(curves, measured)
    evaluation = Evaluation(
        part=parts[0],
        runs=measured,
        ensembles=ensembles.evaluated(resamples=flags.resamples),
        pairs=pairs_of(measured),
        notes=[*_notes(measured, parts), *disturbances.notes(measured), *notes_of(curves)],
        curves=curves,
    )
    for ensemble in evaluation.ensembles:
        say(f"{ensemble.label}\n{_numbers(ensemble)}")
    sizes = {run.label: run.names for run in measured}
    for pair in evaluation.pairs:
        say(
            f"right in one alone: {pair.first} {pair.only_first:,}, {pair.second} {pair.only_second:,} of "
            f"{len(sizes[pair.first]):,} samples; McNemar p = {pair.p:.3g}, after Holm {pair.p_holm:.3g}"
        )
    for note in evaluation.notes:
        say(note)
    files.write(evaluation, flags.out, asked, _about(flags, runs, roots))
    say(", ".join(str(flags.out / name) for name in files.FILES))


def _asked(flags: argparse.Namespace, folders: Sequence[Path]) -> dict[str, Any]:
    """What is to be evaluated, in plain values: an evaluation of the same may be replaced."""
    return {
        "runs": [str(folder.resolve()) for folder in folders],
        "checkpoint": flags.checkpoint,
        "split": flags.split if flags.list is None else None,
        "list": None if flags.list is None else str(flags.list.resolve()),
        "data_root": None if flags.data_root is None else str(flags.data_root.resolve()),
        "set": list(flags.set),
        "drop": list(flags.drop),
        "noise": list(flags.noise),
        "fill": flags.fill if flags.drop else None,
        "corruption_seeds": flags.corruption_seeds if flags.drop or flags.noise else None,
    }


def _about(flags: argparse.Namespace, runs: Sequence[SavedRun], roots: Sequence[Path]) -> dict[str, Any]:
    """What else files say of the evaluation."""
    known = sorted({str(root.resolve()) for root in roots})
    return {
        "task_title": tasks.title(runs[0].task, runs[0].recipe),
        "data_root": known[0] if len(known) == 1 else known,
        "list": None if flags.list is None else str(flags.list.resolve()),
    }


def _light(saved: SavedRun, flags: argparse.Namespace) -> SavedRun:
    """A run without its weights: all runs are looked at before the first is measured."""
    return replace(_with_set(saved, flags), weights={})


def _with_set(saved: SavedRun, flags: argparse.Namespace) -> SavedRun:
    """The run as the assignments would have it measured.

    Raises:
        RecipeError: an assignment to a field that a trained network has as it is.
    """
    made = override(saved.recipe, flags.set)
    for assignment in flags.set:
        name = assignment.partition("=")[0].strip()
        if name not in MAY_SET:
            raise RecipeError(
                f"--set {name}= is no field by which a trained network is measured; these are: {', '.join(MAY_SET)}"
            )
    return replace(saved, recipe=made)


def _root(saved: SavedRun, flags: argparse.Namespace) -> Path:
    if flags.data_root is not None and not flags.data_root.is_dir():
        raise RecipeError(f"--data-root {flags.data_root} is not a folder")
    root = saved.root(flags.data_root)
    if root is None:
        there = saved.config.get("data_root")
        known = f"the data root of {saved.path} ({there}) is not there" if there else f"{saved.path} names no data root"
        raise DataNotFoundError(f"{known}: pass --data-root DIR, the data set's folder")
    return root


def _weights(saved: SavedRun) -> str:
    epoch = f"epoch {saved.epoch + 1}"
    if saved.checkpoint == "last":
        return f"{epoch}, its newest"
    if saved.file.name == "last.pt" or saved.config.get("chosen_on") == "last":  # of a run, or of an exported one
        return f"{epoch}, its last (there is no validation part)"
    return f"{epoch}, which validation chose"


def _numbers(run: Evaluated) -> str:
    """The measures of every head as a table; the adaptive form of the calibration error is in the files alone."""
    shown = [name for name in files.TITLES if name != "adaptive_ece"]
    rows = [["", *(files.TITLES[name] for name in shown)]]
    for head, of_head in run.heads.items():
        rows.append([head, *(files.measure_text(name, of_head.measured[name]) for name in shown)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(f"  {line}" for line in padded)


def _notes(runs: Sequence[Evaluated], parts: Sequence[Part]) -> Iterator[str]:
    """What else a reader of the numbers must know."""
    part, first = parts[0], runs[0]
    for told in dict.fromkeys(run.own.told for run in runs if run.own is not None):
        who = [run.label for run in runs if run.own is not None and run.own.told == told]
        yield f"{', '.join(who)}: {told}." if len(runs) > 1 else f"{told[0].upper()}{told[1:]}."
    others = [run.label for run in runs if run.finished and run.own is None]
    if part.title == "test" and others:
        yield f"Not the test set of the run, so that its summary says nothing of these numbers: {', '.join(others)}."
    if first.occurring < len(first.classes):
        held = set(first.truth_N.tolist())
        without = [name for place, name in enumerate(first.classes) if place not in held]
        named, averaged = ", ".join(without[:5]) + (" ..." if len(without) > 5 else ""), first.heads[FIRST].averaged
        yield (
            f"{first.occurring} of {len(first.classes)} classes have a sample (none: {named}): mAP averages over "
            f"these, and macro F1 of the prediction over the {averaged} that occur among labels or predictions."
        )
    if part.dropped:
        yield f"Left out for want of usable files: {len(part.dropped)} samples, the first is {part.dropped[0]}."
    if part.blank:
        kept = f"{len(part.blank)} sample{'s' * (len(part.blank) != 1)}"
        yield f"With a neutral picture in place of their own: {kept}, the first is {part.blank[0]}."
    if part.groups is not None and len(set(part.groups)) < FEW_GROUPS:
        count = len(set(part.groups))
        groups = f"{count} group{'s' * (count != 1)} ({part.grouped_by})"
        yield f"The samples are of {groups}: over so few, an interval is a guess."
    for run in runs:
        if run.trained_on:
            yield f"{run.trained_on:,} of the {len(run.names):,} names are in the training list of {run.label}."
        corrupted = [name for name in ("corrupt_pairs", "corrupt_labels") if (run.recipe or {}).get(name)]
        if corrupted and part.title != "test":
            yield f"{run.label} was trained with {' and '.join(corrupted)}; here pairs and labels are as they were."
    if not all(run.same_samples(first) for run in runs):
        yield "Runs that met different samples are compared by no test, and add up to no ensemble."
