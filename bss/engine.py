"""A run from start to end: ``fit`` trains, chooses the epoch, measures the test set and leaves a run folder.

It knows no data set and no sampler: it is handed the splits, the network and the sampler's class, and reads every
number from the recipe. The loops themselves are in :mod:`bss.loops`.
"""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from bss.data import IndexedDataset, SeededViews, Splits
from bss.errors import DataError, RunFolderError, TrainingError
from bss.loops import ProgressBar, evaluate, random_state_kept, score_dataset, train_one_epoch
from bss.metrics import Metrics, rank_correlation
from bss.recipe import Recipe, describe
from bss.runlog import RunFolder
from bss.samplers import OrderSampler
from bss.scores import NEVER, ScoreTable
from bss.seeding import generator, mixed_seed


@dataclass(frozen=True)
class Run:
    """Where and on what a run happens; nothing in it changes a result on the same kind of device.

    Attributes:
        out: the run folder.
        data_root: the data set's folder.
        device: where the network lives.
        workers: processes that load data; 0 = in this one.
    """

    out: Path
    data_root: Path
    device: torch.device
    workers: int = 0


def fit(model: nn.Module, data: Splits, sampler_class: type[OrderSampler], recipe: Recipe, run: Run) -> dict[str, Any]:
    """Train, choose the epoch, measure the test set, and leave everything in the run folder.

    Args:
        model: maps a batch to :class:`bss.models.Logits`.
        data: the splits; labels are class ids.
        sampler_class: one of :mod:`bss.samplers`, built from ``recipe.schedule``.
        recipe: every number.
        run: folder, device and workers.

    Returns:
        The content of ``summary.json``: ``{"test": {"chosen": metrics, "last": metrics}, "chosen_epoch": int}``, and
        with ``val_fraction=0`` also ``"oracle"``: the best TEST epoch, which is no honest result.

    Raises:
        DataError: too few samples or classes to train on, or a file that cannot be read.
        RunFolderError: the folder holds a run already.
        TrainingError: the loss is not finite any more.
    """
    _check_size(data, recipe)
    honest = data.val is not None
    watched, watched_name = (data.val, "val") if honest else (data.test, "test")
    table = _table(data, recipe)
    sampler = _sampler(sampler_class, data, table, recipe)
    folder = RunFolder(run.out, overwrite=recipe.overwrite)
    folder.write_config(_config(data, sampler_class, recipe, run))
    _say(f"{describe(recipe)}\n{_sizes(data)}\n{_plan(sampler, recipe)}\nrun folder: {folder.path}")

    model, table = model.to(run.device), table.to(run.device)
    optimizer = _optimizer(model, recipe)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, recipe.lr_step, recipe.lr_gamma)
    train_loader = _train_loader(data, sampler, recipe, run)
    score_loader = _score_loader(data, recipe, run)
    watched_loader = _loader(watched, recipe, run)
    _check_readable({"validation": data.val, "test": data.test}, recipe, run)

    schedule = recipe.schedule
    online = schedule.rescore == "online"
    best: dict[str, Any] | None = None
    order_log = _OrderLog()
    with _closing(folder, data):
        for epoch in range(recipe.epochs):
            began = time.perf_counter()
            with _epoch_randomness(recipe.seed, epoch, run.device):
                due = sampler.uses_scores and schedule.needs_pass(epoch)
                if due:
                    score_loader.sampler.epoch = epoch
                    label = f"scoring before epoch {epoch + 1}"
                    batches = schedule.calibration_batches
                    score_dataset(
                        model, score_loader, table, mode=schedule.mode, calibration_batches=batches, progress=label
                    )
                    if table.is_empty:
                        raise TrainingError(
                            f"no training sample has a finite score before epoch {epoch + 1}: the network diverged, "
                            f"lower the learning rate (--set lr={recipe.lr / 10:g})"
                        )
                sampler.set_epoch(epoch)
                order = order_log.describe(sampler, table, folder, rescored=due or online)
                trained = train_one_epoch(
                    model,
                    train_loader,
                    optimizer,
                    fused_weight=recipe.fused_weight,
                    unimodal_weight=recipe.unimodal_weight,
                    table=table if online else None,
                    progress=f"epoch {epoch + 1}/{recipe.epochs}",
                )
            table.synchronize()
            if not math.isfinite(trained.loss):
                raise TrainingError(
                    f"the training loss of epoch {epoch + 1} is {trained.loss}: lower the learning rate "
                    f"(--set lr={recipe.lr / 10:g}); the epochs before it are in {folder.path}"
                )
            measured = evaluate(model, watched_loader, prediction=recipe.prediction)
            row = {
                "epoch": epoch,
                "samples": trained.samples,
                "steps": trained.steps,
                "train_loss": trained.loss,
                "lr": scheduler.get_last_lr()[0],
                "seconds": round(time.perf_counter() - began, 3),
                watched_name: measured,
                "order": order,
            }
            scheduler.step()
            state = {"epoch": epoch, "model": model.state_dict(), watched_name: measured}
            if best is None or measured["accuracy"]["all"] > best[watched_name]["accuracy"]["all"]:
                best = row
                folder.save_checkpoint("best.pt", {**state, "chosen_on": watched_name})
            resumable = {"optimizer": optimizer, "scheduler": scheduler, "table": table}
            state |= {name: part.state_dict() for name, part in resumable.items()}
            folder.save_checkpoint("last.pt", {**state, "recipe": asdict(recipe)})
            folder.append_metrics(row)
            _say(_epoch_line(row, recipe, measured, watched_name))
        if online:  # what the last epoch left in the table
            folder.append_scores(recipe.epochs, table, table.difficulty(normalize=schedule.normalize))

    test_loader = _loader(data.test, recipe, run, once=True) if honest else watched_loader
    summary = _final_test(model, test_loader, best, row, folder, recipe, honest=honest)
    folder.finish(summary)
    _say(_closing_lines(summary))
    return summary


