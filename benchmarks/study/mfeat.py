"""Study task: several views of one handwritten numeral, ten classes; runs in seconds.

Data card
    2,000 numerals from Dutch utility maps, described by six sets of features ("Multiple Features", van Breukelen et
    al. 1998, UCI Machine Learning Repository, CC BY 4.0); 1,500 train, 500 are tested, stratified. Logistic regression
    alone: pix (240 pixel averages) 95.8 %, mor (6 morphological features) 72.4 %, fou (76 Fourier coefficients of the
    shape) 81.0 %, zer (47 Zernike moments) 80.4 %; pix+mor 98.0 %, fou+zer+mor 90.4 %. So ``pix+mor`` is a strong and
    a weak modality, ``fou+zer+mor`` a balanced trio.

Needs ``mfeat.npz`` under the data root; README.md in this folder says what is in it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from bss.data import Splits, drawn_test, read_arrays, standardized, tensor_splits, training_rows
from bss.models import ConcatFusion, LateFusion
from bss.models.encoders import GROUPS, Norm, normalization
from bss.recipes import CurriculumSchedule, ResampledRecipe, SelfPacedSchedule, setting
from bss.utils.errors import RecipeError
from bss.utils.seeding import seeded

TITLE = "Multiple features of a numeral"
CLASSES = tuple("0123456789")
ADVICE = "benchmarks/study/README.md says what mfeat.npz holds; pass its folder as --data-root"
FEATURES = {"pix": 240, "fou": 76, "zer": 47, "mor": 6}
"""View -> number of its features."""


@dataclass(frozen=True, kw_only=True)
class MfeatRecipe(ResampledRecipe):
    """A recipe with the numbers of the views and their encoders."""

    views: Literal["pix+mor", "fou+zer+mor"] = setting("fou+zer+mor", "the modalities.")
    hidden: int = setting(32, "width of both layers of an encoder.")
    norm: Norm = setting(
        "batch",
        'after every linear layer: "batch" normalisation, "group" (8 groups; no running statistics), or "none".',
    )

    def __post_init__(self):
        super().__post_init__()
        if self.hidden < 1 or self.hidden % GROUPS:
            raise RecipeError(f"hidden must be a multiple of {GROUPS}, got {self.hidden}")


CL = MfeatRecipe(
    epochs=12,
    batch_size=64,
    lr=1e-3,
    optimizer="adam",
    weight_decay=0.0,
    seed=0,
    schedule=CurriculumSchedule(start=0.1, grow_epochs=4),
)

SPL = replace(CL, schedule=SelfPacedSchedule(floor=1e-2))


def build_data(recipe: MfeatRecipe, root: Path) -> Splits:
    """The recipe's views, each feature standardised on the training part.

    Raises:
        DataError, DataNotFoundError: no ``mfeat.npz``, or another one; more samples or folds than there can be.
    """
    views = recipe.views.split("+")
    arrays = read_arrays(root / "mfeat.npz", ("y", "train", "test", *views), title=TITLE, advice=ADVICE)
    labels_N = torch.from_numpy(arrays["y"].astype(np.int64))
    labels, train, test = labels_N.tolist(), arrays["train"].tolist(), arrays["test"].tolist()
    if recipe.resamples:
        test = drawn_test(
            labels, fold=recipe.fold, folds=recipe.folds, count=len(test), seed=recipe.seed, classes=CLASSES
        )
        train = sorted(set(range(len(labels))).difference(test))
    train, val = training_rows(
        labels,
        train,
        val_fraction=recipe.val_fraction,
        samples=recipe.train_samples,
        seed=recipe.seed,
        classes=CLASSES,
    )
    return tensor_splits(
        {view: standardized(torch.from_numpy(arrays[view]), train, by_column=True) for view in views},
        labels_N,
        train=train,
        val=val,
        test=test,
        names=[f"numeral-{row:04d}" for row in range(len(labels_N))],
        classes=CLASSES,
    )


def build_model(recipe: MfeatRecipe, root: Path) -> LateFusion:
    """A two-layer perceptron for every view."""
    with seeded("build", recipe.seed):
        dims = {view: recipe.hidden for view in recipe.views.split("+")}
        return LateFusion(
            {view: _encoder(FEATURES[view], recipe.hidden, recipe.norm) for view in dims},
            ConcatFusion(dims, len(CLASSES)),
            len(CLASSES),
            feature_dims=dims,
        )


def _encoder(features: int, hidden: int, norm: Norm) -> nn.Sequential:
    """(B, features) -> (B, hidden)."""
    layers: list[nn.Module] = []
    for inner in (features, hidden):
        layers += [nn.Linear(inner, hidden), normalization(norm, hidden), nn.ReLU()]
    return nn.Sequential(*layers)
