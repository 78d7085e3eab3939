"""A generated Sarcasm set: posts whose words tell the class, and pictures that tell less."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bss.data.datasets.imagetext import TEXT_MODEL
from bss.data.datasets.sarcasm import CLASSES, SPLITS
from bss.data.synthetic import signals as generate
from bss.data.synthetic.signals import FAINT, drawn_words, write_picture, write_text_model
from bss.utils.seeding import mixed_seed

# -------------------------------------------------------------------------------------- generated data set

_FILES = {"train": "train_data.json", "val": "valid_data.json", "test": "test_data.json"}


_WORDS = (
    ("sunrise", "coffee", "recipe", "garden", "match", "album", "thanks", "museum"),
    ("oh", "great", "lovely", "totally", "wow", "brilliant", "sure", "fun"),
)


_NEUTRAL = (
    "the",
    "a",
    "my",
    "this",
    "today",
    "again",
    "for",
    "with",
    "at",
    "monday",
    "train",
    "phone",
    "work",
    "weather",
)


def write_sample(
    root: str | os.PathLike,
    *,
    per_class: int = 96,
    val_per_class: int = 32,
    test_per_class: int = 48,
    image_size: int = 80,
    seed: int = 0,
) -> Path:
    """Write a small generated data set in the released layout: plain in the text, faint in the picture.

    Two words of each text tell its class, nine times in ten the right one. Ids begin with 2000, longer than any real
    one. A folder ``text-model`` holds a tiny BERT without weights, so that nothing is downloaded.

    Args:
        root: folder to make; its parent is made too.
        per_class: training posts of each class.
        val_per_class: validation posts of each class.
        test_per_class: test posts of each class.
        image_size: height and width of a picture in pixels.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: see :func:`bss.data.synthetic.signals.write_once`.
    """
    sizes = {"train": per_class, "val": val_per_class, "test": test_per_class}
    parameters = {"data set": "sarcasm", "version": 1, "sizes": sizes, "image_size": image_size, "seed": seed}
    return generate.write_once(root, parameters, lambda building: _write_tree(building, parameters))


def _write_tree(root: Path, parameters: dict[str, Any]) -> None:
    (root / "annotations").mkdir()
    (root / "images").mkdir()
    number = 0
    for split, size in parameters["sizes"].items():
        rng = np.random.default_rng(mixed_seed("sarcasm sample", parameters["seed"], SPLITS.index(split)))
        items = []
        for label in rng.permutation(np.repeat(np.arange(len(CLASSES)), size)).tolist():
            number += 1
            image = f"2000{number:016d}.jpg"
            words = drawn_words(rng, _WORDS[label], _WORDS[1 - label], _NEUTRAL, share=0.9)
            look = {"size": parameters["image_size"], "angle": 90.0 * label, "hue": 180.0 * label, **FAINT}
            write_picture(root / "images" / image, generate.texture(rng, **look))
            items.append({"image": f"images/{image}", "text": " ".join(words), "label": label})
        (root / "annotations" / _FILES[split]).write_text(json.dumps(items, indent=1) + "\n", encoding="utf-8")
    write_text_model(root / TEXT_MODEL, [" ".join((*_NEUTRAL, *(word for words in _WORDS for word in words)))])
