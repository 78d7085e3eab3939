"""A generated Sarcasm set: posts whose words tell the class, and pictures that tell less."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bss.data.datasets.imagetext import TEXT_MODEL
from bss.data.datasets.sarcasm import CLASSES, DATA_SET
from bss.data.synthetic import signals
from bss.data.synthetic.signals import FAINT, PerClass, PostSizes, drawn_words
from bss.utils.seeding import mixed_seed

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


SIZES = PostSizes(PerClass(train=96, val=32, test=48))
"""The sizes of what ``--sample`` trains on."""


def write_sample(root: str | os.PathLike, sizes: PostSizes = SIZES, *, seed: int = 0) -> Path:
    """Write a small generated data set in the released layout: plain in the text, faint in the picture.

    Two words of each text tell its class, nine times in ten the right one. Ids begin with 2000, longer than any real
    one. A folder ``text-model`` holds a tiny BERT without weights, so that nothing is downloaded.

    Args:
        root: folder to make; its parent is made too.
        sizes: how much is generated.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: see :func:`bss.data.synthetic.signals.write_once`.
    """
    return signals.write_once(root, "sarcasm", sizes, seed, _write_tree)


def _write_tree(root: Path, sizes: PostSizes, seed: int) -> None:
    (root / "annotations").mkdir()
    (root / "images").mkdir()
    number = 0
    for split, per_class in asdict(sizes.sizes).items():
        rng = np.random.default_rng(mixed_seed("sarcasm sample", seed, DATA_SET.splits.index(split)))
        items = []
        for label in rng.permutation(np.repeat(np.arange(len(CLASSES)), per_class)).tolist():
            number += 1
            image = f"2000{number:016d}.jpg"
            words = drawn_words(rng, _WORDS[label], _WORDS[1 - label], _NEUTRAL, share=0.9)
            look = {"size": sizes.image_size, "angle": 90.0 * label, "hue": 180.0 * label, **FAINT}
            signals.write_picture(root / "images" / image, signals.texture(rng, **look))
            items.append({"image": f"images/{image}", "text": " ".join(words), "label": label})
        (root / DATA_SET.places[split][0]).write_text(json.dumps(items, indent=1) + "\n", encoding="utf-8")
    signals.write_text_model(root / TEXT_MODEL, [" ".join((*_NEUTRAL, *(word for words in _WORDS for word in words)))])
