"""A generated Kinetics-Sounds: a tone that tells the class, and frames whose texture tells less."""

import os
from pathlib import Path

import numpy as np

from bss.data.datasets.ks import CLASSES, DATA_SET
from bss.data.synthetic import signals
from bss.data.synthetic.signals import ClipSizes
from bss.utils.seeding import mixed_seed

SIZES = ClipSizes(per_class=10, test_per_class=4, image_size=80)
"""The sizes of what ``--sample`` trains on."""


def write_sample(root: str | os.PathLike, sizes: ClipSizes = SIZES, *, seed: int = 0) -> Path:
    """Write a small generated data set in the layout of the real one: loud in the sound, faint in the picture.

    Clips last 0.7 to 1.3 times ``seconds`` and have four frames. Their ids are longer than YouTube's eleven
    characters, so that no clip can be taken for a real one.

    Args:
        root: folder to make; its parent is made too.
        sizes: how much is generated.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: see :func:`bss.data.synthetic.signals.write_once`.
    """
    return signals.write_once(root, "ks", sizes, seed, _write_tree)


def _write_tree(root: Path, sizes: ClipSizes, seed: int) -> None:
    (root / "annotations").mkdir()
    for split, per_class in (("train", sizes.per_class), ("test", sizes.test_per_class)):
        (root / f"{split}_wav").mkdir()
        rows = []
        for label, title in enumerate(CLASSES):
            for take in range(per_class):
                name = f"{split}{label:02d}take{take:03d}_000000_000010"
                entropy = (seed, ("train", "test").index(split), label, take)
                rng = np.random.default_rng(mixed_seed("ks sample", *entropy))
                waveform, frames = _sample_clip(rng, label, sizes)
                wav = root / f"{split}_wav" / f"{name}.wav"
                folder = root / f"{split}_img" / "Image-01-FPS" / name
                signals.write_clip(wav, folder, waveform, sizes.sample_rate, frames)
                rows.append(f"{name},{title}\n")
        order = np.random.default_rng(mixed_seed("ks rows", seed)).permutation(len(rows))
        text = "youtube_id,label\n" + "".join(rows[i] for i in order)
        (root / DATA_SET.places[split][0]).write_text(text, encoding="utf-8")


def _sample_clip(rng: np.random.Generator, label: int, sizes: ClipSizes) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw the waveform and four frames of a clip of one class.

    Eight pitches times four courses (falling, steady, rising, tremolo) in the sound; the tint and the direction of the
    stripes in the picture.
    """
    course = label // 8
    waveform = signals.tone(
        rng,
        seconds=sizes.seconds * rng.uniform(0.7, 1.3),
        sample_rate=sizes.sample_rate,
        frequency=250 * 1.4 ** (label % 8),
        sweep=(-1.0, 0.0, 1.0, 0.0)[course],
        tremolo=8.0 if course == 3 else 0.0,
    )
    look = {"size": sizes.image_size, "angle": 45.0 * (label % 3), "hue": 360.0 * label / len(CLASSES)}
    return waveform, [signals.texture(rng, **look) for _ in range(4)]
