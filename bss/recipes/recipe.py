"""Recipes: every number of a run, in one frozen dataclass, printed at the start and saved in the run folder.

A new number becomes a field here (or of a task's own recipe), never a flag. ``--set field=value`` overrides any field
of any recipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args, get_type_hints

from typing_extensions import override

from bss import pacing
from bss.recipes.constants import Constants
from bss.recipes.limits import Need, check_most
from bss.recipes.settings import meaning, path_fields, setting
from bss.utils.choices import (
    Criterion,
    HistoryOf,
    Information,
    LearningRateSchedule,
    Masking,
    Normalize,
    OptimizerName,
    Order,
    Precision,
    Prediction,
    ScoringMode,
    Similarity,
    Space,
    Weighting,
)
from bss.utils.errors import RecipeError
from bss.utils.paths import expanded

Rescore = Literal["once", "pass", "online"] | int


PacingName = Literal["root", "linear", "geometric", "logarithmic", "exponential", "step"]


MethodName = Literal[
    "ogm-ge", "agm", "mmpareto", "mslr", "mla", "reconboost", "modality-dropout", "smv", "data-remixing", "loss-weights"
]
"""Methods that a recipe can name; :data:`bss.methods.BY_NAME` has their classes."""


WITHOUT_SCORES = ("uniform", "random_pacing", "uniform_resampling")
"""Samplers that need no scores, by the names that a schedule gives them."""


FREE_FIELDS = {"overwrite", "checkpoint_minutes", "cache", "tensorboard"}
"""Recipe fields that change no number; they may differ between any two runs."""


RECORDED = {"epochs", "compile"}
"""Recipe fields in which a run may differ from its first part, and says so in ``config.json``."""


MAY_CHANGE = FREE_FIELDS | RECORDED
"""All recipe fields in which a run may differ from its first part; nothing that was computed so far depends on them.

