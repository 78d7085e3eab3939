"""What the study of the paper's form found: its regimes pooled over the sets, by the rules of its plan."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum
from typing import Any

from benchmarks.study.estimates import Estimate, bracket, estimate, heterogeneity, p_value, signed, spread
from benchmarks.study.paper_form import OTHER_ARMS, STUDY, Cell, Protocol, read_protocol
from benchmarks.study.raw import ROWS, Study, read
from bss.compare.statistics import holm

Contrast = tuple[str, str]
"""Arm and control: arm minus control."""

PRIMARY, LAST = "all.accuracy.chosen", "all.accuracy.last"
REGIMES = {
    "as-they-are": "as they are",
    "pairs-20": "20 % of the pairs mismatched",
    "pairs-40": "40 % of the pairs mismatched",
    "labels-20": "20 % wrong labels",
    "labels-40": "40 % wrong labels",
    "fifth": "a fifth of the updates",
}
SHORT = {
    "uniform-replacement": "uniform, repl.",
    "spl-paper-replacement": "paper, repl.",
    "spl-paper-replacement-reversed": "reversed, repl.",
    "spl-paper": "paper",
}


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


@dataclass(frozen=True)
class Cells:
    """The cells that have raw values.

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

    def whole(self, regime: str) -> bool:
        """Whether a regime has all sets."""
        return all((regime, name) in self.studies for name in self.said["sets"])

    def differences(self, regime: str, name: str, contrast: Contrast, column: str = PRIMARY) -> dict[int, float]:
        """Arm minus control on one set, seed by seed, in points.

        Raises:
            ValueError: the two were not run with the same seeds.
        """
        arm, control = (values_of(self.studies[regime, name], each, column) for each in contrast)
        if arm.keys() != control.keys():
            raise ValueError(f"{' and '.join(contrast)} have other seeds in {regime} on {name}")
        return {seed: arm[seed] - control[seed] for seed in arm}

    def of_regime(self, regime: str, contrast: Contrast, column: str = PRIMARY) -> Estimate:
        """The pooled contrast of a whole regime."""
        sets = [self.differences(regime, name, contrast, column) for name in self.said["sets"]]
        return estimate(pooled(sets, sorted(sets[0])))

    def per_set(self, regime: str, contrast: Contrast, column: str = PRIMARY) -> list[Estimate]:
        """The contrast on each set of a whole regime by itself."""
        return [estimate(list(self.differences(regime, name, contrast, column).values())) for name in self.said["sets"]]

    def adjusted(self) -> dict[tuple[str, Contrast], tuple[float, bool]]:
        """(Regime, contrast) of the whole regimes -> the adjusted p value, and whether it is final.

        Holm needs the p values of all tests of the family. While some are missing, the bound of Bonferroni over all of
        them stands in: Holm's value cannot be larger.
        """
        tests = [(regime, contrast) for regime in self.said["regimes"] for contrast in self.primary]
        raw = {each: self.of_regime(*each).p for each in tests if self.whole(each[0])}
        if len(raw) == len(tests):
            return dict(zip(raw, ((p, True) for p in holm(list(raw.values()))), strict=True))
        return {each: (min(1.0, len(tests) * p), False) for each, p in raw.items()}


@cache
def cells() -> Cells:
    """Those that are committed."""
    protocol = read_protocol()

    def there(planned: Iterable[Cell]) -> dict[tuple[str, str], Study]:
        folders = {(cell.regime, cell.set): STUDY / cell.folder for cell in planned}
        return {key: read(folder) for key, folder in folders.items() if (folder / ROWS).exists()}

    again = there(cell for regime in protocol.said["regimes"] for cell in protocol.again(regime))
    return Cells(protocol, there(protocol.cells), Cells(protocol, again))


def table_row(values: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(values)} |"


