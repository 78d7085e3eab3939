"""The most balanced and the most imbalanced training samples of an arm, with their pictures, sounds and texts."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bss.compare.runs import FinishedRun
from bss.training.run_folder import read_scores
from bss.utils.errors import BssError

COUNT = 8
"""How many samples are shown at either end."""


HEIGHT = 96
"""Of a picture that is drawn as it is stored, in pixels."""


WINDOW = 512
"""Samples of a sound that a column of its spectrogram is made of."""


COLUMNS = 300
"""Columns of a spectrogram, about: it is drawn with as many pixels."""


CHARACTERS = 280
"""Characters of a text; a post has no more."""


class NotInstalledError(BssError, ImportError):
    """A package that draws a kind of sample is missing: the message says which. The rest of the page does without."""


@dataclass(frozen=True)
class ScoredSample:
    """A training sample with its last scores, averaged over the seeds that train on it.

    Attributes:
        name: in the training list.
        label: class id.
        position: in the training list of the arm's first seed.
        difficulty: in [0, 2], 0 = balanced.
        similarity: how far the modalities agree.
        loss: of the sample.
        seeds: how many seeds train on it.
    """

    name: str
    label: int
    position: int
    difficulty: float
    similarity: float
    loss: float
    seeds: int


def scored_arm(arms: Mapping[str, Sequence[FinishedRun]]) -> tuple[str, int] | None:
    """Find the arm that scored last, the first of equals, and the epoch of its last scores; None without scores.

    Scores of an untrained network, which CL orders by, say little about samples: the later, the better.
    """
    best: tuple[str, int] | None = None
    for arm, members in arms.items():
        epochs = [run.scored.epochs[-1] for run in members if run.scored.epochs]
        if len(epochs) == len(members) and (best is None or min(epochs) > best[1]):
            best = arm, min(epochs)
    return best


def extremes(runs: Sequence[FinishedRun], count: int = COUNT) -> tuple[list[ScoredSample], list[ScoredSample]]:
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
    found = []
    for position, (name, label) in enumerate(zip(tables[0]["name"].tolist(), tables[0]["label"].tolist(), strict=True)):
        if name in collected:
            means = [math.fsum(column) / len(column) for column in zip(*collected[name], strict=True)]
            found.append(ScoredSample(name, label, position, *means, seeds=len(collected[name])))
    ordered = sorted(found, key=lambda sample: sample.difficulty)
    half = min(count, len(ordered) // 2)
    return ordered[:half], ordered[len(ordered) - half :][::-1]


def words(text: str) -> str:
    """A text as the page writes it: cut after :data:`CHARACTERS`."""
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}..."


def picture(pixels: np.ndarray) -> str:
    """A picture as the ``data:`` address of a PNG of :data:`HEIGHT` pixels.

    What has no colours, as a finished spectrogram, is drawn at least as wide as high.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    least = HEIGHT if pixels.ndim == 2 else 1
    width = max(least, min(3 * HEIGHT, round(image.width * HEIGHT / image.height)))
    buffer = io.BytesIO()
    image.resize((width, HEIGHT)).save(buffer, "PNG")
    return _address(buffer)


def spectrogram(waveform_T: np.ndarray, sample_rate: int) -> str:
    """A sound as the ``data:`` address of a PNG: its magnitudes in decibels below the loudest, over seconds and Hz.

    The windows are those that the networks of CREMA-D and Kinetics-Sounds see, 512 samples, as many as the picture is
    wide. Where librosa has not been used before, it compiles for some 15 seconds first.

    Args:
        waveform_T: (T,) floats, T >= 1.
        sample_rate: in Hz.

    Raises:
        NotInstalledError: librosa is not there.
    """
    try:
        import librosa
        import librosa.display
    except ImportError as error:
        raise NotInstalledError(f"librosa draws the spectrograms ({error}; pip install librosa)") from error
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # A sound that is shorter than a window is followed by silence: librosa would warn, and show no more of it.
    waveform_T = np.pad(waveform_T, (0, max(0, WINDOW - len(waveform_T))))
    hop_length = max(WINDOW // 4, len(waveform_T) // COLUMNS)
    magnitude = np.abs(librosa.stft(waveform_T, n_fft=WINDOW, hop_length=hop_length))
    with matplotlib.rc_context({"font.size": 9}):  # 10 pixels on a phone
        figure = Figure(figsize=(2.2, 1.5), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        librosa.display.specshow(
            librosa.amplitude_to_db(magnitude, ref=np.max),
            sr=sample_rate,
            n_fft=WINDOW,
            hop_length=hop_length,
            x_axis="s",
            y_axis="hz",
            cmap="magma",
            ax=axes,
        )
        axes.xaxis.set_major_locator(MaxNLocator(3))  # a phone shows two samples side by side
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("s")
        axes.set_ylabel("Hz")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return _address(buffer)


def _address(png: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
