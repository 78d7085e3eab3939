"""``--drop`` and ``--noise`` of ``python -m bss evaluate``: what is typed becomes what is asked for."""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from bss.compare.evaluation import Evaluated
from bss.compare.robustness import FIRST, Curve, Drops, Noise, Subject, check, curves, with_alone
from bss.data.degradation import Fill
from bss.data.parts import Part
from bss.training.load import LoadedRun, SavedRun
from bss.training.predictions import Predictions, predict_part
from bss.utils.errors import RecipeError, shown


@dataclass(frozen=True)
class Disturbances:
    """What the flags ask for.

    Attributes:
        drops: modalities that go missing.
        noises: modalities that are noisy.
        fill: what stands for what is missing.
        seeds: number of corruption seeds.
    """

    drops: Sequence[Drops]
    noises: Sequence[Noise]
    fill: Fill
    seeds: int

    @classmethod
    def of(cls, flags: argparse.Namespace) -> "Disturbances":
        """Read the flags.

        Raises:
            RecipeError: a form, a share or a number of seeds that is none.
        """
        if flags.corruption_seeds < 1:
            raise RecipeError("--corruption-seeds must be 1 or more")
        return cls(parsed_drops(flags.drop), parsed_noise(flags.noise), cast(Fill, flags.fill), flags.corruption_seeds)

    def check(self, saved: SavedRun, part: Part) -> None:
        """Refuse what cannot be done with these samples, see :func:`bss.compare.robustness.check`."""
        if self.drops or self.noises:
            check(part.samples, self.drops, self.noises, self.fill, size=_size(saved))

    def curves(
        self,
        saved: SavedRun,
        loaded: LoadedRun,
        part: Part,
        predictions: Predictions,
        *,
        root: Path,
        label: str,
        device: torch.device,
        workers: int,
    ) -> list[Curve]:
        """All curves of one run; none of one that was trained on a single modality, whose accuracy is a line.

        Raises:
            RecipeError: see :func:`bss.compare.robustness.curves`.
        """
        if saved.recipe.modality is not None or not (self.drops or self.noises):
            return []
        subject = Subject(
            label=label,
            part=part,
            truth_N=predictions.truth_N,
            clean=predictions.logits,
            prediction=saved.recipe.predicts_by,
            predict=lambda other, doing: (
                predict_part(loaded, other, device=device, workers=workers, progress=doing).logits
            ),
            training=lambda: saved.part(root, "train").samples,
            size=_size(saved),
            workers=workers,
        )
        return curves(subject, self.drops, self.noises, fill=self.fill, seeds=self.seeds)

    def notes(self, runs: Sequence[Evaluated]) -> Iterator[str]:
        """Which runs have no curves, and why."""
        for run in runs if self.drops or self.noises else ():
            modality = (run.recipe or {}).get("modality")
            if modality is not None:
                yield f"{run.label} was trained on {modality} alone: it has no curves, and is a line beside others."


def _size(saved: SavedRun) -> int | None:
    """Height and width that the network resizes pictures to, where the recipe says it."""
    return getattr(saved.recipe, "image_size", None)


def with_lines(found: Sequence[Curve], runs: Sequence[Evaluated]) -> list[Curve]:
    """The curves with the lines of those runs that were trained on a single modality and met the same samples."""
    by_label = {run.label: run for run in runs}
    lined = []
    for curve in found:
        alone: dict[str, list[float]] = {}
        for run in runs:
            modality = (run.recipe or {}).get("modality")
            if modality is not None and run.same_samples(by_label[curve.label]):
                alone.setdefault(modality, []).append(run.heads[FIRST].measured["accuracy"].value)
        lined.append(with_alone(curve, alone))
    return lined


def parsed_drops(texts: Sequence[str]) -> list[Drops]:
    """Read ``audio:0,0.2,0.5,1``; ``audio+visual:0.5`` lets both go missing, each by itself.

    Raises:
        RecipeError: another form, or a share outside [0, 1].
    """
    return [_drops(text) for text in texts]


def _drops(text: str) -> Drops:
    what, _, after = text.partition(":")
    modalities = tuple(name.strip() for name in what.split("+"))
    if not all(modalities) or not after.strip() or len(set(modalities)) < len(modalities):
        raise RecipeError(f"--drop {shown(text)} is not of the form MODALITY:SHARE,SHARE, as audio:0,0.2,0.5,1")
    return Drops(modalities, tuple(sorted({_share(each, text) for each in after.split(",")})))


def _share(word: str, text: str) -> float:
    try:
        share = float(word)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise RecipeError(
            f"--drop {shown(text)}: {word.strip() or 'nothing'} is no share of the samples; give numbers from 0 (none "
            "lacks the modality) to 1 (all do)"
        )
    return share


def parsed_noise(texts: Sequence[str]) -> list[Noise]:
    """Read ``visual:1..5``, ``audio:20,0`` or ``visual.blur:all``; which levels there are, the input's kind says.

    Raises:
        RecipeError: another form.
    """
    return [_noise(text) for text in texts]


def _noise(text: str) -> Noise:
    what, _, after = text.partition(":")
    modality, dot, corruption = (word.strip() for word in what.partition("."))
    levels = tuple(word.strip() for word in after.split(","))
    if not modality or (dot and not corruption) or not all(levels):
        raise RecipeError(
            f"--noise {shown(text)} is not of the form MODALITY:LEVEL,LEVEL or MODALITY.NOISE:LEVEL, as visual:1..5, "
            "visual.blur:3 or audio:20,0"
        )
    return Noise(modality, levels, corruption or None)