def table_head(columns: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [table_row(columns), "|" + "---|" * len(columns)]


def name_of(contrast: Contrast) -> str:
    """As a column of the page is called."""
    return " \N{MINUS SIGN} ".join(SHORT.get(each, each) for each in contrast)


def regimes_table() -> str:
    """The family of tests: both contrasts in each regime, pooled over the sets."""
    found = cells()
    columns = [column for contrast in found.primary for column in (name_of(contrast), "p", "adjusted")]
    lines = table_head(["regime", "n", *columns])
    adjusted = found.adjusted()
    for regime, title in REGIMES.items():
        if not found.whole(regime):
            there = sum((regime, name) in found.studies for name in found.said["sets"])
            lines.append(
                table_row([title, f"not run ({there} of {len(found.said['sets'])} sets)", *[""] * len(columns)])
            )
            continue
        row = [title, str(len(found.protocol.seeds))]
        for contrast in found.primary:
            pooled_, (p, final) = found.of_regime(regime, contrast), adjusted[regime, contrast]
            row += [difference(pooled_), p_value(pooled_.p), ("" if final or p < 0.001 else "≤ ") + p_value(p)]
        lines.append(table_row(row))
    return "\n".join(lines)


def difference(found: Estimate) -> str:
    """Mean and 95 % interval in points, as the pages write them."""
    return f"{signed(found.mean, 2)} {bracket(found.interval(0.95))}"


def last_table() -> str:
    """Both contrasts at the last epoch, pooled, one test each and no adjustment; with fresh seeds where there are."""
    found = cells()
    columns = [column for contrast in found.primary for column in (name_of(contrast), "p", "single sets")]
    lines = table_head(["regime", "n", *columns])
    for regime, title in REGIMES.items():
        for each, name in ((found, title), (found.again, f"{title}, fresh seeds")):
            if each is not None and each.whole(regime):
                row = [name, str(each.of_regime(regime, each.primary[0], LAST).n)]
                for contrast in each.primary:
                    mean = each.of_regime(regime, contrast, LAST)
                    row += [difference(mean), p_value(mean.p), _ends(each.per_set(regime, contrast, LAST))]
                lines.append(table_row(row))
    return "\n".join(lines)


def _on_one_set(found: Cells, regime: str, name: str, contrast: Contrast) -> str:
    if (regime, name) not in found.studies:
        return "not run"
    return difference(estimate(list(found.differences(regime, name, contrast).values())))


def sets_table() -> str:
    """Both contrasts on each set by itself."""
    found = cells()
    names = list(found.said["sets"])
    lines = table_head(["regime", "contrast", *names])
    for regime, title in REGIMES.items():
        for contrast in found.primary:
            values = [_on_one_set(found, regime, name, contrast) for name in names]
            if any(value != "not run" for value in values):
                lines.append(table_row([title, name_of(contrast), *values]))
    return "\n".join(lines)


def secondary_table(column: str = PRIMARY) -> str:
    """Other contrasts of whole regimes, pooled, one test each and no adjustment.

    Args:
        column: the outcome.
    """
    found = cells()
    others = [
        ("spl-paper-replacement", "uniform"),
        ("spl-paper", "uniform"),
        ("uniform-replacement", "uniform"),
        ("spl-paper-replacement-reversed", "uniform"),
        ("spl", "uniform"),
        ("random-pacing", "uniform"),
    ]
    lines = table_head(["regime", "accuracy of uniform order, %", *(f"{arm}" for arm, _ in others)])
    for regime, title in REGIMES.items():
        if found.whole(regime):
            per_set = [values_of(found.studies[regime, name], "uniform", column) for name in found.said["sets"]]
            level = estimate(pooled(per_set, found.protocol.seeds)).mean
            pools = [found.of_regime(regime, each, column) for each in others]
            lines.append(table_row([title, f"{level:.1f}", *map(difference, pools)]))
    return "\n".join(lines)


def _ends(found: Iterable[Estimate]) -> str:
    """The lowest and the highest mean."""
    means = [each.mean for each in found]
    return f"{signed(min(means), 2)} to {signed(max(means), 2)}"


def _apart(per_set: Sequence[Estimate]) -> str:
    """How far single sets lie apart, which their mean does not show; Cochran's Q is not in the plan."""
    p = heterogeneity(per_set)
    how = f"more than by chance, Q test, p {_equals(p)}"
    return f"(single sets {_ends(per_set)}{f': {how}' if p < 0.05 else ''})"


def once_more(found: Cells, regime: str, contrast: Contrast, column: str = PRIMARY) -> bool | None:
    """Whether a contrast that held has its sign again with fresh seeds, p < 0.05; None where they were not run."""
    if found.again is None or not found.again.whole(regime):
        return None
    first, fresh = (each.of_regime(regime, contrast, column) for each in (found, found.again))
    return fresh.p < 0.05 and (fresh.mean > 0) == (first.mean > 0)


def _once_more(found: Cells, regime: str, contrast: Contrast) -> str:
    """What the fresh seeds say of a contrast that held."""
    same = once_more(found, regime, contrast)
    if same is None or found.again is None:
        return ", not yet run again"
    fresh = found.again.of_regime(regime, contrast)
    how = f"with {fresh.n} fresh seeds ({signed(fresh.mean, 2)}, p {_equals(fresh.p)})"
    return f", and again {how}" if same else f" at first, **and not** {how}, which decide"


def _equals(p: float) -> str:
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def fresh_table() -> str:
    """The regimes that were run again."""
    found = cells().again
    regimes = [regime for regime in REGIMES if found is not None and found.whole(regime)]
    if found is None or not regimes:
        return "No regime has been run again yet."
    columns = [column for contrast in found.primary for column in (name_of(contrast), "p", *found.said["sets"])]
    lines = table_head(["regime", "n", *columns])
    for regime in regimes:
        pools = [found.of_regime(regime, contrast) for contrast in found.primary]
        row = [REGIMES[regime], str(pools[0].n)]
        for contrast, each in zip(found.primary, pools, strict=True):
            row += [difference(each), p_value(each.p), *map(difference, found.per_set(regime, contrast))]
        lines.append(table_row(row))
    return "\n".join(lines)


def verdicts() -> str:
    """What the plan's rules say, a line for each regime."""
    found, lines = cells(), []
    adjusted, margin = found.adjusted(), found.said["primary"]["margin"]
    for regime, title in REGIMES.items():
        if not found.whole(regime):
            continue
        parts = []
        for contrast in found.primary:
            pooled_, (p, final) = found.of_regime(regime, contrast), adjusted[regime, contrast]
            if p < 0.05:
                verdict = "holds" if pooled_.mean > 0 else "holds, with the other sign"
                verdict += _once_more(found, regime, contrast)
            elif pooled_.within(margin):
                verdict = f"equivalent within {margin:g} point"
            else:
                verdict = "undecided" if final else "undecided so far"
            parts.append(f"{name_of(contrast)}: {verdict} {_apart(found.per_set(regime, contrast))}")
        lines.append(f"- {title.capitalize()}: {'; '.join(parts)}.")
    return "\n".join(lines)


def arms_table() -> str:
    """Accuracy of all arms on the data as they are."""
    found = cells()
    names = [name for name in found.said["sets"] if (OTHER_ARMS, name) in found.studies]
    known = [name for name in found.said["sets"] if ("as-they-are", name) in found.studies]
    arms = list(dict.fromkeys([*found.said["arms"], *found.said["other_arms"]["on_every_set"]]))
    arms += sorted({arm for each in found.said["other_arms"]["arms"].values() for arm in each})

    def cell(arm: str, name: str) -> str:
        for regime in ("as-they-are", OTHER_ARMS):
            study = found.studies.get((regime, name))
            if study is not None and (values := values_of(study, arm, PRIMARY)):
                return spread([value / 100 for value in values.values()])
        return ""

    columns = [name for name in found.said["sets"] if name in names or name in known]
    rows = [[arm, *(cell(arm, name) for name in columns)] for arm in arms]
    return "\n".join([*table_head(["arm", *columns]), *(table_row(row) for row in rows if any(row[1:]))])


def others_table() -> str:
    """The other arms minus uniform order of the same cell, on each set and pooled, one by one without adjustment."""
    found = cells()
    names = list(found.said["sets"])
    lines = table_head(["arm", *names, "mean of the sets"])
    for arm in found.said["other_arms"]["on_every_set"]:
        contrast = arm, "uniform"
        if arm != "uniform":
            values = [_on_one_set(found, OTHER_ARMS, name, contrast) for name in names]
            mean = difference(found.of_regime(OTHER_ARMS, contrast)) if found.whole(OTHER_ARMS) else ""
            lines.append(table_row([arm, *values, mean]))
    return "\n".join(lines)


def made_by() -> str:
    """Where the runs were made."""
    found = cells()
    if not found.studies:
        return "No cell has been run yet."
    again = list(found.again.studies.values()) if found.again is not None else []
    studies = [*found.studies.values(), *again]
    runs = sum(len(study.rows) for study in studies)
    failed = sum(bool(row.get("failed")) for study in studies for row in study.rows)
    made = [study.constants for study in studies]
    commits = " and ".join(dict.fromkeys(each["commit"][:7] for each in made))
    processors = " or ".join(sorted({each["processor"] for each in made}))
    versions = made[0]["versions"]
    return (
        f"{runs} runs ({failed} of them not finite) in {len(found.studies)} of {len(found.protocol.cells)} cells"
        f"{f' and {len(again)} with fresh seeds' if again else ''}, on "
        f"commit {commits}: {processors},\n"
        f"{made[0]['threads']} thread a run, torch {versions['torch']}, Python {versions['python']}."
    )


def in_short() -> str:
    """The README's lines on it."""
    found = cells()
    adjusted, margin = found.adjusted(), found.said["primary"]["margin"]
    regimes = list(dict.fromkeys(regime for regime, _ in adjusted))
    if not regimes:
        return "- **Not run yet**: the paper's form in six regimes, [planned](RESULTS.md)."
    n, sets = len(found.protocol.seeds), len(found.said["sets"])
    lines = []
    for contrast in found.primary:
        means = [found.of_regime(regime, contrast) for regime in regimes]
        held = [regime for regime in regimes if adjusted[regime, contrast][0] < 0.05]
        alike = [REGIMES[regime] for regime, each in zip(regimes, means, strict=True) if each.within(margin)]
        low, high = (signed(pick(each.mean for each in means), 2) for pick in (min, max))
        fate = {
            f"{side}, {words}, in": [
                REGIMES[regime]
                for regime in held
                if once_more(found, regime, contrast) is same
                and (found.of_regime(regime, contrast).mean > 0) == (side == "above it")
            ]
            for side in ("above it", "below it")
            for words, same in (
                ("with fresh seeds too", True),
                ("not yet run again", None),
                ("not with fresh seeds", False),
            )
        }
        said = "; ".join(f"{words}: {', '.join(these)}" for words, these in fate.items() if these)
        said = said or "neither above nor below it in any"
        if alike:
            said += f"; the mean is equivalent to 0 within {margin:g} point in: {', '.join(alike)}"
        of_sets = _ends(each for regime in regimes for each in found.per_set(regime, contrast))
        lines.append(
            f"- **The paper's sampler with replacement**, minus {contrast[1]}: "
            f"{low if low == high else f'{low} to {high}'} points in\n  {len(regimes)} of {len(REGIMES)} regimes "
            f"(mean of {sets} sets, {n} seeds; single sets {of_sets}): {said}."
        )
    return "\n".join(lines)


def last_in_short() -> str:
    """The README's lines on the last epoch."""
    found = cells()
    contrast = found.primary[0]
    arm, control = contrast
    twice = [
        (regime, found.again.of_regime(regime, contrast, LAST))
        for regime in REGIMES
        if found.again is not None
        and found.whole(regime)
        and found.of_regime(regime, contrast, LAST).p < 0.05
        and once_more(found, regime, contrast, LAST)
    ]
    if not twice:
        return "- **At the last epoch**, a secondary outcome: nothing that came back with fresh seeds."
    said = ", ".join(f"{REGIMES[regime]} ({signed(fresh.mean, 2)})" for regime, fresh in twice)
    whole = [regime for regime in REGIMES if found.whole(regime)]
    order = _ends(found.of_regime(regime, (arm, "uniform"), LAST) for regime in whole)
    seeds = f"{len(found.protocol.seeds)} seeds and with {twice[0][1].n} fresh ones"
    return (
        f"- **At the last epoch**, a secondary outcome without any adjustment, the paper's sampler with replacement\n"
        f"  differs from {control}, p < 0.05 with {seeds}, in: {said}.\n"
        f"  Minus uniform order it is {order} points there, in {len(whole)} of {len(REGIMES)} regimes."
    )
