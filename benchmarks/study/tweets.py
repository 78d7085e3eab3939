"""Study task: is a tweet sarcastic? Its words, and five words that say what is on its picture.

Data card
    24,635 English tweets (Cai, Cai and Wan, ACL 2019; see :mod:`bss.data.datasets.sarcasm`), in the form in which the
    released BSS code keeps them: ``{train,val,test}_data.json`` with ``attributes``, five words that the data set's
    authors predicted from the picture. 19,816 / 2,410 / 2,409, natural pairs, 2 classes; the published validation list
    chooses the epoch. TF-IDF and logistic regression: text 79.7 %, image words 66.7 %, both 80.7 %, majority 60.2 %.

Needs the folder ``sarcasm/`` with the three lists under the data root.
"""

import collections
import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bss.data import Splits, drawn_test, stratified_split, tensor_splits, training_rows
from bss.data.datasets.sarcasm import CLASSES, read_list
from bss.models import ConcatFusion, LateFusion
from bss.models.encoders import GROUPS, Norm, normalization
from bss.recipes import CurriculumSchedule, ResampledRecipe, SelfPacedSchedule, meaning, setting
from bss.utils.errors import DataError, DataNotFoundError, RecipeError, shown
from bss.utils.seeding import seeded

TITLE = "Sarcasm: tweets and image words"
ADVICE = "benchmarks/study/README.md says what the lists hold; pass the folder above sarcasm/ as --data-root"
SPLITS = ("train", "val", "test")
IMAGE_WORDS = 5
"""Most words of a picture that the lists give."""

PADDING = 0
"""Id of the places behind a text's last word; they are not part of its mean."""


