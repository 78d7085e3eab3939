"""A generated Kinetics-Sounds: a tone that tells the class, and frames whose texture tells less."""

import os
from pathlib import Path

import numpy as np

from bss.data.datasets.ks import CLASSES, SPLITS
from bss.data.synthetic import signals as generate
from bss.data.synthetic.signals import write_clip
from bss.utils.seeding import mixed_seed

# -------------------------------------------------------------------------------------- generated data set


def write_sample(
    root: str | os.PathLike,
    *,
    per_class: int = 10,
    test_per_class: int = 4,
    seconds: float = 1.0,
    sample_rate: int = 16000,
    image_size: int = 80,
    seed: int = 0,
) -> Path:
    """Write a small generated data set in the layout of the real one: loud in the sound, faint in the picture.

    Clips last 0.7 to 1.3 times ``seconds`` and have four frames. Their ids are longer than YouTube's eleven
    characters, so that no clip can be taken for a real one.

    Args:
        root: folder to make; its parent is made too.
        per_class: training clips of each class.
        test_per_class: test clips of each class.
        seconds: mean length of a clip.
        sample_rate: in Hz.
        image_size: height and width of a frame in pixels.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: see :func:`bss.data.synthetic.signals.write_once`.
    """
    parameters = {
        "data set": "ks",
        "version": 1,
        "per_class": per_class,
        "test_per_class": test_per_class,
        "seconds": seconds,
        "sample_rate": sample_rate,
        "image_size": image_size,
        "seed": seed,
    }
    return generate.write_once(root, parameters, lambda building: _write_tree(building, parameters))


def _write_tree(root: Path, parameters: dict) -> None:
    (root / "annotations").mkdir()
    for split, per_class in (("train", parameters["per_class"]), ("test", parameters["test_per_class"])):
        (root / f"{split}_wav").mkdir()
        rows = []
        for label, title in enumerate(CLASSES):
            for take in range(per_class):
                name = f"{split}{label:02d}take{take:03d}_000000_000010"
                entropy = (parameters["seed"], SPLITS.index(split), label, take)
                rng = np.random.default_rng(mixed_seed("ks sample", *entropy))
                waveform, frames = _sample_clip(rng, label, parameters)
                wav = root / f"{split}_wav" / f"{name}.wav"
                folder = root / f"{split}_img" / "Image-01-FPS" / name
                write_clip(wav, folder, waveform, parameters["sample_rate"], frames)
                rows.append(f"{name},{title}\n")
        order = np.random.default_rng(mixed_seed("ks rows", parameters["seed"])).permutation(len(rows))
        text = "youtube_id,label\n" + "".join(rows[i] for i in order)
        (root / "annotations" / f"{split}.csv").write_text(text, encoding="utf-8")


def _sample_clip(rng: np.random.Generator, label: int, parameters: dict) -> tuple[np.ndarray, list[np.ndarray]]:
    """Waveform and four frames of one class.

    Eight pitches times four courses (falling, steady, rising, tremolo) in the sound; the tint and the direction of the
    stripes in the picture.
    """
    course = label // 8
    waveform = generate.tone(
        rng,
        seconds=parameters["seconds"] * rng.uniform(0.7, 1.3),
        sample_rate=parameters["sample_rate"],
        frequency=250 * 1.4 ** (label % 8),
        sweep=(-1.0, 0.0, 1.0, 0.0)[course],
        tremolo=8.0 if course == 3 else 0.0,
    )
    look = {"size": parameters["image_size"], "angle": 45.0 * (label % 3), "hue": 360.0 * label / len(CLASSES)}
    return waveform, [generate.texture(rng, **look) for _ in range(4)]
