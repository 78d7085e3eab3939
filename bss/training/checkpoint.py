"""What two parts of one run must have in common, and what is said where they differ."""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from bss.data.splits import Splits
from bss.methods import Method
from bss.recipes.fields import flatten
from bss.recipes.recipe import FREE_FIELDS, Recipe
from bss.samplers import OrderSampler
from bss.training.run_folder import RunFolder, read_checkpoint
from bss.utils.errors import RunFolderError

MAY_CHANGE = FREE_FIELDS | {"epochs", "compile"}
"""Recipe fields in which a run may differ from its first part; nothing that was computed so far depends on them.

``compile`` is one, as a device is: what follows differs by rounding. ``precision`` is another arithmetic,
``channels_last`` a layout that the optimiser's state is saved in, and ``updates`` has cut the last epoch short.
"""


def identity_of(data: Splits, sampler: OrderSampler, method: Method, recipe: Recipe) -> dict[str, Any]:
    """What the two parts of a continued run must have in common, flat."""
    listed = hashlib.sha256("\0".join(data.names).encode() + data.labels_N.numpy().tobytes()).hexdigest()
    fixed = {name: value for name, value in flatten(recipe).items() if name not in MAY_CHANGE}
    parts = {"training samples": len(data.train), "validation samples": len(data.val or ())}
    kinds = {"sampler": type(sampler).__name__, "method": type(method).__name__}
    kinds |= {f"method.{name}": value for name, value in method.settings().items()}
    return {**kinds, **parts, "training list (hash)": listed[:12], **fixed}


def refuse_difference(path: Path, what: str, saved: dict[str, Any], own: dict[str, Any]) -> None:
    """Refuse to go on from a run whose identity is not one's own.

    Raises:
        RunFolderError: naming the first four differences.
    """
    names = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
    if names:
        shown = "; ".join(f"{name}: {saved.get(name)} there, {own.get(name)} here" for name in names[:4])
        more = f"; and {len(names) - 4} more" if len(names) > 4 else ""
        raise RunFolderError(
            f"{path} holds {what} that differs from this one ({shown}{more}).\n"
            "Repeat its own command, or pass another --out, or --set overwrite=true"
        )


def finished_summary(folder: RunFolder, identity: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The summary of the finished run in the folder.

    Raises:
        RunFolderError: it is another run than the one that is asked for, or damaged.
    """
    with contextlib.closing(folder):
        saved = read_checkpoint(folder.path / "last.pt")
        there = {**saved["identity"], "epochs": saved["recipe"]["epochs"]}
        refuse_difference(folder.path, "a finished run", there, {**identity, "epochs": recipe.epochs})
        return folder.summary()