``compile`` is one, as a device is: what follows differs by rounding. ``precision`` is another arithmetic,
``channels_last`` a layout that the optimiser's state is saved in, and ``updates`` has cut the last epoch short.
"""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The settings that every sampler has: how scores are made, how much an epoch sees; uniform order has no others."""

    sampler: Literal["uniform", "uniform_resampling"] = setting(
        "uniform", "which sampler makes the orders, by its name in bss.samplers.BY_NAME."
    )
    pacing: PacingName = setting("root", "shape of the growth, see bss.pacing.")
    start: float = setting(
        0.1, "fraction of the training set that growth starts from; 1.0 = the whole set in every epoch."
    )
    grow_epochs: int = setting(40, "epochs until the whole set is seen.")
    power: float = setting(2.0, "of root pacing; 2 is the method.")
    warmup_epochs: int = setting(
        0,
        "uniform epochs over the whole set before the schedule begins (and before CL's one scoring).",
    )
    order: Order = setting("balanced_first", '"imbalanced_first" reverses it (the anti-curriculum).')
    rescore: Rescore = setting(
        "once",
        '"once": one scoring pass after the warm-up; "pass": one before every epoch; a number k: one every k '
        'epochs; "online": from the logits of the training forward, without any pass.',
    )
    mode: ScoringMode = setting("calibrated", "how a pass runs the network, see bss.score_dataset.")
    calibration_batches: int = setting(8, 'batches that mode "calibrated" takes its BatchNorm statistics from.')
    view: Literal["test", "train"] = setting(
        "test", 'a pass looks at training samples through the "test" or the "train" transform.'
    )
    similarity: Similarity = setting(
        "prediction",
        'of the modalities\' "prediction" (the method) or of their "feature" (needs a pass, and features of '
        "one length), see bss.scoring.criteria.",
    )
    space: Space = setting("probability", 'similarity of "probability" or "logit" vectors.')
    information: Information = setting(
        "loss",
        'the other score: the "loss" (the method), or the length of its "gradient" in the heads (needs a '
        "pass), see bss.scoring.criteria.",
    )
    criterion: Criterion = setting(
        "both",
        'the difficulty is made of "both" scores, of the "similarity" or of the "loss" (or gradient) alone.',
    )
    normalize: Normalize = setting("minmax", '"minmax" or "rank" scaling of both scores.')
    history: float | None = setting(
        0.0,
        "weight of a sample's past score; 0 = newest only, none = cumulative mean, see bss.ScoreTable.",
    )
    history_of: HistoryOf = setting(
        "scores",
        'what the history blends: the "scores" (similarity and loss), or the "balance" that is made of them after '
        "min-max (the paper), see bss.ScoreTable.",
    )
    class_balanced: bool = setting(False, "every epoch and every batch keeps the class mix of the training set.")

    def __post_init__(self) -> None:
        check_most(self, "schedule.")
        samplers = get_args(get_type_hints(type(self))["sampler"])
        _require(self.sampler in samplers, "schedule.sampler", self.sampler, f"one of {', '.join(samplers)}")
        _require(0 < self.start <= 1, "schedule.start", self.start, "a fraction in (0, 1]")
        _require(self.grow_epochs >= 0, "schedule.grow_epochs", self.grow_epochs, ">= 0")
        _require(self.calibration_batches >= 1, "schedule.calibration_batches", self.calibration_batches, ">= 1")
        _require(self.power > 0, "schedule.power", self.power, "> 0")
        _require(self.warmup_epochs >= 0, "schedule.warmup_epochs", self.warmup_epochs, ">= 0")
        _require(
            isinstance(self.rescore, str) or self.rescore >= 1,
            "schedule.rescore",
            self.rescore,
            "1 or more epochs",
        )
        _require(
            self.history is None or 0 <= self.history < 1,
            "schedule.history",
            self.history,
            "in [0, 1), or none",
        )
        if self.rescore == "online" and self.needs_features:
            raise RecipeError(
                "schedule.rescore=online scores the training forward's logits, but schedule.similarity=feature and "
                "schedule.information=gradient need features: set schedule.rescore to pass, once or a number of epochs"
            )

    @property
    def uses_scores(self) -> bool:
        """Whether the sampler orders by scores, so that scoring passes are made."""
        return self.sampler not in WITHOUT_SCORES

    @property
    def needs_features(self) -> bool:
        """Whether the scores are made of more than the logits, see :func:`bss.scoring.criteria.feature_scores`."""
        return self.similarity == "feature" or self.information == "gradient"

    def pace(self, epoch: int) -> float:
        """Fraction of the training set in the given epoch (0-based, counted from the end of the warm-up)."""
        function = getattr(pacing, f"{self.pacing}_pacing")
        options = {"power": self.power} if self.pacing == "root" else {}
        return function(epoch, start=self.start, grow_epochs=self.grow_epochs, **options)

    def needs_pass(self, epoch: int) -> bool:
        """Whether a scoring pass comes before the given epoch (0-based)."""
        scheduled = epoch - self.warmup_epochs
        if scheduled < 0 or self.rescore == "online":
            return False
        if self.rescore == "once":
            return scheduled == 0
        return self.rescore == "pass" or scheduled % self.rescore == 0

    def sampler_options(self) -> dict[str, Any]:
        """The sampler's keyword arguments that are numbers or names; what it takes of the data is not among them."""
        options = {
            "pacing": self.pace,
            "warmup_epochs": self.warmup_epochs,
            "normalize": self.normalize,
            "criterion": self.criterion,
        }
        return options | ({"order": self.order} if self.uses_scores else {})


