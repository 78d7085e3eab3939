"""A generated Twitter15: tweets whose words tell the class, and pictures that tell less."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bss.data.datasets.imagetext import PLACEHOLDER, TEXT_MODEL
from bss.data.datasets.twitter15 import CLASSES, DATA_SET, VARIANTS
from bss.data.synthetic import signals
from bss.data.synthetic.signals import FAINT, PerClass, PostSizes, drawn_words
from bss.utils.seeding import mixed_seed

_HEADER = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String"


_TEST_HEADER = "index\t#1 ImageID\t#2 String\t#2 String"  # TomBERT's, one name short


_WORDS = (
    ("awful", "lost", "angry", "worst", "sad", "broken", "late", "boring"),
    ("report", "meeting", "listed", "seen", "update", "photo", "schedule", "list"),
    ("love", "best", "won", "proud", "happy", "amazing", "thanks", "beautiful"),
)


_NEUTRAL = ("the", "a", "with", "at", "on", "today", "rt", "is", "was", "new", "city", "game", "fans", "show")


_TERMS = ("Lydia", "Tyga", "Pedro", "Oklahoma", "John Lennon", "Cooperstown", "Nashville", "Chuck Bass")


_SEVENTEEN = "17_06_"  # before the number of a picture of Twitter17


SIZES = PostSizes(PerClass(train=64, val=24, test=32))
"""The sizes of what ``--sample`` trains on."""


def write_sample(root: str | os.PathLike, sizes: PostSizes = SIZES, *, seed: int = 0) -> Path:
    """Write a small generated data set in TomBERT's layout, headers and all: plain in the text, faint in the picture.

    It is there twice, as Twitter15 and as Twitter17, whose lists and pictures have other names and no other content.

    Two words of each text tell its class, nine times in ten the right one. Every third row has a second one: the same
    tweet and picture with another term. Picture ids begin at 9,000,000, above every real one. A folder ``text-model``
    holds a tiny BERT without weights, so that nothing is downloaded.

    Args:
        root: folder to make; its parent is made too.
        sizes: how much is generated.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: see :func:`bss.data.synthetic.signals.write_once`.
    """
    return signals.write_once(root, "twitter15", sizes, seed, _write_tree)


def _write_tree(root: Path, sizes: PostSizes, seed: int) -> None:
    pictures = {variant: root / f"{variant}_images" for variant in VARIANTS}
    for folder in (root / "annotations", root / "twitter2017", *pictures.values()):
        folder.mkdir()
    number = 9_000_000
    for split, per_class in asdict(sizes.sizes).items():
        rng = np.random.default_rng(mixed_seed("twitter15 sample", seed, DATA_SET.splits.index(split)))
        rows = []
        for label in rng.permutation(np.repeat(np.arange(len(CLASSES)), per_class)).tolist():
            image, number = f"{number}.jpg", number + 1
            look = {"size": sizes.image_size, "angle": 45.0 * label, "hue": 120.0 * label, **FAINT}
            signals.write_picture(pictures["twitter2015"] / image, signals.texture(rng, **look))
            shutil.copyfile(pictures["twitter2015"] / image, pictures["twitter2017"] / f"{_SEVENTEEN}{image}")
            others = [word for other, words in enumerate(_WORDS) if other != label for word in words]
            words = drawn_words(rng, _WORDS[label], others, _NEUTRAL, share=0.9)
            terms = rng.choice(_TERMS, size=2, replace=False).tolist()
            for position in (0, 1) if number % 3 == 0 else (0,):
                both = [PLACEHOLDER if i == position else term for i, term in enumerate(terms)]
                text = " ".join((both[0], *words[:3], both[1], *words[3:]))
                rows.append((f"{len(rows) + 1}\t{label}", f"{image}\t{text}\t{terms[position]}"))
        header = _TEST_HEADER if split == "test" else _HEADER
        for variant, prefix in (("twitter2015", ""), ("twitter2017", _SEVENTEEN)):
            lines = [header, *(f"{label}\t{prefix}{rest}" for label, rest in rows)]
            (root / VARIANTS[variant].places[split][0]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    vocabulary = (*_NEUTRAL, *(word for words in _WORDS for word in words), *_TERMS)
    signals.write_text_model(root / TEXT_MODEL, [" ".join(vocabulary)])
