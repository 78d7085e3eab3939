"""What two arms are paired by: a seed or, where a data set is dealt into folds, a seed of a fold."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple


class FoldSeed(NamedTuple):
    """A seed of a fold. Written, it goes on after the word "seed": ``3 in fold 1``.

    Attributes:
        fold: which part of the data set is tested, from 0.
        seed: of the run.
    """

    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.seed} in fold {self.fold}"


Pair = int | FoldSeed
"""What two runs have in common that are subtracted: a seed, on the one test part; or a seed of a fold."""


def pair_of(fold: int | None, seed: int) -> Pair:
    """The pair of a run: its seed, or that of its fold."""
    return seed if fold is None else FoldSeed(fold, seed)


def seed_of(pair: Pair) -> int:
    """The seed of a pair."""
    return pair.seed if isinstance(pair, FoldSeed) else pair


def fold_of(pair: Pair) -> int | None:
    """The fold of a pair; None = there are no folds."""
    return pair.fold if isinstance(pair, FoldSeed) else None


def all_pairs(seeds: Iterable[int], folds: Collection[int]) -> list[Pair]:
    """Every seed, or every seed of every fold: seed by seed, so that what is cut short has whole seeds."""
    return [pair_of(fold, seed) for seed in seeds for fold in folds or (None,)]


def units(values: Mapping[Pair, float]) -> tuple[float, ...]:
    """The numbers that a statement is over: those of the seeds or, with folds, the mean of each fold.

    Args:
        values: pair -> number; all pairs are seeds, or all are of folds.
    """
    return tuple(math.fsum(group) / len(group) for group in _by_unit(values).values())


def by_fold(values: Mapping[Pair, float]) -> list[list[float]]:
    """The numbers of each fold, ascending by fold; of pairs without folds none."""
    return [group for pair, group in _by_unit(values).items() if isinstance(pair, FoldSeed)]


def _by_unit(values: Mapping[Pair, float]) -> dict[Pair, list[float]]:
    found: dict[Pair, list[float]] = {}
    for pair in sorted(values):
        unit = FoldSeed(pair.fold, 0) if isinstance(pair, FoldSeed) else pair
        found.setdefault(unit, []).append(values[pair])
    return found