@dataclass(frozen=True, kw_only=True)
class CurriculumSchedule(Schedule):
    """A schedule that grows: of CL (the heuristic sampler), of its controls, and of the mix."""

    # Each kind of schedule has samplers of its own, and a field names just those for --help and --set.
    sampler: Literal["curriculum", "random_pacing", "class_matched", "mix"] = "curriculum"  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.uses_scores and self.rescore == "online" and self.warmup_epochs == 0:
            raise RecipeError(
                "schedule.rescore=online has no scores for a curriculum's first epoch: "
                "set schedule.warmup_epochs to 1 or more"
            )


@dataclass(frozen=True, kw_only=True)
class SelfPacedSchedule(Schedule):
    """A schedule of weighted draws: of SPL (the learning-based sampler), and of resampling."""

    # As in CurriculumSchedule.
    sampler: Literal["self_paced", "resampling"] = "self_paced"  # type: ignore[assignment]
    start: float = 1.0
    rescore: Rescore = "pass"
    weighting: Weighting = setting(
        "linear",
        'a sample\'s weight is "linear" in its balance (the released code), or the "softmax" of it (the '
        "paper), see bss.scoring.log_weights.",
    )
    floor: float = setting(1e-2, "added to every weight, so that the most imbalanced sample stays drawable.")
    temperature: float = setting(
        1.0,
        "exponent 1/temperature on the weights; 1 is the method, below 1 follows the difficulty more strictly.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.floor >= 0, "schedule.floor", self.floor, ">= 0")
        _require(self.temperature > 0, "schedule.temperature", self.temperature, "> 0")

    @override
    def sampler_options(self) -> dict[str, Any]:
        own = {"weighting": self.weighting, "floor": self.floor, "temperature": self.temperature}
        return {**super().sampler_options(), **own}


KINDS = {
    **dict.fromkeys(("uniform", "uniform_resampling"), Schedule),
    **dict.fromkeys(("curriculum", "random_pacing", "class_matched", "mix"), CurriculumSchedule),
    **dict.fromkeys(("self_paced", "resampling"), SelfPacedSchedule),
}
"""Name of a sampler -> the kind of schedule that it has."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every number of a run. A task's own recipe adds the fields of its data and encoders."""

    epochs: int = field(metadata=meaning("how often the sampler makes an order."))
    batch_size: int = field(metadata=meaning("samples per optimiser step, of all processes together."))
    lr: float = field(metadata=meaning("initial learning rate."))
    schedule: Schedule = field(metadata=meaning("the order."))
    updates: int | None = setting(
        None,
        "optimiser steps after which the run ends, its last epoch cut short, whatever epochs says: samplers "
        "with smaller epochs are then compared at equal cost. None = epochs counts.",
    )
    seed: int = setting(
        42,
        "of the initial weights, the orders, the augmentation, the validation split and the corruption; in [0, 2**32).",
    )
    optimizer: OptimizerName = setting("sgd", '"sgd", "adam" or "adamw".')
    momentum: float = setting(0.9, "of SGD.")
    weight_decay: float = setting(
        1e-4,
        "L2 penalty, added to the gradient (also for Adam, as released); of AdamW the share, times the learning rate, "
        "by which every update shrinks the weights.",
    )
    lr_schedule: LearningRateSchedule = setting(
        "step",
        'how the learning rate changes from one epoch to the next, after lr_warmup: by "step", see lr_step; as a '
        '"cosine" from lr down to nearly 0 in the last epoch (torch\'s CosineAnnealingLR); or "constant". A run with '
        '"cosine" cannot go on with more epochs, for its rates depend on their number.',
    )
    lr_warmup: int = setting(
        0,
        "epochs before lr_schedule begins, in which the learning rate rises in equal steps: of W epochs the first has "
        "lr / (W + 1), and lr itself comes after them (torch's LinearLR). With updates the steps of so many epochs "
        "over all samples, as lr_step has it.",
    )
    lr_step: int = setting(
        70,
        "epochs after which the learning rate is multiplied by lr_gamma, again and again; with updates it "
        "falls at the first epoch that begins after the steps of so many epochs over all samples.",
    )
    lr_gamma: float = setting(0.1, "the factor.")
    freeze: str | None = setting(
        None,
        "modalities whose encoders are not trained, such as audio,text: their weights and BatchNorm's statistics stay "
        "as they are, and they run in eval mode; the heads are trained. None = all are trained.",
    )
    encoder_lr: float | None = setting(
        None,
        "learning rate of the encoders, as lr is that of everything else: both follow lr_schedule. Encoders that are "
        "frozen have none. None = lr.",
    )
    accumulate: int = setting(
        1,
        "parts that every batch is run in, one after another, before the optimiser's one step: a way to fit "
        "batch_size into less memory. batch_size stays the samples of a step, unlike accumulate_grad_batches of "
        "Lightning and gradient_accumulation_steps of Hugging Face, which multiply it. The gradients are those of the "
        "whole batch, but that BatchNorm takes its statistics from each part.",
    )
    clip_norm: float | None = setting(
        None,
        "all gradients together are scaled down to this norm where theirs is larger, before every update "
        "(torch.nn.utils.clip_grad_norm_); none leaves them.",
    )
    fused_weight: float = setting(1.0, "weight of the fused head in the loss.")
    unimodal_weight: float = setting(1.0, "weight of each unimodal head in the loss.")
    label_smoothing: float = setting(
        0.0,
        "share of every label that is spread over all classes in the training loss (torch's CrossEntropyLoss); in "
        "[0, 1). Scores and difficulty keep the plain cross entropy.",
    )
    class_weights: Literal["balanced"] | str | None = setting(
        None,
        'what the training loss of a class\'s samples counts by: "balanced", inversely to how many the training set '
        "has of it, with mean 1 over its samples; or a number for each class in the order of the class ids, such as "
        "1,2.5,1, as they are. A batch's loss stays the mean over its samples, not over their weights. Scores and "
        "difficulty keep the plain cross entropy. None = all count alike.",
    )
    prediction: Prediction = setting(
        "all",
        'what "all" in the metrics sums: the logits of "all" heads, or of the "unimodal" ones; "entropy": those, the '
        'surer ones weighted more; "fused": the fused head\'s alone (for unimodal_weight=0, where the others are not '
        "trained).",
    )
    tail: Literal["draw", "last"] = setting(
        "draw",
        'samples beyond the last whole batch of an epoch are left out; which ones is a random "draw", or '
        'always the "last" of the order (as released, where SPL\'s last are the most imbalanced).',
    )
    modality: str | None = setting(
        None,
        "the modality that trains and predicts by itself, whatever the two weights and prediction say: its encoder "
        "and its head, and nothing else. None = all modalities.",
    )
    val_fraction: float = setting(
        0.1,
        "share of the training list that chooses the epoch (stratified, seeded). 0 measures the test set "
        "after every epoch instead, and reports its best epoch as an oracle.",
    )
    patience: int | None = setting(
        None,
        "epochs without a better accuracy on the validation split after which the run ends early, counted from the "
        "best one so far; a curriculum should have grown before. Not for a comparison, whose arms train for equally "
        "many updates. None = the run never ends early.",
    )
    corrupt_pairs: float = setting(
        0.0,
        "share of the training and of the validation samples that get one modality of another sample, drawn by the "
        "seed; in [0, 1). The test samples stay as they are. To study how a method bears mismatched pairs.",
    )
    corrupt_labels: float = setting(
        0.0,
        "share of the training and of the validation samples that get the label of another class, drawn by the seed; "
        "in [0, 1). The test samples stay as they are. To study how a method bears wrong labels.",
    )
    missing: Literal["error", "drop", "blank"] = setting(
        "error",
        'samples without their files, or with one that cannot be opened, are an "error", are left out and listed '
        '("drop"), or keep their place with a neutral picture and are listed ("blank"; not for sounds and videos).',
    )
    overwrite: bool = setting(False, "replace a run that is already in the run folder.")
    checkpoint_minutes: float | None = setting(
        10.0,
        "what a kill or a power cut may cost: the run is saved when its last save is this old, in the middle of an "
        "epoch too, and when it ends or is stopped; 0 after every step, none after every epoch and nowhere else.",
    )
    sync_batchnorm: bool = setting(
        False,
        "under torchrun, BatchNorm takes its statistics from all processes' parts of a batch (GPUs only).",
    )
    precision: Precision = setting(
        "fp32",
        'of the network\'s forward and backward. "fp32"; "bf16" or "fp16": mixed (autocast), for GPUs with '
        "tensor cores, and with a loss scale that avoids overflows in fp16. Weights, losses and scores are "
        "float32 in any case.",
    )
    channels_last: bool = setting(
        False,
        "keep images and their convolutions' weights in the memory format NHWC; it changes the speed, and "
        "results by rounding.",
    )
    compile: bool = setting(
        False,
        "run training steps through torch.compile; scoring and measuring stay as they are. The first step "
        "takes minutes; results change by rounding.",
    )
    imbalance_every: int = setting(
        1,
        "every so many epochs the modalities' contributions (Shapley values) are measured; 0 = never, and no "
        "linear probes at the end either.",
    )
    imbalance_masking: Masking = setting(
        "mean",
        'what stands for the features of a modality that is masked to measure contributions: their "mean" '
        'over training samples, or "zero".',
    )
    method: MethodName | None = setting(
        None, "what changes the training step beside the order, see bss.methods; none = joint training."
    )
    method_options: Constants = field(
        default_factory=Constants,
        hash=False,  # a dictionary has no hash, and a recipe has the others'
        metadata=meaning(
            "a constant of the method by its own name, as method.alpha=0.3 is one of OGM-GE's; those that are not set "
            "stay as the method has them, see bss.methods."
        ),
    )
    tensorboard: bool = setting(False, "write the metrics of every epoch for TensorBoard too, into the run folder.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "method_options", Constants(self.method_options))  # callers may give any mapping
        for name in path_fields(type(self)):
            if isinstance(path := getattr(self, name), str):
                object.__setattr__(self, name, expanded(path))
        check_most(self)
        methods = get_args(MethodName)
        _require(self.method is None or self.method in methods, "method", self.method, f"none or {', '.join(methods)}")
        minutes = self.checkpoint_minutes
        _require(minutes is None or minutes >= 0, "checkpoint_minutes", minutes, ">= 0, or none")
        _require(self.batch_size >= 2, "batch_size", self.batch_size, ">= 2 (BatchNorm needs two samples)")
        _require(self.updates is None or self.updates >= 1, "updates", self.updates, ">= 1, or none")
        for name in ("epochs", "lr_step", "accumulate"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        _require(self.encoder_lr is None or self.encoder_lr > 0, "encoder_lr", self.encoder_lr, "> 0, or none")
        if self.freeze is not None and (not all(self.frozen) or len(set(self.frozen)) < len(self.frozen)):
            raise RecipeError(
                f"freeze must be names of modalities with commas, each once, or none, got {self.freeze!r}"
            )
        if self.batch_size < 2 * self.accumulate:
            raise RecipeError(
                f"accumulate={self.accumulate} cuts batch_size={self.batch_size} into parts of less than two samples, "
                f"which BatchNorm needs: accumulate may be {self.batch_size // 2} at most"
            )
        _require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "> 0, or none")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "in 0..2**32 - 1")
        for name in ("momentum", "weight_decay", "lr_gamma", "fused_weight", "unimodal_weight"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        _require(self.lr > 0, "lr", self.lr, "> 0")
        _require(self.lr_warmup >= 0, "lr_warmup", self.lr_warmup, ">= 0")
        if self.updates is None and self.lr_warmup >= self.epochs:
            raise RecipeError(
                f"lr_warmup={self.lr_warmup} leaves nothing of epochs={self.epochs}, so the learning rate would never "
                "be lr: lower the one or raise the other"
            )
        _require(self.imbalance_every >= 0, "imbalance_every", self.imbalance_every, ">= 0")
        smoothing = self.label_smoothing
        _require(0 <= smoothing < 1, "label_smoothing", smoothing, "in [0, 1), such as 0.1, or 0 for none")
        if self.class_weights not in (None, "balanced"):
            _check_class_weights(self.class_weights)
        _require(0 <= self.val_fraction < 1, "val_fraction", self.val_fraction, "in [0, 1)")
        _require(self.patience is None or self.patience >= 1, "patience", self.patience, ">= 1, or none")
        if self.patience is not None and self.val_fraction == 0:
            raise RecipeError(
                f"patience={self.patience} goes by a validation split, and val_fraction=0 leaves none; the test set "
                "cannot stand for it: set val_fraction above 0, or patience=none"
            )
        for name in ("corrupt_pairs", "corrupt_labels"):
            share = getattr(self, name)
            _require(0 <= share < 1, name, share, "a share of the samples in [0, 1), such as 0.2, or 0 for none")
        if self.modality is not None and (self.schedule.uses_scores or self.method):
            raise RecipeError(
                f"modality={self.modality} trains one head, and scores and methods compare those of all modalities: "
                f"schedule.sampler must be {' or '.join(WITHOUT_SCORES)}, and method none"
            )
        warmup = self.schedule.warmup_epochs
        if self.updates is None and warmup >= self.epochs:
            raise RecipeError(
                f"schedule.warmup_epochs={warmup} leaves nothing of epochs={self.epochs}, so the schedule would never "
                "begin: lower the one or raise the other"
            )

    @property
    def frozen(self) -> tuple[str, ...]:
        """The modalities of ``freeze``."""
        return () if self.freeze is None else tuple(name.strip() for name in self.freeze.split(","))

    @property
    def predicts_by(self) -> str:
        """Which heads the prediction sums: a value of ``prediction``, or the one modality that is trained."""
        return self.modality or self.prediction

    def from_random_weights(self) -> Self:
        """The recipe of the same network, but for its initial weights: no file of pretrained ones is asked for.

        It is for a network that gets the weights of a run. A recipe with fields that name such files overrides it.
        """
        return self

    def needs(self) -> Sequence[Need]:
        """What a run needs of memory at the least, as far as the numbers tell; a recipe with inputs overrides it."""
        return ()

    def without_cache(self) -> Self:
        """The recipe without a cache of decoded files; one that has such a field overrides it."""
        return self

    @property
    def uses_scores(self) -> bool:
        """Whether the sampler or the method goes by scores."""
        return self.schedule.uses_scores or self.method == "loss-weights"

    def check_heads(self) -> None:
        """Refuse to score by the similarity of predictions that nothing trains.

        Raises:
            RecipeError: the modalities' own heads have no weight in the loss, and the difficulty needs them.
        """
        schedule = self.schedule
        if self.unimodal_weight == 0 and schedule.criterion != "loss" and schedule.similarity == "prediction":
            raise RecipeError(
                "unimodal_weight=0 leaves the modalities' own heads as they were drawn, so that their similarity is "
                "noise: set schedule.criterion=loss, or schedule.similarity=feature"
            )


def written(value: object) -> str:
    """A value as ``--set`` takes it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_class_weights(text: str) -> None:
    try:
        weights = [float(each) for each in text.split(",")]
    except ValueError:
        weights = []
    sound = all(0 <= weight < float("inf") for weight in weights) and any(weights)
    _require(sound, "class_weights", text, "none, balanced, or numbers >= 0 with commas, not all 0, such as 1,2.5,1")


def _require(holds: bool, name: str, value: Any, rule: str) -> None:
    if not holds:
        raise RecipeError(f"{name} must be {rule}, got {written(value)}")
