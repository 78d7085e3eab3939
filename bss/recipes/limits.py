"""The most that a number of a recipe can mean, and what a run needs of memory at the least.

What is beyond has no use and would not be noticed: it fills the memory, takes for ever, or rounds to something else.
The least is looked at by each recipe itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, NamedTuple

from bss.recipes.constants import Constant
from bss.utils.errors import RecipeError, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_TIMES, _WEIGHT = 10**6, 1e6


MOST_EPOCHS = 100_000
"""The plan of a run is made epoch by epoch before it starts, and so many take it a second."""


MOST: dict[str, float] = {
    # how long and how often
    "epochs": MOST_EPOCHS,
    "updates": 10**9,
    "lr_step": 10**9,
    "lr_warmup": 10**9,
    "imbalance_every": 10**9,
    "checkpoint_minutes": 1e6,
    "grow_epochs": 10**9,
    "patience": MOST_EPOCHS,
    "warmup_epochs": MOST_EPOCHS,
    "rescore": 10**9,
    "calibration_batches": _TIMES,
    # the step
    "batch_size": _TIMES,
    "accumulate": _TIMES,
    "clip_norm": _WEIGHT,
    "lr": _WEIGHT,
    "encoder_lr": _WEIGHT,
    "label_smoothing": 1.0,
    "lr_gamma": 1.0,  # again and again: more overflows in the end
    "momentum": 1.0,
    "norm_momentum": 1.0,
    "weight_decay": _WEIGHT,
    "fused_weight": _WEIGHT,
    "unimodal_weight": _WEIGHT,
    # the order; scores lie in [0, 2]
    "power": 1e3,
    "floor": _WEIGHT,
    "temperature": _WEIGHT,
    # sounds, pictures and texts
    "sample_rate": 768_000,  # Hz, the most that sound cards have
    "seconds": 3600.0,
    "n_fft": 2**16,
    "hop_length": 2**20,
    "fps": 1000,
    "num_frames": 10_000,
    "min_frames": _TIMES,
    "frames_train": 10_000,
    "frames_test": 10_000,
    "image_size": 8192,
    "resize": 8192,
    "width": 4096,
    "max_tokens": _TIMES,
    "max_words": _TIMES,
    # the parts
    "fold": 10_000,
    "folds": 10_000,
    "train_samples": 10**9,
}
"""Name of a field, of a recipe or of its schedule -> the most that it may be; others have a limit of their own."""


def check_most(recipe: "DataclassInstance", prefix: str = "") -> None:
    """Refuse a number that is beyond any use.

    Args:
        recipe: or a part of one.
        prefix: of its fields' dotted names.

    Raises:
        RecipeError: names the field and the most that it may be.
    """
    for member in fields(recipe):
        _check_most(f"{prefix}{member.name}", getattr(recipe, member.name), MOST.get(member.name))


def check_most_constants(constants: Mapping[str, Constant], prefix: str) -> None:
    """Refuse a number that is beyond any use among the constants of a method: strengths, shares and counts of epochs.

    Args:
        constants: name -> value.
        prefix: of their dotted names.

    Raises:
        RecipeError: names the constant and the most that it may be.
    """
    for name, value in constants.items():
        _check_most(f"{prefix}{name}", value, 10**9 if isinstance(value, int) else _WEIGHT)


def _check_most(name: str, value: Constant, most: float | None) -> None:
    if most is None or value is None or isinstance(value, bool | str):
        return
    if not value <= most:  # NaN is not either
        raise RecipeError(f"{name} must be at most {_plain(most)}, got {_plain(value)}")


def _plain(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if value < 10**18 else shown(value)


# ---- memory --------------------------------------------------------------------------------------------------------


class Need(NamedTuple):
    """What a run needs of memory at the least.

    Attributes:
        what: the words for it.
        size: in bytes.
        by: fields of the recipe that decide it.
    """

    what: str
    size: float
    by: tuple[str, ...]


def check_room(recipe: "DataclassInstance", needs: Sequence[Need], room: float | None, where: str) -> None:
    """Refuse a recipe that cannot fit into the memory.

    Args:
        recipe: its numbers.
        needs: what it needs at the least.
        room: bytes that there are; None = nobody knows, and nothing is refused.
        where: words for what has them.

    Raises:
        RecipeError: what would be needed, and what there is.
    """
    if room is None or sum(need.size for need in needs) <= room:
        return
    most = max(needs, key=lambda need: need.size)
    numbers = ", ".join(f"{name}={_plain(getattr(recipe, name))}" for name in most.by)
    raise RecipeError(
        f"{numbers}: {most.what} would take {_bytes(most.size)} at the least, and {where} has {_bytes(room)} of memory"
    )


def _bytes(size: float) -> str:
    return f"{size / 1e9:,.3g} GB" if size < 1e15 else f"{size / 1e9:.2g} GB"


_FLOAT = 4  # bytes


_IN_TRAINING = 3  # of every weight there is its gradient, and what the optimiser remembers


def weights_need(count: float) -> Need:
    """Of a network's weights in training.

    Args:
        count: of the weights.
    """
    return Need("the network in training", _IN_TRAINING * _FLOAT * count, ("width",))


def batch_need(what: str, batch_size: int, inputs: float, first: float, by: tuple[str, ...]) -> Need:
    """Of a batch in training: its inputs, and what the first convolution and its BatchNorm make of them.

    Args:
        what: the word for the inputs.
        batch_size: samples.
        inputs: numbers of a sample.
        first: numbers that a convolution makes of it.
        by: fields that decide it, beside the batch size.
    """
    return Need(f"a batch of {what}", _FLOAT * batch_size * (inputs + 2 * first), (*by, "batch_size"))