# ---- what a run is made of -----------------------------------------------------------------------------------------


class _Keys(Sampler):
    """Turns indices into the (epoch, index) keys of :class:`bss.data.SeededViews`, in the order of a sampler."""

    def __init__(self, sampler: OrderSampler):
        self.sampler = sampler

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.sampler.epoch, index) for index in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


class _FixedKeys(Sampler):
    """The same order in every scoring pass, as (epoch, index) keys; ``epoch`` is set from outside."""

    def __init__(self, order: list[int]):
        self.order = order
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, index) for index in self.order)

    def __len__(self) -> int:
        return len(self.order)


def _loader(dataset: Dataset, recipe: Recipe, run: Run, *, once: bool = False, **options: Any) -> DataLoader:
    """A loader with the run's settings; ``once`` lets its workers end after the first pass."""
    return DataLoader(
        dataset,
        batch_size=recipe.batch_size,
        num_workers=run.workers,
        persistent_workers=run.workers > 0 and not once,
        pin_memory=run.device.type == "cuda",
        worker_init_fn=_leave_interrupts_to_the_parent,
        # Without a generator of its own a loader draws its base seed from the global one.
        generator=torch.Generator().manual_seed(mixed_seed("loader", recipe.seed)),
        **options,
    )


def _leave_interrupts_to_the_parent(_: int) -> None:
    """Ctrl-C reaches the whole process group; a worker that dies of it would hide the interruption behind an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _train_loader(data: Splits, sampler: OrderSampler, recipe: Recipe, run: Run) -> DataLoader:
    views = SeededViews(IndexedDataset(data.train), recipe.seed)
    # With tail="draw" the sampler itself leaves out what does not fill a batch.
    return _loader(views, recipe, run, sampler=_Keys(sampler), drop_last=recipe.tail == "last")


def _table(data: Splits, recipe: Recipe) -> ScoreTable:
    return ScoreTable(
        len(data.train),
        momentum=recipe.schedule.history,
        fused_weight=recipe.fused_weight,
        unimodal_weight=recipe.unimodal_weight,
        space=recipe.schedule.space,
    )


def _sampler(sampler_class: type[OrderSampler], data: Splits, table: ScoreTable, recipe: Recipe) -> OrderSampler:
    scores = {"table": table} if sampler_class.uses_scores else {}
    return sampler_class(
        len(data.train),
        seed=recipe.seed,
        min_size=recipe.batch_size,
        drop_last=recipe.tail == "draw",
        batch_size=recipe.batch_size,
        **scores,
        **recipe.schedule.sampler_options(data.labels_N),
    )


def _score_loader(data: Splits, recipe: Recipe, run: Run) -> DataLoader:
    """A pass sees the samples in one fixed order: shuffled where BatchNorm's batches matter, else that of the list.

    The list is often sorted by class or actor, which would make a batch's statistics those of one class.
    """
    order = list(range(len(data.score)))
    if recipe.schedule.mode in ("calibrated", "batch"):
        order = torch.randperm(len(order), generator=generator("scoring", recipe.seed)).tolist()
    view = data.train if recipe.schedule.view == "train" else data.score
    # Streams of their own: the scoring pass must not look at the very crops that the epoch trains on.
    views = SeededViews(IndexedDataset(view), recipe.seed, purpose="scoring view")
    return _loader(views, recipe, run, sampler=_FixedKeys(order), once=recipe.schedule.rescore == "once")


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def _check_size(data: Splits, recipe: Recipe) -> None:
    if len(data.train) < recipe.batch_size:
        raise DataError(
            f"{len(data.train)} training samples do not fill one batch of {recipe.batch_size}: "
            f"pass --batch-size {max(len(data.train), 1)} or less"
        )
    present = [data.classes[label] for label in data.labels_N.unique().tolist()]
    if len(present) < 2:
        raise DataError(f"the training samples all have the class {present[0]}: two classes or more are needed")
    if len(data.test) == 0:
        raise DataError("the test list has no samples")


def _check_readable(splits: dict[str, Dataset | None], recipe: Recipe, run: Run) -> None:
    """Read what is measured once before training: a broken file would otherwise show after an epoch, or after the last.

    The training files are read by the first scoring pass or by the first epoch.
    """
    for name, dataset in splits.items():
        if dataset is not None:
            with ProgressBar(_loader(dataset, recipe, run, once=True), f"checking the {name} files") as bar:
                for _ in bar:
                    pass


class _OrderLog:
    """Compares each epoch's order and difficulty with the last ones, and keeps the scores behind them."""

    def __init__(self):
        self.position: Tensor | None = None
        self.difficulty: Tensor | None = None
        self.scored_epoch = 0

    def describe(
        self, sampler: OrderSampler, table: ScoreTable, folder: RunFolder, *, rescored: bool
    ) -> dict[str, Any]:
        """What ``metrics.jsonl`` says of the order; all correlations are Spearman's, None where undefined.

        ``order_to_last``: positions of the samples that both this and the last epoch see. ``difficulty_to_last``:
        difficulty of all samples, against the last scores. ``order_to_difficulty``: position in this epoch against
        difficulty; positive = balanced samples come earlier. ``age``: mean number of epochs since the scores were made
        (0 = by the newest possible pass or training epoch). ``unscored``: samples without any score.
        """
        order = sampler.global_order()
        position = torch.full((sampler.size,), -1)
        position[order] = torch.arange(len(order))
        row: dict[str, Any] = {"order_to_last": None, "difficulty_to_last": None, "order_to_difficulty": None}
        if self.position is not None:
            both = (position >= 0) & (self.position >= 0)
            row["order_to_last"] = rank_correlation(position[both], self.position[both])
        self.position = position
        if sampler.uses_scores and not table.is_empty:
            difficulty = table.difficulty(normalize=sampler.normalize).cpu()
            row["order_to_difficulty"] = rank_correlation(torch.arange(len(order)), difficulty[order])
            if rescored and self.difficulty is not None:
                row["difficulty_to_last"] = rank_correlation(difficulty, self.difficulty)
            if rescored:
                folder.append_scores(sampler.epoch, table, difficulty)
                self.difficulty, self.scored_epoch = difficulty, sampler.epoch
            has_score = table.age != NEVER
            since = sampler.epoch - self.scored_epoch
            row["age"] = float(table.age[has_score].float().mean()) + since
            row["unscored"] = int((~has_score).sum())
        return row


