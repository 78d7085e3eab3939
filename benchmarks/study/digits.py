"""Study task: spoken and written digits, ten classes, a strong and a weak modality that swap roles with the split.

Data card
    3,000 pairs of a spoken digit (Free Spoken Digit Dataset, 8 kHz, six speakers, CC BY-SA 4.0) and a written digit of
    the same class (MNIST's test set), paired at random as in AV-MNIST. ``images="pca25"``: pictures rebuilt from their
    first three principal components (24 % of the variance), for clean ones saturate at 95 %. ``split="speaker"``: four
    speakers train (2,000), two are tested (1,000). ``split="in-domain"``: takes 0 to 4 of every speaker are tested
    (300). Validation is a share of the training list, so its speakers are those of the training.

Needs ``avdigits.npz`` under the data root; README.md in this folder says what is in it.
"""

import functools
import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bss.data import Splits, drawn_test, pairs_of_groups, read_arrays, standardized, tensor_splits, training_rows
from bss.models import ConcatFusion, LateFusion
from bss.models.encoders import Norm, normalization, resnet18
from bss.recipes import CurriculumSchedule, ResampledRecipe, SelfPacedSchedule, setting
from bss.utils.errors import DataError, RecipeError
from bss.utils.seeding import mixed_seed, seeded

TITLE = "Spoken and written digits"
CLASSES = tuple("0123456789")
ADVICE = "benchmarks/study/README.md says what avdigits.npz holds; pass its folder as --data-root"
CHANNELS = (16, 32, 64)
SPEAKER_PAIRS = 15
"""Every two of the six speakers."""

LOG_FLOOR = 1e-6
"""Added to mel powers before the logarithm; the quietest frames of a recording lie around it."""


@dataclass(frozen=True, kw_only=True)
class DigitsRecipe(ResampledRecipe):
    """A recipe with the numbers of the digits and their encoders."""

    split: Literal["speaker", "in-domain"] = setting(
        "speaker",
        '"speaker": other speakers are tested than trained (audio is the weak modality for the test); '
        '"in-domain": the same speakers (audio is the strong one).',
    )
    folds: int = setting(
        SPEAKER_PAIRS,
        f"how many folds there are: by speaker {SPEAKER_PAIRS}, one for every two of the six speakers; in-domain any "
        "number.",
    )
    images: Literal["pca25", "clean"] = setting(
        "pca25", 'three principal components of the pictures ("pca25"), or the pictures ("clean").'
    )
    seconds: float = setting(1.0, "length of the audio window; shorter clips are repeated, longer ones cut.")
    n_fft: int = setting(512, "STFT window in samples.")
    hop_length: int = setting(400, "STFT hop in samples.")
    mels: int = setting(32, "mel bands.")
    norm: Norm = setting(
        "batch",
        'after every convolution of "small": "batch" normalisation, "group" (8 groups; no running '
        'statistics), or "none".',
    )
    encoder: Literal["small", "resnet18"] = setting(
        "small", 'of both modalities: three "small" convolutions, or "resnet18" of full width, for a GPU.'
    )
    stretch: int = setting(112, "pixels, height and width that ResNet-18's inputs are stretched to.")

    def __post_init__(self):
        super().__post_init__()
        for name in ("seconds", "n_fft", "hop_length", "mels", "stretch"):
            if not getattr(self, name) > 0:
                raise RecipeError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.fold is not None and self.split == "speaker" and self.folds != SPEAKER_PAIRS:
            raise RecipeError(
                f"folds={self.folds}, and six speakers make {SPEAKER_PAIRS} folds, one for every two of them: "
                f"folds={SPEAKER_PAIRS}, or split=in-domain for any number"
            )


CL = DigitsRecipe(
    epochs=12,
    batch_size=64,
    lr=1e-3,
    optimizer="adam",
    weight_decay=0.0,
    channels_last=True,
    seed=0,
    schedule=CurriculumSchedule(start=0.1, grow_epochs=4),
)

SPL = replace(CL, schedule=SelfPacedSchedule(floor=1e-2))