@dataclass(frozen=True, kw_only=True)
class TweetsRecipe(ResampledRecipe):
    """A recipe with the numbers of the words and their encoders; ``val_fraction=0`` leaves the validation list out."""

    train_samples: int | None = setting(
        None,
        "size of the training set, a stratified share of the published list that is the same for all seeds, or with "
        "other test parts of what is left, drawn by the seed; none = all of it.",
    )
    min_count: int = setting(3, "words in fewer training tweets than this are left out.")
    max_words: int = setting(40, "known words of a tweet that are kept, from the start.")
    hidden: int = setting(32, "length of a word's vector and of the features.")
    norm: Norm = setting(
        "none",
        'of the mean word vector: "batch" normalisation, "group" (8 groups; no running statistics), or "none".',
    )

    def __post_init__(self):
        super().__post_init__()
        for name in ("min_count", "max_words"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.hidden < 1 or self.hidden % GROUPS:
            raise RecipeError(f"hidden must be a multiple of {GROUPS}, got {self.hidden}")


CL = TweetsRecipe(
    epochs=6,
    batch_size=64,
    lr=2e-3,
    optimizer="adam",
    weight_decay=0.0,
    seed=0,
    schedule=CurriculumSchedule(start=0.1, grow_epochs=2),
)

SPL = replace(CL, schedule=SelfPacedSchedule(floor=1e-2))


@dataclass(frozen=True)
class Tweet:
    """One row of a list."""

    name: str = field(metadata=meaning("of the picture's file, without suffix; unique in its list."))
    label: int = field(metadata=meaning("position in CLASSES."))
    words: dict[str, tuple[str, ...]] = field(metadata=meaning("modality -> words."))


def build_data(recipe: TweetsRecipe, root: Path) -> Splits:
    """Word ids of text (max_words) and image (5), padded with :data:`PADDING`.

    Raises:
        DataError, DataNotFoundError: see :func:`parts_of`.
    """
    parts = parts_of(recipe, root)
    tweets = [tweet for split in SPLITS for tweet in parts[split]]
    at = [0, *torch.tensor([len(parts[split]) for split in SPLITS]).cumsum(0).tolist()]
    train, val, test = (range(start, end) for start, end in itertools.pairwise(at))
    vocabulary = vocabularies(parts["train"], recipe.min_count)
    return tensor_splits(
        {
            name: word_ids([tweet.words[name] for tweet in tweets], vocabulary[name], length)
            for name, length in (("text", recipe.max_words), ("image", IMAGE_WORDS))
        },
        torch.tensor([tweet.label for tweet in tweets]),
        train=train,
        val=val if recipe.val_fraction else None,
        test=test,
        names=[tweet.name for tweet in tweets],
        classes=CLASSES,
    )


def build_model(recipe: TweetsRecipe, root: Path) -> LateFusion:
    """For each modality the mean of its words' vectors, and a linear layer with ReLU."""
    vocabulary = vocabularies(parts_of(recipe, root)["train"], recipe.min_count)
    with seeded("build", recipe.seed):
        dims = {name: recipe.hidden for name in ("text", "image")}
        return LateFusion(
            {name: WordVectors(1 + len(vocabulary[name]), recipe.hidden, recipe.norm) for name in dims},
            ConcatFusion(dims, len(CLASSES)),
            len(CLASSES),
            feature_dims=dims,
        )


class WordVectors(nn.Module):
    """The mean of a text's word vectors, and a linear layer with ReLU: ids (B, L) -> (B, D).

    Args:
        words: size of the vocabulary, padding included.
        dim: D, also the length of a word's vector.
        norm: of the mean.
    """

    def __init__(self, words: int, dim: int, norm: Norm):
        super().__init__()
        self.vectors = nn.EmbeddingBag(words, dim, mode="mean", padding_idx=PADDING)
        self.norm = normalization(norm, dim)
        self.linear = nn.Linear(dim, dim)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """A text without a known word has the mean 0."""
        return self.linear(self.norm(self.vectors(ids_BL))).relu()


@functools.lru_cache(maxsize=3)
def read_tweets(path: Path) -> tuple[Tweet, ...]:
    """Read a list with image words; once per process.

    Raises:
        DataNotFoundError: no such file.
        DataError: a bad list, or a row whose ``attributes`` are not up to five texts.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{TITLE}: there is no {path.name} under {path.parent}.\n{ADVICE}")
    posts = read_list(path)  # checks all but the attributes, and keeps every row
    tweets = []
    for post, item in zip(posts, json.loads(path.read_text(encoding="utf-8-sig")), strict=True):
        seen = item.get("attributes")
        if not isinstance(seen, list) or len(seen) > IMAGE_WORDS or not all(isinstance(word, str) for word in seen):
            raise DataError(f"{post.listed}: attributes are {shown(seen)}, expected up to {IMAGE_WORDS} words")
        words = {"text": tuple(post.text.lower().split()), "image": tuple(word.lower() for word in seen)}
        tweets.append(Tweet(post.name, post.label, words))
    return tuple(tweets)


def parts_of(recipe: TweetsRecipe, root: Path) -> dict[str, Sequence[Tweet]]:
    """The tweets of each split: of the published lists, or of all three lists together, dealt anew.

    Dealt anew, the validation part is ``val_fraction`` of what is not tested; the published lists have their own.

    Raises:
        DataError, DataNotFoundError: see :func:`read_tweets`; more samples or folds than there can be.
    """
    lists = {split: read_tweets(root / "sarcasm" / f"{split}_data.json") for split in SPLITS}
    if not recipe.resamples:
        return {**lists, "train": training_tweets(root, recipe.train_samples)}
    tweets = [tweet for split in SPLITS for tweet in lists[split]]
    labels, count = [tweet.label for tweet in tweets], len(lists["test"])
    test = drawn_test(labels, fold=recipe.fold, folds=recipe.folds, count=count, seed=recipe.seed, classes=CLASSES)
    train, val = training_rows(
        labels,
        sorted(set(range(len(labels))).difference(test)),
        val_fraction=recipe.val_fraction,
        samples=recipe.train_samples,
        seed=recipe.seed,
        classes=CLASSES,
    )
    rows = {"train": train, "val": val or [], "test": test}
    return {split: [tweets[row] for row in rows[split]] for split in SPLITS}


def training_tweets(root: Path, samples: int | None) -> tuple[Tweet, ...]:
    """The training list, or a stratified share of it, the same for every seed.

    Raises:
        DataError: more samples than there are; see also :func:`read_tweets`.
    """
    tweets = read_tweets(root / "sarcasm" / "train_data.json")
    if samples is None or samples == len(tweets):
        return tweets
    if samples > len(tweets):
        raise DataError(f"train_samples={samples}, but the list has {len(tweets)}")
    labels = [tweet.label for tweet in tweets]
    _, kept = stratified_split(labels, samples / len(tweets), seed=0, classes=CLASSES)
    return tuple(tweets[row] for row in kept)


def vocabularies(tweets: Sequence[Tweet], min_count: int) -> dict[str, dict[str, int]]:
    """Modality -> word -> id from 1 on, of words in at least ``min_count`` tweets; frequent ones first."""
    vocabulary = {}
    for name in ("text", "image"):
        counts = collections.Counter(word for tweet in tweets for word in set(tweet.words[name]))
        kept = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        vocabulary[name] = {word: number for number, word in enumerate(kept, start=PADDING + 1)}
    return vocabulary


def word_ids(texts: Sequence[Sequence[str]], vocabulary: Mapping[str, int], length: int) -> Tensor:
    """Ids of the known words of each text, the first ``length`` of them, padded: (N, length) int64."""
    ids = np.full((len(texts), length), PADDING, np.int64)  # rows of a tensor take three times as long to fill
    for row, text in zip(ids, texts, strict=True):
        known = [vocabulary[word] for word in text if word in vocabulary][:length]
        row[: len(known)] = known
    return torch.from_numpy(ids)
