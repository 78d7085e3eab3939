"""A generated CREMA-D: a tone that tells the emotion, and frames whose texture tells less."""

import math
import os
from pathlib import Path

import numpy as np

from bss.data.datasets.cremad import CLASSES, DATA_SET
from bss.data.synthetic import signals
from bss.data.synthetic.signals import ClipSizes
from bss.utils.seeding import mixed_seed

_SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")


_FIRST_ACTOR = 2001  # the real actors are 1001 to 1091


SIZES = ClipSizes(per_class=40, test_per_class=15, image_size=96)
"""The sizes of what ``--sample`` trains on."""


def write_sample(root: str | os.PathLike, sizes: ClipSizes = SIZES, *, seed: int = 0) -> Path:
    """Write a small generated data set in the layout of the real one: loud in the sound, faint in the picture.

    Clips last 0.6 to 1.4 times ``seconds`` and have two frames. Actors are numbered from 2001, so that no clip can be
    taken for a real one, and no actor of the test list is in the training list.

    Args:
        root: folder to make; its parent is made too.
        sizes: how much is generated.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: see :func:`bss.data.synthetic.signals.write_once`.
    """
    return signals.write_once(root, "cremad", sizes, seed, _write_tree)


def _write_tree(root: Path, sizes: ClipSizes, seed: int) -> None:
    (root / "annotations").mkdir()
    (root / "AudioWAV").mkdir()
    actor = _FIRST_ACTOR
    for split, per_class in (("train", sizes.per_class), ("test", sizes.test_per_class)):
        rows = []
        for label, emotion in enumerate(CLASSES):
            for take in range(per_class):
                name = f"{actor + take // len(_SENTENCES)}_{_SENTENCES[take % len(_SENTENCES)]}_{emotion}_XX"
                entropy = (seed, ("train", "test").index(split), label, take)
                rng = np.random.default_rng(mixed_seed("cremad sample", *entropy))
                waveform, frames = _sample_clip(rng, label, sizes)
                wav, folder = root / "AudioWAV" / f"{name}.wav", root / "Image-01-FPS" / name
                signals.write_clip(wav, folder, waveform, sizes.sample_rate, frames)
                rows.append((name, emotion))
        order = np.random.default_rng(mixed_seed("cremad rows", seed)).permutation(len(rows))
        text = "".join(f"{rows[i][0]},{rows[i][1]}\n" for i in order)
        (root / DATA_SET.places[split][0]).write_text(text, encoding="utf-8")
        actor += math.ceil(per_class / len(_SENTENCES))


def _sample_clip(rng: np.random.Generator, label: int, sizes: ClipSizes) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw the waveform and two frames of a clip of one class.

    Classes differ in pitch, in whether it falls, stays or rises, and in tremolo, so that a network that pools
    over the spectrogram can tell them apart; and in the tint and the direction of the stripes.
    """
    waveform = signals.tone(
        rng,
        seconds=sizes.seconds * rng.uniform(0.6, 1.4),
        sample_rate=sizes.sample_rate,
        frequency=300 * 1.5**label,
        sweep=(-1.0, 0.0, 1.0)[label % 3],
        tremolo=(0.0, 8.0)[label // 3],
    )
    look = {"size": sizes.image_size, "angle": 45.0 * (label % 3), "hue": 60.0 * label}
    return waveform, [signals.texture(rng, **look) for _ in range(2)]
