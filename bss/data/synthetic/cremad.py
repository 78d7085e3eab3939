"""A generated CREMA-D: a tone that tells the emotion, and frames whose texture tells less."""

import math
import os
from pathlib import Path

import numpy as np

from bss.data.datasets.cremad import CLASSES, SPLITS
from bss.data.synthetic import signals as generate
from bss.data.synthetic.signals import write_clip
from bss.utils.seeding import mixed_seed

# -------------------------------------------------------------------------------------- generated data set

_SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")


_FIRST_ACTOR = 2001  # the real actors are 1001 to 1091


def write_sample(
    root: str | os.PathLike,
    *,
    per_class: int = 40,
    test_per_class: int = 15,
    seconds: float = 1.0,
    sample_rate: int = 16000,
    image_size: int = 96,
    seed: int = 0,
) -> Path:
    """Write a small generated data set in the layout of the real one: loud in the sound, faint in the picture.

    Clips last 0.6 to 1.4 times ``seconds`` and have two frames. Actors are numbered from 2001, so that no
    clip can be taken for a real one, and no actor of the test list is in the training list. The tree appears
    under its name only when it is whole; one with the same parameters is used again.

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
        DataError: ``root`` holds something else, or a sample of other parameters; nothing is overwritten.
    """
    parameters = {
        "data set": "cremad",
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
    (root / "AudioWAV").mkdir()
    actor = _FIRST_ACTOR
    for split, per_class in (("train", parameters["per_class"]), ("test", parameters["test_per_class"])):
        rows = []
        for label, emotion in enumerate(CLASSES):
            for take in range(per_class):
                name = f"{actor + take // len(_SENTENCES)}_{_SENTENCES[take % len(_SENTENCES)]}_{emotion}_XX"
                entropy = (parameters["seed"], SPLITS.index(split), label, take)
                rng = np.random.default_rng(mixed_seed("cremad sample", *entropy))
                waveform, frames = _sample_clip(rng, label, parameters)
                wav, folder = root / "AudioWAV" / f"{name}.wav", root / "Image-01-FPS" / name
                write_clip(wav, folder, waveform, parameters["sample_rate"], frames)
                rows.append((name, emotion))
        order = np.random.default_rng(mixed_seed("cremad rows", parameters["seed"])).permutation(len(rows))
        text = "".join(f"{rows[i][0]},{rows[i][1]}\n" for i in order)
        (root / "annotations" / f"{split}.csv").write_text(text, encoding="utf-8")
        actor += math.ceil(per_class / len(_SENTENCES))


def _sample_clip(rng: np.random.Generator, label: int, parameters: dict) -> tuple[np.ndarray, list[np.ndarray]]:
    """Waveform and two frames of one class.

    Classes differ in pitch, in whether it falls, stays or rises, and in tremolo, so that a network that pools
    over the spectrogram can tell them apart; and in the tint and the direction of the stripes.
    """
    waveform = generate.tone(
        rng,
        seconds=parameters["seconds"] * rng.uniform(0.6, 1.4),
        sample_rate=parameters["sample_rate"],
        frequency=300 * 1.5**label,
        sweep=(-1.0, 0.0, 1.0)[label % 3],
        tremolo=(0.0, 8.0)[label // 3],
    )
    look = {"size": parameters["image_size"], "angle": 45.0 * (label % 3), "hue": 60.0 * label}
    return waveform, [generate.texture(rng, **look) for _ in range(2)]
