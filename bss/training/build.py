"""The one place that reads a recipe: what a run is made of, from its numbers, its data and its network.

What follows (:mod:`bss.training.epochs`, :mod:`bss.training.checkpoint`) is handed these parts and knows no recipe.
"""

import contextlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bss import methods, samplers
from bss.data.corruption import corrupted
from bss.data.splits import Splits
from bss.methods import Method
from bss.methods.constants import checked_constants
from bss.models import precision
from bss.models.compiling import compile_network
from bss.models.late_fusion import has_two_stages
from bss.models.modes import flags_kept, spared
from bss.recipes.constants import PREFIX
from bss.recipes.limits import MOST_EPOCHS, check_room
from bss.recipes.recipe import Recipe, written
from bss.samplers import OrderSampler
from bss.scoring.criteria import feature_scores
from bss.scoring.formulas import head_losses
from bss.scoring.table import ScoreTable
from bss.training.loaders import Loaders
from bss.training.loops import Step
from bss.training.measuring import Measuring
from bss.training.passes import Passes
from bss.training.run import Run
from bss.training.run_folder import Watched
from bss.training.watch import TrainingWatch
from bss.utils import distributed, memory
from bss.utils.choices import LearningRateSchedule, OptimizerName, Similarity
from bss.utils.errors import RecipeError, guess

Groups = Callable[[Sequence[nn.Parameter]], list[list[nn.Parameter]]]
"""The trained parameters in groups with a learning rate each, see :meth:`bss.methods.Method.groups`."""


@dataclass(frozen=True)
class Plan:
    """What is known of a run before its network is touched: enough to tell one run from another.

    Attributes:
        table: the training samples' scores.
        sampler: makes the epochs' orders, one per process.
        method: what changes the training step.
        epochs: how many there will be.
    """

    table: ScoreTable
    sampler: OrderSampler
    method: Method
    epochs: int


@dataclass(frozen=True)
class Parts:
    """What a run is made of. None of it is replaced while the run goes on.

    Attributes:
        plan: table, sampler, method and number of epochs.
        data: the splits.
        model: the network itself.
        step: what is done with a training batch.
        watch: looks at some of them.
        passes: what comes before an epoch.
        measuring: what comes after it.
        loaders: makes the loaders of what is measured once.
        train_loader: the training samples in the sampler's order.
        watched: ``"val"``, or ``"test"`` where there is no validation split: what is measured after every epoch.
        watched_loader: of it.
        needs_pass: whether a scoring pass comes before the given epoch.
        online: the table is filled by the training steps.
        difficulty: of all samples, from the table as it is.
        learning_rate: maps (epoch, updates before it) to the epoch's learning rate.
        rates: by what the learning rate is multiplied for each of the optimiser's groups, in the epoch that begins.
        slower: flags that lower the learning rate, for advice.
        updates: optimiser steps after which the run ends; None = with its epochs.
        patience: epochs without a better one on the validation split after which it ends early; None = never.
        seed: of the run.
        device: where it runs.
        checkpoint_minutes: age at which a save is due in the middle of an epoch; None = only between epochs.
        restore: takes back what was changed of the network for this run.
    """

    plan: Plan
    data: Splits
    model: nn.Module
    step: Step
    watch: TrainingWatch
    passes: Passes
    measuring: Measuring
    loaders: Loaders
    train_loader: DataLoader
    watched: Watched
    watched_loader: DataLoader
    needs_pass: Callable[[int], bool]
    online: bool
    difficulty: Callable[[], torch.Tensor]
    learning_rate: Callable[[int, int], float]
    rates: Callable[[], list[float]]
    slower: str
    updates: int | None
    patience: int | None
    seed: int
    device: torch.device
    checkpoint_minutes: float | None
    restore: tuple[Callable[[], None], ...]


# ---- what tells one run from another -------------------------------------------------------------------------------


def as_trained(data: Splits, recipe: Recipe) -> Splits:
    """The splits that a run of a recipe works on: a task's own, or corrupted as the recipe asks for.

    Raises:
        RecipeError, DataError: see :func:`bss.data.corruption.corrupted`.
    """
    return corrupted(data, pairs=recipe.corrupt_pairs, labels=recipe.corrupt_labels, seed=recipe.seed)


