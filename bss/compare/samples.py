"""The most balanced and the most imbalanced training samples of an arm, with their pictures, sounds and texts."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bss.compare.runs import FinishedRun
from bss.training.run_folder import read_scores

COUNT = 8
"""Samples at either end."""


HEIGHT = 96
"""Pixels of a picture."""


CHARACTERS = 280
"""Of a text; a post has no more."""


@dataclass(frozen=True)
class Example:
    """A training sample.

    Attributes:
        name: in the training list.
        label: class id.
        position: in the training list of the arm's first seed.
        difficulty: mean over the seeds that train on it, of the last scores; in [0, 2], 0 = balanced.
        similarity: the same of the modalities' agreement.
        loss: the same of the loss.
        seeds: how many those are.
    """

    name: str
    label: int
    position: int
    difficulty: float
    similarity: float
    loss: float
    seeds: int


def scored_arm(arms: Mapping[str, Sequence[FinishedRun]]) -> tuple[str, int] | None:
    """The arm whose scores are of the most trained network, the first of equals, with that epoch; None without scores.

    Scores of an untrained network, which CL orders by, say little about samples.
    """
    best: tuple[str, int] | None = None
    for arm, members in arms.items():
        epochs = [int(scores["epoch"][-1]) for run in members if len((scores := read_scores(run.path))["epoch"])]
        if len(epochs) == len(members) and (best is None or min(epochs) > best[1]):
            best = arm, min(epochs)
    return best


def extremes(runs: Sequence[FinishedRun], count: int = COUNT) -> tuple[list[Example], list[Example]]:
    """The most balanced and the most imbalanced samples of the first run's training list.

    Args:
        runs: of one arm, all with scores.
        count: at either end; fewer where there are fewer samples.

    Returns:
        Ascending and descending in difficulty; ties by the order of the list.
    """
    tables = [read_scores(run.path) for run in runs]
    collected: dict[str, list[tuple[float, float, float]]] = {}
    for table in tables:
        columns = (table[kind][-1].tolist() for kind in ("difficulty", "similarity", "loss"))
        for name, *values in zip(table["name"].tolist(), *columns, strict=True):
            if all(map(math.isfinite, values)):
                collected.setdefault(name, []).append(tuple(values))
    examples = []
    for position, (name, label) in enumerate(zip(tables[0]["name"].tolist(), tables[0]["label"].tolist(), strict=True)):
        if name in collected:
            means = [math.fsum(column) / len(column) for column in zip(*collected[name], strict=True)]
            examples.append(Example(name, label, position, *means, seeds=len(collected[name])))
    ordered = sorted(examples, key=lambda example: example.difficulty)
    half = min(count, len(ordered) // 2)
    return ordered[:half], ordered[len(ordered) - half :][::-1]


def picture(value: Any) -> str | None:
    """What a page can show of a modality, as a ``data:`` address; None of what is no picture and no sound.

    A sound becomes its spectrogram, of several frames the middle one is shown, and the numbers of a tensor are spread
    to the range of the screen, which undoes a normalisation but for the contrast; a hundredth at either end is cut, so
    that a few outliers do not leave all else grey. What has no colours, as a spectrogram, is drawn at least as wide as
    high.

    Args:
        value: of one sample, as a data set returns it.
    """
    pixels = _pixels(value)
    if pixels is None:
        return None
    from PIL import Image

    image = Image.fromarray(pixels)
    least = HEIGHT if pixels.ndim == 2 else 1
    width = max(least, min(3 * HEIGHT, round(image.width * HEIGHT / image.height)))
    buffer = io.BytesIO()
    image.resize((width, HEIGHT)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def words(value: Any) -> str | None:
    """What a page can write of a modality: a text, cut after :data:`CHARACTERS`; None of what is none.

    Args:
        value: of one sample, as a data set returns it.
    """
    from bss.data.transforms.text import Tokens

    if not isinstance(value, Tokens):
        return None
    return value.text if len(value.text) <= CHARACTERS else f"{value.text[:CHARACTERS]}..."


def _pixels(value: Any) -> Any:
    """(H, W) or (H, W, 3) uint8; None where there is no such thing."""
    import numpy as np
    import torch

    from bss.data.transforms.views import Pictures, Sound
    from bss.models.frontends import LogSpectrogram

    if isinstance(value, Pictures):
        view = value.views[len(value.views) // 2]
        return view.pixels_HWC[:, ::-1].copy() if view.flip else view.pixels_HWC.copy()
    if isinstance(value, Sound):
        wave_1T = torch.from_numpy(value.waveform_T.copy()).unsqueeze(0)
        spectrogram = LogSpectrogram(n_fft=512, hop_length=max(128, wave_1T.shape[1] // (3 * HEIGHT)))(wave_1T)
        return _pixels(spectrogram.squeeze())[::-1]  # low sounds below
    if not isinstance(value, torch.Tensor) or value.dim() < 2 or value.is_complex():
        return None
    if value.dim() == 4:  # (C, T, H, W)
        value = value[:, value.shape[1] // 2]
    if value.dim() == 3 and value.shape[0] == 2:  # optical flow
        value = value.float().norm(dim=0)
    value = value.squeeze()
    if value.dim() == 3 and value.shape[0] == 3:
        value = value.permute(1, 2, 0)
    elif value.dim() != 2:
        return None
    array = value.float().cpu().numpy()
    low, high = np.percentile(array, (1, 99))
    if low == high:  # a few strokes on an empty ground
        low, high = array.min(), array.max()
    return (((array - low) / max(high - low, 1e-12)).clip(0, 1) * 255).round().astype(np.uint8)