def _final_test(
    model: nn.Module,
    loader: DataLoader,
    best: dict[str, Any],
    last: dict[str, Any],
    folder: RunFolder,
    recipe: Recipe,
    *,
    honest: bool,
) -> dict[str, Any]:
    """Measure the test set; leaves the model with the chosen epoch's weights."""
    if not honest:
        oracle = {"epoch": best["epoch"], **best["test"]}
        return {
            "test": {"chosen": last["test"], "last": last["test"]},
            "chosen_epoch": last["epoch"],
            "oracle": oracle,
        }
    measured = evaluate(model, loader, prediction=recipe.prediction)
    chosen = measured
    if best["epoch"] != last["epoch"]:
        model.load_state_dict(folder.load_checkpoint("best.pt")["model"])
        chosen = evaluate(model, loader, prediction=recipe.prediction)
    return {"test": {"chosen": chosen, "last": measured}, "chosen_epoch": best["epoch"]}


# ---- small things --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _closing(folder: RunFolder, data: Splits) -> Iterator[None]:
    """Pack the scores at the end of the training, also when an error or Ctrl-C ends it (which comes first then)."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(RunFolderError):
            folder.pack_scores(list(data.names), data.labels_N)
        folder.close()
        raise
    folder.pack_scores(list(data.names), data.labels_N)


@contextlib.contextmanager
def _epoch_randomness(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """What a network draws in an epoch (dropout) is a function of seed and epoch; the global states come back."""
    cudnn = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    with random_state_kept(device):
        torch.default_generator.manual_seed(mixed_seed("network", seed, epoch))
        if device.type == "cuda":
            torch.cuda.manual_seed(mixed_seed("network", seed, epoch))
        cudnn.benchmark, cudnn.deterministic = False, True
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.deterministic = flags


def _say(text: str) -> None:
    tqdm.write(text)


def _sizes(data: Splits) -> str:
    val = f"{len(data.val)} validation, " if data.val is not None else ""
    text = f"{len(data.train)} training, {val}{len(data.test)} test samples, {len(data.classes)} classes"
    dropped = [name for names in data.dropped.values() for name in names]
    if dropped:
        shown = ", ".join(dropped[:3]) + (" ..." if len(dropped) > 3 else "")
        text += f"; clips without files left out: {len(dropped)} ({shown}; all in config.json)"
    return text


def _config(data: Splits, sampler_class: type[OrderSampler], recipe: Recipe, run: Run) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "sampler": sampler_class.__name__,
        "device": str(run.device) if run.device.type == "cpu" else torch.cuda.get_device_name(run.device),
        "workers": run.workers,
        "data_root": str(run.data_root),
        "samples": {"train": len(data.train), "val": len(data.val or ()), "test": len(data.test)},
        "dropped": data.dropped,
    }


def _plan(sampler: OrderSampler, recipe: Recipe) -> str:
    """How many samples the epochs will see; shows at once whether a pacing is in effect."""
    sizes = [sampler.size_at(epoch) for epoch in range(recipe.epochs)]
    partial = [epoch for epoch, size in enumerate(sizes) if size < sampler.size]
    if not partial:
        plan = f"all {sampler.size} samples in every epoch"
    else:
        plan = f"{sizes[partial[0]]} of {sampler.size} samples in epoch {partial[0] + 1}"
        if partial[-1] + 1 < recipe.epochs:
            plan += f", all from epoch {partial[-1] + 2} on"
        elif len(partial) > 1:
            plan += f", {sizes[-1]} in epoch {recipe.epochs}"
    steps = sampler.total_steps(recipe.epochs, recipe.batch_size, drop_last=recipe.tail == "last")
    return f"{type(sampler).__name__}: {plan}; {steps} steps of {recipe.batch_size} in all"


def _percentages(metrics: Metrics) -> str:
    return "  ".join(f"{head} {100 * value:.1f}" for head, value in metrics["accuracy"].items())


def _epoch_line(row: dict[str, Any], recipe: Recipe, measured: Metrics, name: str) -> str:
    return (
        f"epoch {row['epoch'] + 1}/{recipe.epochs}  {row['samples']} samples  loss {row['train_loss']:.3f}  "
        f"{name} accuracy %: {_percentages(measured)}  ({row['seconds']:.1f} s)"
    )


def _closing_lines(summary: dict[str, Any]) -> str:
    lines = []
    if "oracle" in summary:
        lines.append(
            f"best on test (oracle), epoch {summary['oracle']['epoch'] + 1}: {_percentages(summary['oracle'])}"
        )
    else:
        lines.append(
            f"test accuracy %, epoch {summary['chosen_epoch'] + 1} (chosen on validation): "
            f"{_percentages(summary['test']['chosen'])}"
        )
    lines.append(f"test accuracy %, last epoch: {_percentages(summary['test']['last'])}")
    return "\n".join(lines)
