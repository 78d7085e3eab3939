"""What the study of the paper's form found: its regimes pooled over the sets, by the rules of its plan."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum
from typing import Any

from benchmarks.study.estimates import Estimate, estimate
from benchmarks.study.paper_form import OTHER_ARMS, STUDY, Cell, Protocol, read_protocol
from benchmarks.study.raw import Study, read
from bss.compare.statistics import holm

Contrast = tuple[str, str]
"""Arm and control: arm minus control."""

PRIMARY, LAST = "all.accuracy.chosen", "all.accuracy.last"


def values_of(study: Study, arm: str, column: str) -> dict[int, float]:
    """A column of one arm, seed by seed, in %; a run that was not finite counts as 0.

    Raises:
        ValueError: a run that ended well has no such value.
    """
    found = {}
    for row in study.rows:
        if row["arm"] == arm:
            if not row.get("failed") and not row[column]:
                raise ValueError(f"{column} of {arm} is empty for seed {row['seed']}")
            found[int(row["seed"])] = 100 * float(row[column] or 0)
    return found


def pooled(sets: Sequence[Mapping[int, float]], seeds: Sequence[int]) -> list[float]:
    """The mean over the sets, seed by seed.

    Args:
        sets: seed -> difference, of each set.
        seeds: which, and in which order.
    """
    return [fsum(values[seed] for values in sets) / len(sets) for seed in seeds]


def mean_of_each(values: Mapping[int, float], group: Mapping[int, str]) -> list[float]:
    """The mean of every group of seeds.

    Args:
        values: seed -> value.
        group: seed -> what it has in common with others.
    """
    groups: dict[str, list[float]] = {}
    for seed, value in values.items():
        groups.setdefault(group[seed], []).append(value)
    return [fsum(each) / len(each) for each in groups.values()]


@dataclass(frozen=True)
class Cells:
    """Raw values of the cells of a study.

    Attributes:
        protocol: the study's plan.
        studies: (regime, set) -> raw values.
        again: the cells of the regimes that were run again, with fresh seeds.

    Raises:
        ValueError: cells of the regimes were run on two commits, or those of the other arms.
    """

    protocol: Protocol
    studies: Mapping[tuple[str, str], Study]
    again: "Cells | None" = None

    def __post_init__(self) -> None:
        every = [*self.studies.items(), *(self.again.studies.items() if self.again is not None else ())]
        for part in (False, True):
            commits = {
                study.constants["commit"]: " on ".join(cell) for cell, study in every if (cell[0] == OTHER_ARMS) == part
            }
            if len(commits) > 1:
                raise ValueError(f"cells of one study were run on {len(commits)} commits: {commits}")

    @property
    def said(self) -> Mapping[str, Any]:
        return self.protocol.said

    @property
    def primary(self) -> list[Contrast]:
        return self.protocol.primary

    def fresh(self, regime: str) -> "Cells | None":
        """The cells that hold a regime's fresh seeds; None where it was not run again."""
        has = self.again is not None and all((regime, name) in self.again.studies for name in self.said["sets"])
        return self.again if has else None

    def differences(self, regime: str, name: str, contrast: Contrast, column: str = PRIMARY) -> dict[int, float]:
        """Arm minus control on one set, seed by seed, in points.

        Raises:
            ValueError: the two were not run with the same seeds.
        """
        arm, control = (values_of(self.studies[regime, name], each, column) for each in contrast)
        if arm.keys() != control.keys():
            raise ValueError(f"{' and '.join(contrast)} have other seeds in {regime} on {name}")
        return {seed: arm[seed] - control[seed] for seed in arm}

    def mean_of_sets(
        self, regime: str, contrast: Contrast, column: str = PRIMARY, *, without: Collection[str] = ()
    ) -> dict[int, float]:
        """The mean over the sets of arm minus control, seed by seed, in points.

        Args:
            regime: which.
            contrast: arm and control.
            column: the outcome.
            without: sets that are left out.
        """
        names = [name for name in self.said["sets"] if name not in without]
        sets = [self.differences(regime, name, contrast, column) for name in names]
        seeds = sorted(sets[0])
        return dict(zip(seeds, pooled(sets, seeds), strict=True))

    def of_regime(
        self, regime: str, contrast: Contrast, column: str = PRIMARY, *, without: Collection[str] = ()
    ) -> Estimate:
        """The pooled contrast of a regime; see :meth:`mean_of_sets`."""
        return estimate(list(self.mean_of_sets(regime, contrast, column, without=without).values()))

    def of_test_parts(self, regime: str, contrast: Contrast, name: str) -> Estimate:
        """The pooled contrast where seeds that draw the same test part of one set are one value, their mean."""
        return estimate(mean_of_each(self.mean_of_sets(regime, contrast), self.test_parts(regime, name)))

    def on_set(self, regime: str, name: str, contrast: Contrast, column: str = PRIMARY) -> Estimate:
        """The contrast on one set by itself."""
        return estimate(list(self.differences(regime, name, contrast, column).values()))

    def per_set(self, regime: str, contrast: Contrast, column: str = PRIMARY) -> list[Estimate]:
        """The contrast on each set of a regime by itself."""
        return [self.on_set(regime, name, contrast, column) for name in self.said["sets"]]

    def test_parts(self, regime: str, name: str) -> dict[int, str]:
        """Seed -> hash of the test part that it draws of a set."""
        test = self.studies[regime, name].constants["task"]["test"]
        return {int(seed.removeprefix("seed ")): drawn["hash"] for seed, drawn in test.items()}

    def adjusted(self, *, parts_of: str | None = None) -> dict[tuple[str, Contrast], float]:
        """(Regime, contrast) -> Holm's p value over all tests of the family.

        Args:
            parts_of: a set whose test parts, not the seeds, are the values; see :meth:`of_test_parts`.
        """
        tests = [(regime, contrast) for regime in self.said["regimes"] for contrast in self.primary]
        found = [
            self.of_regime(*each) if parts_of is None else self.of_test_parts(*each, name=parts_of) for each in tests
        ]
        return dict(zip(tests, holm([each.p for each in found]), strict=True))

    def once_more(self, regime: str, contrast: Contrast, column: str = PRIMARY) -> bool | None:
        """Whether fresh seeds give a contrast the sign that it had, with p < 0.05; None where there are none."""
        again = self.fresh(regime)
        if again is None:
            return None
        first, fresh = (each.of_regime(regime, contrast, column) for each in (self, again))
        return fresh.p < 0.05 and (fresh.mean > 0) == (first.mean > 0)


@cache
def cells() -> Cells:
    """Those that are committed."""
    protocol = read_protocol()

    def of(planned: Iterable[Cell]) -> dict[tuple[str, str], Study]:
        return {(cell.regime, cell.set): read(STUDY / cell.folder) for cell in planned}

    again = [cell for regime in protocol.said["regimes"] for cell in protocol.again(regime)]
    run_again = [cell for cell in again if (STUDY / cell.folder).exists()]
    return Cells(protocol, of(protocol.cells), Cells(protocol, of(run_again)))