def plan(
    data: Splits, recipe: Recipe, *, sampler: type[OrderSampler] | None = None, method: Method | None = None
) -> Plan:
    """Table, sampler and method of a recipe.

    Args:
        data: the splits.
        recipe: every number.
        sampler: a class of one's own in place of the one that the schedule names.
        method: one of one's own in place of the one that the recipe names.

    Raises:
        RecipeError: numbers that do not go together.
    """
    schedule = recipe.schedule
    check_modality(recipe.modality, data)
    class_weights_of(recipe.class_weights, data.labels_N, data.classes)
    for name in recipe.frozen:
        check_modality(name, data, field="freeze")
    table = ScoreTable(
        len(data.train),
        momentum=schedule.history,
        fused_weight=recipe.fused_weight,
        unimodal_weight=recipe.unimodal_weight,
        space=schedule.space,
        history_of=schedule.history_of,
    )
    kind = _sampler_class(schedule.sampler, sampler)
    # What a sampler takes of the data, each under the condition on which it takes it.
    options = schedule.sampler_options() | {"labels": data.labels_N if schedule.class_balanced else None}
    if kind.uses_scores:
        options["table"] = table
    if schedule.sampler == "class_matched":
        options["class_of"] = data.labels_N
    made = kind(
        len(data.train),
        seed=recipe.seed,
        min_size=recipe.batch_size,
        drop_last=recipe.tail == "draw",
        batch_size=distributed.share_of_batch(recipe.batch_size),
        **options,
    )
    if method is None:
        method = method_of(recipe, len(data.train))
    elif recipe.method_options:
        raise RecipeError(
            f"{_listed(recipe)} is for the method that a recipe names: give it to your own when it is made"
        )
    if method.hides_modalities and schedule.rescore == "online":
        raise RecipeError(
            f"schedule.rescore=online scores the training forward, in which {type(method).__name__} hides modalities: "
            "set schedule.rescore to pass, once or a number of epochs"
        )
    for name in method.named_modalities:
        check_modality(name, data, field=f"a modality of {type(method).__name__}")
    _check_fused(method, recipe)
    _check_parts(method, recipe)
    if recipe.updates is not None and recipe.lr_warmup * (len(data.train) // recipe.batch_size) >= recipe.updates:
        raise RecipeError(
            f"lr_warmup={recipe.lr_warmup} leaves nothing of updates={recipe.updates}: an epoch over all samples has "
            f"{len(data.train) // recipe.batch_size} of them, so lower the one or raise the other"
        )
    if recipe.patience is not None and data.val is None:
        raise RecipeError(f"patience={recipe.patience} goes by a validation split, and there is none: leave it out")
    if method.uses_validation and data.val is None:
        raise RecipeError(
            f"{type(method).__name__} goes by the accuracy on a validation split, and there is none; the test "
            "set cannot stand for it: set val_fraction above 0, or leave the method out"
        )
    if kind.uses_scores or method.uses_scores:
        recipe.check_heads()
    drop_last = recipe.tail == "last"
    return Plan(table, made, method, num_epochs(made, recipe.epochs, recipe.updates, recipe.batch_size, drop_last))


def _sampler_class(name: str, own: type[OrderSampler] | None) -> type[OrderSampler]:
    if own is None:
        return samplers.BY_NAME[name]
    if own in samplers.SAMPLERS:
        known = next(name for name, kind in samplers.BY_NAME.items() if kind is own)
        raise RecipeError(
            f"{own.__name__} is named by the recipe's schedule, and sampler= is for a class of your own: "
            f'schedule.sampler="{known}" (here it is "{name}")'
        )
    return own


def method_of(recipe: Recipe, num_train: int) -> Method:
    """The method that a recipe names, with the recipe's numbers; joint training where it names none.

    A method's warm-up is the released one, at most a quarter of the run's epochs, and the half of a stage an eighth:
    with ``updates`` of those that uniform order has.

    Raises:
        RecipeError: constants that the method does not have or admit, or without a method.
    """
    if recipe.method is None:
        if recipe.method_options:
            raise RecipeError(
                f"{_listed(recipe)} is a constant of a method, and the recipe has none: set method as well"
            )
        return Method()
    kind, epochs = methods.BY_NAME[recipe.method], recipe.epochs
    if recipe.updates is not None:
        epochs = math.ceil(recipe.updates / max(1, num_train // recipe.batch_size))
    offered = {
        "seed": recipe.seed,
        "batch_size": recipe.batch_size,
        "warmup_epochs": min(kind.released_warmup, epochs // 4),
        "stage_epochs": min(kind.released_stage, epochs / 8),
        "normalize": recipe.schedule.normalize,
        "criterion": recipe.schedule.criterion,
    }
    constants = checked_constants(recipe.method, kind, recipe.method_options)
    try:
        return kind(**{name: offered[name] for name in kind.takes}, **constants)
    except ValueError as error:  # a range, of which the constructor speaks by the constant's own name
        spoken = any(str(error).startswith(name) for name in constants)
        raise RecipeError(f"{PREFIX}{error}" if spoken else f"{_listed(recipe)}: {error}") from error


def _listed(recipe: Recipe) -> str:
    """The constants that a recipe sets, as ``--set`` takes them."""
    return ", ".join(f"{PREFIX}{name}={written(value)}" for name, value in recipe.method_options.items())


def check_method(recipe: Recipe) -> None:
    """Refuse what :func:`method_of` would, and :func:`plan` of the method's part in a step, before data are read.

    Raises:
        RecipeError: see there.
    """
    method = method_of(recipe, recipe.batch_size)
    _check_fused(method, recipe)
    _check_parts(method, recipe)


def check_memory(recipe: Recipe, device: torch.device) -> None:
    """Refuse numbers that the memory cannot hold, before data are read.

    Args:
        recipe: every number.
        device: on which a run trains; of several processes this one's.

    Raises:
        RecipeError: what they would take, and what there is.
    """
    if device.type == "cuda":
        room = distributed.world_size() * torch.cuda.get_device_properties(device).total_memory
        check_room(recipe, recipe.needs(), room, str(device))
    else:
        check_room(recipe, recipe.needs(), memory.total(), "this machine")


def _check_fused(method: Method, recipe: Recipe) -> None:
    if not method.trains_fused and (recipe.fused_weight > 0 or recipe.prediction in ("all", "fused")):
        raise RecipeError(
            f"{type(method).__name__} leaves the fused head as it was drawn, but fused_weight is "
            f"{recipe.fused_weight:g} and prediction {recipe.prediction}: set fused_weight=0, and prediction to "
            "unimodal or entropy"
        )


def _check_parts(method: Method, recipe: Recipe) -> None:
    if recipe.accumulate > 1 and method.needs_whole_batches:
        raise RecipeError(
            f"accumulate={recipe.accumulate} runs a batch in parts, and {type(method).__name__} needs all of it at "
            "once: set accumulate=1, with a smaller batch_size or precision=bf16 where memory is short"
        )
    share, world = distributed.share_of_batch(recipe.batch_size), distributed.world_size()
    if share < 2 and not recipe.sync_batchnorm:
        raise RecipeError(
            f"batch_size={recipe.batch_size} leaves each of {world} processes one sample, and BatchNorm needs two: set "
            f"batch_size={2 * world} or more, or sync_batchnorm=true on GPUs"
        )
    if recipe.accumulate > 1 and share < 2 * recipe.accumulate:
        raise RecipeError(
            f"accumulate={recipe.accumulate} cuts the {share} samples that each process has of a batch into parts of "
            f"less than two: accumulate may be {share // 2} at most"
        )


def num_epochs(sampler: OrderSampler, epochs: int, updates: int | None, batch_size: int, drop_last: bool) -> int:
    """How many epochs a run takes: with ``updates`` as many as give so many steps, the last perhaps cut short.

    Raises:
        RecipeError: they are more than a run may have.
    """
    if updates is None:
        return epochs
    share, epochs, steps = distributed.share_of_batch(batch_size), 0, 0
    while steps < updates:
        if epochs == MOST_EPOCHS:
            raise RecipeError(
                f"updates={updates:,} are more than the {MOST_EPOCHS:,} epochs that a run may have: of "
                f"{sampler.size:,} samples they give {steps:,}"
            )
        steps += sampler.steps_at(epochs, share, drop_last=drop_last)
        epochs += 1
    return epochs


# ---- what a run is made of -----------------------------------------------------------------------------------------


def parts(planned: Plan, model: nn.Module, data: Splits, recipe: Recipe, run: Run) -> Parts:
    """Everything that a run needs; moves the network to the run's device.

    Raises:
        RecipeError: the network lacks what the recipe or the method needs.
    """
    schedule, method = recipe.schedule, planned.method
    scores = None
    if schedule.needs_features and (planned.sampler.uses_scores or method.uses_scores):
        _check_features(schedule.similarity, model)
        scores = partial(
            feature_scores,
            similarity=schedule.similarity,
            information=schedule.information,
            space=schedule.space,
            fused_weight=recipe.fused_weight,
            unimodal_weight=recipe.unimodal_weight,
        )
    # Layout and compilation come before the wrapper and the optimiser: both keep references to what they see.
    model = model.to(run.device)
    if recipe.channels_last:
        precision.to_channels_last(model)
    # What is put on the network for this run is taken off at its end: it is the user's, and may be trained again.
    restore = [compile_network(model)] if recipe.compile else []
    if recipe.frozen:
        restore.append(_with_frozen_encoders(model, recipe.frozen))
    if recipe.modality is not None:
        restore.append(_without_gradients(model, recipe.modality))
    if recipe.precision == "bf16" and run.device.type == "cpu" and precision.affected():
        restore.append(precision.guard(model))
    trained = distributed.wrapped(model, run.device, sync_batchnorm=recipe.sync_batchnorm)
    table = planned.table.to(run.device)
    method.begin_run(table, model)
    groups: Groups = method.groups
    rates: Callable[[], list[float]] = method.rates
    if recipe.encoder_lr is not None:
        groups, rates = _apart(method, _encoder_weights(model, "encoder_lr"), recipe.encoder_lr / recipe.lr)
    if recipe.label_smoothing or recipe.class_weights is not None:
        weights_C = class_weights_of(recipe.class_weights, data.labels_N, data.classes)
        method.losses_of = partial(
            head_losses,
            label_smoothing=recipe.label_smoothing,
            class_weights=None if weights_C is None else weights_C.to(run.device),
        )
        restore.append(partial(vars(method).pop, "losses_of", None))
    # Only online scoring looks at the training forward: a pass would otherwise be blended with it.
    online = schedule.rescore == "online"
    watch = TrainingWatch(model)
    step = Step(
        trained,
        optimizer_of(
            model,
            recipe.optimizer,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            groups=groups,
        ),
        fused_weight=recipe.fused_weight,
        unimodal_weight=recipe.unimodal_weight,
        modality=recipe.modality,
        table=table if online else None,
        method=method,
        watch=watch,
        precision=recipe.precision,
        scaler=torch.amp.GradScaler(run.device.type, enabled=recipe.precision == "fp16"),
        accumulate=recipe.accumulate,
        clip_norm=recipe.clip_norm,
    )
    measured = [part for part in (data.val, data.test, data.score) if part is not None]
    loaders = Loaders(run, recipe.batch_size, recipe.seed, measured)
    scoring, calibration = loaders.scoring(
        data.train if schedule.view == "train" else data.score,
        shuffled=schedule.mode in ("calibrated", "batch"),
        calibration_batches=schedule.calibration_batches,
    )
    # Without a validation split the test set is watched, as the released code does; the summary calls it an oracle.
    watched: Watched = "test" if data.val is None else "val"
    return Parts(
        plan=planned,
        data=data,
        model=model,
        step=step,
        watch=watch,
        passes=Passes(
            model,
            table,
            scoring,
            calibration,
            mode=schedule.mode,
            calibration_batches=schedule.calibration_batches,
            scores=scores,
            precision=recipe.precision,
            compiled=recipe.compile,
        ),
        measuring=Measuring(
            model,
            recipe.predicts_by,
            recipe.precision,
            every=recipe.imbalance_every,
            masking=recipe.imbalance_masking,
            compiled=recipe.compile,
        ),
        loaders=loaders,
        # With tail="draw" the sampler itself leaves out what does not fill a batch.
        train_loader=loaders.training(data.train, planned.sampler, method, drop_last=recipe.tail == "last"),
        watched=watched,
        watched_loader=loaders.measuring(data.test if data.val is None else data.val),
        needs_pass=schedule.needs_pass if planned.sampler.uses_scores or method.uses_scores else lambda epoch: False,
        online=online,
        difficulty=partial(table.difficulty, normalize=schedule.normalize, criterion=schedule.criterion),
        learning_rate=learning_rates(
            recipe.lr,
            recipe.lr_gamma,
            recipe.lr_step,
            kind=recipe.lr_schedule,
            warmup=recipe.lr_warmup,
            length=recipe.epochs if recipe.updates is None else recipe.updates,
            steps=None if recipe.updates is None else len(data.train) // recipe.batch_size,
        ),
        rates=rates,
        slower=_slower(recipe),
        updates=recipe.updates,
        patience=recipe.patience,
        seed=recipe.seed,
        device=run.device,
        checkpoint_minutes=recipe.checkpoint_minutes,
        restore=tuple(restore),
    )


def class_weights_of(asked: str | None, labels_N: Tensor, classes: Sequence[str]) -> Tensor | None:
    """What the loss of each class counts by, (C,) float32; None = all count alike.

    Args:
        asked: ``class_weights`` of a recipe.
        labels_N: of the training samples.
        classes: their names, in the order of the class ids.

    Raises:
        RecipeError: other numbers than one for each class.
    """
    if asked is None:
        return None
    if asked == "balanced":
        count_C = labels_N.bincount(minlength=len(classes)).double()
        share_C = len(labels_N) / ((count_C > 0).sum() * count_C)
        return share_C.where(count_C > 0, 0.0).float()  # of a class without samples there is nothing to count
    weights = [float(each) for each in asked.split(",")]
    if len(weights) != len(classes):
        raise RecipeError(
            f"class_weights={asked} has {len(weights)} numbers, and the classes are {len(classes)}: one for each of "
            f"{', '.join(classes[:8])}{' ...' * (len(classes) > 8)}, in this order, or balanced"
        )
    return torch.tensor(weights, device=labels_N.device)


def check_modality(modality: str | None, data: Splits, *, field: str = "modality") -> None:
    """Refuse to train, or to freeze, a modality that the samples do not have.

    Args:
        modality: the recipe's; None = all are trained.
        data: the splits.
        field: of the recipe that names it.

    Raises:
        RecipeError: names those that there are.
    """
    if modality is None:
        return
    there = [name for name in data.train[0] if name != "label"]
    if modality not in there:
        hint = guess(modality, there)
        arm = f" (the arm alone-{modality})" if field == "modality" else ""
        raise RecipeError(f"{field}={modality}{arm} is none of the samples' modalities{hint}: {', '.join(there)}")


def _without_gradients(model: nn.Module, modality: str) -> Callable[[], None]:
    """Spare the backward pass through the other modalities' encoders, whose loss does not count; returns the undoing.

    A network without encoders of its own for every modality trains as it is: its other gradients are zeros.
    """
    if not has_two_stages(model):
        return lambda: None
    encoders = model.encoders
    own = set(encoders[modality].parameters())
    stack = contextlib.ExitStack()
    stack.enter_context(spared({each for encoder in encoders.values() for each in encoder.parameters()} - own))
    return stack.close


def _encoders_of(model: nn.Module, field: str) -> Mapping[str, nn.Module]:
    if not has_two_stages(model):
        raise RecipeError(
            f"{field} is of encoders, and the network is a {type(model).__name__}, without encoders, encode and "
            f"decode: leave {field} out"
        )
    return dict(model.encoders.items())


def _with_frozen_encoders(model: nn.Module, names: Sequence[str]) -> Callable[[], None]:
    """Freeze some modalities' encoders, in eval mode; returns what gives them back as they were.

    Raises:
        RecipeError: the network has no such encoder, or one without weights, or that shares weights with another part.
    """
    encoders, written_so = _encoders_of(model, "freeze"), f"freeze={','.join(names)}"
    for name in names:
        if name not in encoders:
            raise RecipeError(f"{written_so}: the network has no encoder {name}, but {', '.join(encoders)}")
        if next(encoders[name].parameters(), None) is None:
            raise RecipeError(f"{written_so}: the encoder {name} has no weights that could be frozen")
    inside = {module for name in names for module in encoders[name].modules()}
    own = {weight for name in names for weight in encoders[name].parameters()}
    for path, module in model.named_modules():
        if module not in inside and any(weight in own for weight in module.parameters(recurse=False)):
            raise RecipeError(
                f"{written_so}: {path or 'the network'} shares weights with them, and would be frozen too"
            )
    stack = contextlib.ExitStack()
    stack.enter_context(spared(own))
    for name in names:
        stack.enter_context(flags_kept(encoders[name]))
        encoders[name].eval()
    return stack.close


def _encoder_weights(model: nn.Module, field: str) -> set[nn.Parameter]:
    """The encoders' weights that are trained.

    Raises:
        RecipeError: there are none.
    """
    weights = {each for encoder in _encoders_of(model, field).values() for each in encoder.parameters()}
    trained = {each for each in weights if each.requires_grad}
    if not trained:
        raise RecipeError(f"{field} reaches nothing, for no encoder is trained: leave it out, or freeze fewer of them")
    return trained


def _apart(method: Method, weights: Collection[nn.Parameter], rate: float) -> tuple[Groups, Callable[[], list[float]]]:
    """A method's groups, each cut into the other weights and these, and their rates, with one more for these."""

    def groups(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
        return [
            [each for each in group if (each in weights) == inside]
            for group in method.groups(parameters)
            for inside in (False, True)
        ]

    def rates() -> list[float]:
        return [own * factor for own in method.rates() for factor in (1.0, rate)]

    return groups, rates


def _slower(recipe: Recipe) -> str:
    """Flags that lower all learning rates to a tenth."""
    rates = {"lr": recipe.lr, "encoder_lr": recipe.encoder_lr}
    return " ".join(f"--set {name}={rate / 10:g}" for name, rate in rates.items() if rate is not None)


def _check_features(similarity: Similarity, model: nn.Module) -> None:
    """Refuse to score by features that the network does not have.

    Raises:
        RecipeError: the network gives none, or none that can be compared.
    """
    if not has_two_stages(model):
        raise RecipeError(
            "schedule.similarity=feature and schedule.information=gradient need the features of a "
            f"bss.models.LateFusion, and the network is a {type(model).__name__}, without encoders, encode and decode: "
            "use prediction and loss"
        )
    lengths = getattr(model, "feature_dims", {})
    if similarity == "feature" and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise RecipeError(
            f"schedule.similarity=feature compares features of one length, and the encoders give {listed}: "
            "use schedule.similarity=prediction"
        )


def optimizer_of(
    model: nn.Module,
    kind: OptimizerName,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    groups: Groups | None = None,
) -> torch.optim.Optimizer:
    """The optimiser of the parameters that are trained; the momentum is SGD's, and ``groups`` a method's."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    parameters = [{"params": group} for group in ([trained] if groups is None else groups(trained))]
    # Fused: three to six times as fast on a CPU, and on a GPU an overflow in fp16 skips a step without a wait for it.
    if kind != "sgd":
        made = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        return made(parameters, lr=lr, weight_decay=weight_decay, fused=True)
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    if momentum:
        # From zeros the first step is the same. PyTorch's fused SGD starts from memory that its first step fills, and
        # leaves it as it was found where an overflow skips that step.
        for parameter in trained:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def learning_rates(
    lr: float,
    gamma: float,
    every: int,
    *,
    kind: LearningRateSchedule = "step",
    warmup: int = 0,
    length: int = 1,
    steps: int | None,
) -> Callable[[int, int], float]:
    """Maps (0-based epoch, optimiser steps before it) to the epoch's learning rate.

    It is a function of the place alone, so that a stopped run goes on with it. Counted in epochs the values are those
    of torch's LinearLR and, after it, StepLR or CosineAnnealingLR.

    Args:
        lr: without warm-up the initial one.
        gamma: of ``"step"``, the factor by which it falls.
        every: of ``"step"``, epochs from one fall to the next.
        kind: see ``lr_schedule`` of :class:`bss.recipes.Recipe`.
        warmup: epochs before that; of W the epoch e, from 0, has ``lr * (e + 1) / (W + 1)``.
        length: of the run, in epochs or, with ``steps``, in optimiser steps: where ``"cosine"`` would be 0.
        steps: of a uniform epoch: as many count as an epoch, whatever the sampler's have; None = epochs are counted.
    """
    end = length if steps is None else length / steps

    def learning_rate(epoch: int, updates: int) -> float:
        counted = epoch if steps is None else updates // steps
        if counted < warmup:
            return lr * (counted + 1) / (warmup + 1)
        if kind == "constant":
            return lr
        if kind == "cosine":
            return lr * (1 + math.cos(math.pi * (counted - warmup) / (end - warmup))) / 2
        return lr * gamma ** ((counted - warmup) // every)

    return learning_rate