def build_data(recipe: DigitsRecipe, root: Path) -> Splits:
    """Spectrograms (1, mels, frames) and pictures (1, 28, 28), standardised on the training part.

    Raises:
        DataError, DataNotFoundError: no ``avdigits.npz``, or another one; more samples or folds than there can be.
    """
    names = (f"image{'_pca25' * (recipe.images == 'pca25')}", "label", "name", "split", "indomain_test")
    arrays = read_arrays(root / "avdigits.npz", names, title=TITLE, advice=ADVICE)
    labels_N = torch.from_numpy(arrays["label"].astype(np.int64))
    labels = labels_N.tolist()
    if not recipe.resamples:
        test = np.flatnonzero(arrays["split"] == "test" if recipe.split == "speaker" else arrays["indomain_test"])
    elif recipe.split == "speaker":
        test = speaker_pair(root, recipe.fold, recipe.seed)
    else:
        count = int(arrays["indomain_test"].sum())
        test = drawn_test(labels, fold=recipe.fold, folds=recipe.folds, count=count, seed=recipe.seed, classes=CLASSES)
    train, val = training_rows(
        labels,
        np.setdiff1d(np.arange(len(labels)), test).tolist(),
        val_fraction=recipe.val_fraction,
        samples=recipe.train_samples,
        seed=recipe.seed,
        classes=CLASSES,
    )
    audio = log_mel(root, recipe.seconds, recipe.n_fft, recipe.hop_length, recipe.mels)
    image = torch.from_numpy(arrays[names[0]]).unsqueeze(1)
    return tensor_splits(
        {
            "audio": standardized(audio, train, by_column=False),
            "image": standardized(image, train, by_column=False),
        },
        labels_N,
        train=train,
        val=val,
        test=np.asarray(test).tolist(),
        names=arrays["name"].tolist(),
        classes=CLASSES,
    )


def speaker_pair(root: Path, fold: int | None, seed: int) -> list[int]:
    """The pairs of two speakers: those of a fold or, without a fold, those that a seed draws.

    Raises:
        DataError: not six speakers, or no array that names them.
    """
    speakers = read_arrays(root / "avdigits.npz", ("speaker",), title=TITLE, advice=ADVICE)["speaker"].tolist()
    parts = pairs_of_groups(speakers)
    if len(parts) != SPEAKER_PAIRS:
        raise DataError(f"{root / 'avdigits.npz'}: {len(set(speakers))} speakers, expected six.\n{ADVICE}")
    return parts[mixed_seed("test part", seed) % len(parts) if fold is None else fold]


@functools.lru_cache(maxsize=2)
def log_mel(root: Path, seconds: float, n_fft: int, hop_length: int, mels: int) -> Tensor:
    """Log-mel spectrograms of all clips, (N, 1, mels, frames) float32, made once per process.

    A clip is repeated to fill the window, as CREMA-D's recipe does.
    """
    from torchaudio.transforms import MelSpectrogram

    arrays = read_arrays(root / "avdigits.npz", ("audio", "offsets", "rate"), title=TITLE, advice=ADVICE)
    rate, offsets = int(arrays["rate"]), arrays["offsets"]
    clips = (arrays["audio"][start:end] for start, end in itertools.pairwise(offsets))
    window = round(seconds * rate)
    waveforms = torch.from_numpy(np.stack([np.resize(clip, window) for clip in clips]))
    mel = MelSpectrogram(rate, n_fft=n_fft, hop_length=hop_length, n_mels=mels)
    parts = [(mel(part.float() / 2**15) + LOG_FLOOR).log() for part in waveforms.split(256)]
    return torch.cat(parts).unsqueeze(1)


def build_model(recipe: DigitsRecipe, root: Path) -> LateFusion:
    """Two encoders with linear heads: 49,630 parameters with small ones and BatchNorm, 22,360,990 with ResNet-18."""
    with seeded("build", recipe.seed):
        encoders = {name: _encoder(recipe) for name in ("audio", "image")}
        dims = dict.fromkeys(encoders, 512 if recipe.encoder == "resnet18" else CHANNELS[-1])
        return LateFusion(encoders, ConcatFusion(dims, len(CLASSES)), len(CLASSES), feature_dims=dims)


def _encoder(recipe: DigitsRecipe) -> nn.Sequential:
    """(B, 1, H, W) -> (B, 64), with three 3x3 convolutions of stride 2 in 23,520 parameters; or (B, 512)."""
    if recipe.encoder == "resnet18":
        stretch = nn.Upsample((recipe.stretch, recipe.stretch), mode="bilinear", align_corners=False)
        return nn.Sequential(OrderedDict(stretch=stretch, resnet=resnet18(in_channels=1)))
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise((1, *CHANNELS)):
        layers.append(nn.Conv2d(inner, outer, kernel_size=3, stride=2, padding=1))
        layers += [normalization(recipe.norm, outer, spatial=True), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
