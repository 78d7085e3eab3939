"""What a comparison shows: from the numbers of the runs and the plan to verdicts, as pure functions.

A verdict is *planned* where the seeds at hand are those of a look that was planned before the runs, with all planned
arms; everything else is *exploratory* and says why. Of both there are three kinds: an arm is better or worse than its
control by more than chance, equivalent to it within the margin, or undecided.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bss.compare.pairs import Pair, all_pairs, seed_of
from bss.compare.plan import Analysis
from bss.compare.statistics import (
    EQUIVALENCE_LEVEL,
    Difference,
    detectable,
    holm,
    paired,
    seeds_of_folds_to_decide,
    seeds_to_decide,
)
from bss.compare.wording import (
    PLUS_MINUS,
    interval_text,
    listed,
    point_decimals,
    points,
    points_text,
    relation,
    seeds_text,
    span,
)

Outcomes = Mapping[str, Mapping[str, Mapping[Pair, float]]]
"""Outcome (``"chosen"``, ``"last"``) -> arm -> seed, or seed of a fold -> the metric in percent."""


NO_PLAN = "no plan was written before the runs"


@dataclass(frozen=True)
class Verdict:
    """What the seeds say of an arm against a control, for one outcome.

    Attributes:
        outcome: ``"chosen"`` or ``"last"``: the epoch whose weights met the test set.
        difference: arm minus control, in percentage points.
        p_holm: the p value, adjusted by Holm's method over the family; None where it could not be tested.
        level: at which that is judged: alpha, or its share of this look.
        family: number of comparisons that the adjustment is over.
        margin: a smaller difference does not matter; in percentage points.
    """

    outcome: str
    difference: Difference
    p_holm: float | None
    level: float
    family: int
    margin: float

    @property
    def arm(self) -> str:
        """Name of the arm."""
        return self.difference.arm

    @property
    def control(self) -> str:
        """Name of the arm that it is compared with."""
        return self.difference.control

    @property
    def differs(self) -> bool:
        """Whether it is better or worse by more than chance: the adjusted p value is at most the level."""
        return self.p_holm is not None and self.p_holm <= self.level

    @cached_property
    def p_equivalent(self) -> float | None:
        """P value of equivalence within the margin, see :func:`bss.compare.statistics.equivalent_within`."""
        return self.difference.p_equivalent(self.margin)

    @property
    def equivalent(self) -> bool:
        """Whether the interval of 90 % lies inside of the margin. Each is judged by itself, whatever the family is.

        To say wrongly of some arm among many that it is equivalent, its true difference must be the margin or more; at
        5 % each, no more than one in twenty such arms is.
        """
        return self.p_equivalent is not None and self.p_equivalent <= EQUIVALENCE_LEVEL

    @property
    def answer(self) -> str:
        """One of :data:`ANSWERS`."""
        if self.p_holm is None:
            return "not tested"
        if self.differs:
            direction = "better" if (self.difference.mean or 0.0) > 0 else "worse"
            return f"{direction}, by less than the margin" if self.equivalent else direction
        return "equivalent" if self.equivalent else "undecided"

    @cached_property
    def detectable(self) -> tuple[float, float] | None:
        """Differences in points that these seeds or folds find with a power of 80 %: in one test, and under Holm.

        It is of the paired t test at the level, and at the level divided by the size of the family, which is what
        Holm's method asks of the smallest p value. None without scatter.
        """
        std = self.difference.std
        if std is None or not self.difference.scatters:
            return None
        n, overlap = len(self.difference.units), self.difference.overlap
        alone, adjusted = (
            detectable(std, n, level, overlap=overlap) for level in (self.level, self.level / self.family)
        )
        return alone, adjusted

    @cached_property
    def further(self) -> int | None:
        """How many more seeds, of folds how many more in every fold, would decide.

        See :func:`bss.compare.statistics.seeds_to_decide` and :func:`~bss.compare.statistics.seeds_of_folds_to_decide`.
        The level is what Holm's method asks of the smallest p value. None where that cannot be told, or no number does.
        """
        found, level = self.difference, self.level / self.family
        if found.std is None:
            return None
        if not found.has_folds:
            return seeds_to_decide(found.std, len(found.seeds), level, self.margin)
        folds = len(found.units)
        if (parts := found.components) is None or folds < 2:
            return None
        seeds = len(found.seeds) // folds
        return seeds_of_folds_to_decide(parts, folds, seeds, level, self.margin, overlap=found.overlap)


ANSWERS = (
    "better",
    "worse",
    "better, by less than the margin",
    "worse, by less than the margin",
    "equivalent",
    "undecided",
    "not tested",
)
"""Everything that :attr:`Verdict.answer` can be, in the order in which it is told."""


@dataclass(frozen=True)
class Judgement:
    """All verdicts of a comparison, and how much they may be believed.

    Attributes:
        verdicts: one for each contrast and outcome, contrast by contrast.
        analysis: the one that was planned, or the one that is made up where nothing was.
        departure: why the verdicts are exploratory, as the end of a sentence; empty = they are the planned ones.
        missing: runs that the machine lost, in words: the comparison is incomplete without them.
        look: which of the planned looks this is, from 1 on; None where it is none.
    """

    verdicts: tuple[Verdict, ...]
    analysis: Analysis
    departure: str
    missing: tuple[str, ...]
    look: int | None

    @property
    def planned(self) -> bool:
        """Whether the verdicts are those that were planned."""
        return not self.departure

    @property
    def standing(self) -> str:
        """``"planned"`` or ``"exploratory"``."""
        return "planned" if self.planned else "exploratory"

    def find(self, arm: str, control: str, outcome: str) -> Verdict | None:
        """The verdict on a contrast; None where it is not in the family."""
        for each in self.verdicts:
            if (each.arm, each.control, each.outcome) == (arm, control, outcome):
                return each
        return None


def judge(
    outcomes: Outcomes,
    analysis: Analysis,
    *,
    has_plan: bool,
    seen: Collection[int] = (),
    missing: Sequence[str] = (),
    other: str = "",
    folds: Collection[int] = (),
    overlap: float = 0.0,
) -> Judgement:
    """Judge every contrast of an analysis.

    Args:
        outcomes: the numbers; runs that failed are in them at what they count for.
        analysis: what is compared.
        has_plan: the analysis was written down before the runs. Its whole family counts then in Holm's adjustment,
            whatever is there of it; else those contrasts of which two seeds are there.
        seen: seeds of which a run was finished when the plan was made.
        missing: runs that the machine lost, in words.
        other: another reason why this is not what was planned; the end of a sentence.
        folds: those that every seed has a run of; none = the data set has no folds.
        overlap: of their training sets, see :func:`bss.compare.statistics.t_interval`.
    """
    departure, look = _departure(outcomes, analysis, seen, folds) if has_plan else (NO_PLAN, None)
    if not departure and missing:
        departure = "runs are missing"
    departure = other or departure
    differences = [
        (outcome, paired(outcomes.get(outcome, {}), arm, control, overlap))
        for arm, control in analysis.contrasts
        for outcome in analysis.outcomes
    ]
    counted = [each for each in differences if has_plan or each[1].comparable]
    adjusted = dict(zip(counted, holm([difference.p for _, difference in counted]), strict=True))
    verdicts = tuple(
        Verdict(
            outcome, difference, adjusted.get((outcome, difference)), analysis.level(), len(counted), analysis.margin
        )
        for outcome, difference in differences
    )
    return Judgement(verdicts, analysis, departure, tuple(missing), None if departure else look)


def _departure(
    outcomes: Outcomes, analysis: Analysis, seen: Collection[int], folds: Collection[int]
) -> tuple[str, int | None]:
    """Why the numbers at hand are not those of a planned look, and which look they are; an empty text where they are.

    It is told by the numbers alone: the same runs have the same standing, whoever reports them and however often.
    """
    there = [
        {arm: outcomes.get(outcome, {}).get(arm, {}).keys() for arm in analysis.arms} for outcome in analysis.outcomes
    ]
    absent = [arm for arm in analysis.arms if not all(each[arm] for each in there)]
    if absent:
        count = len(analysis.contrasts) * len(analysis.outcomes)
        return f"cut from a planned family of {count} comparison{'s' * (count != 1)}, without {listed(absent)}", None
    seeds = {seed_of(pair) for each in there for arm in analysis.arms for pair in each[arm]}
    sizes = analysis.look_sizes()
    if foreign := seeds - set(analysis.seeds):
        return (
            f"a look beyond the plan, which has no seed{'s' * (len(foreign) > 1)} {seeds_text(foreign)}",
            None,
        )
    looks = {size: look for look, size in enumerate(sizes, start=1)}
    if len(seeds) not in looks:
        when = "before the first planned one" if len(seeds) < sizes[0] else "between the planned ones"
        return (
            f"a look {when}: at {len(seeds)} seeds, and the plan looks at {listed([str(size) for size in sizes])}",
            None,
        )
    first = analysis.seeds[: len(seeds)]
    if seeds != set(first):
        return f"a look at other seeds than the first {len(seeds)} of the plan ({seeds_text(first)})", None
    if known := seeds & set(seen):
        return f"runs of seed{'s' * (len(known) > 1)} {seeds_text(known)} were finished before the plan was made", None
    wanted = all_pairs(first, folds)
    gaps = [
        f"{arm} seed {pair}" for arm in analysis.arms for pair in wanted if any(pair not in each[arm] for each in there)
    ]
    if gaps:
        return f"{listed(gaps)} {'are' if len(gaps) > 1 else 'is'} missing", None
    return "", looks[len(seeds)]


# ---- in words ------------------------------------------------------------------------------------------------------


def sentences(judgement: Judgement, noun: str) -> list[str]:
    """Say what came out: whether runs are missing, what was compared, and a sentence for each group of arms.

    Args:
        judgement: the verdicts.
        noun: the metric in words.
    """
    said = []
    if judgement.missing:
        count = len(judgement.missing)
        said.append(
            f"INCOMPLETE: {count} run{'s were' if count > 1 else ' was'} lost ({listed(judgement.missing, '; ')}). "
            "The same command makes up for it; until then this is no result."
        )
    said.append(_opening(judgement, noun))
    for answer in ANSWERS:
        for control in dict.fromkeys(each.control for each in judgement.verdicts):
            group = [each for each in judgement.verdicts if each.answer == answer and each.control == control]
            if group:
                said.append(_group(answer, control, group, judgement))
    return said


def _opening(judgement: Judgement, noun: str) -> str:
    analysis = judgement.analysis
    if judgement.planned:
        sizes = analysis.look_sizes()
        which = f", look {judgement.look} of {len(sizes)}" if len(sizes) > 1 else ""
        begin = f"Planned{which}:"
    else:
        begin = f"Exploratory: {judgement.departure}."
    if not judgement.verdicts:
        return f"{begin} There is nothing to compare."
    tested = judgement.verdicts[0].family
    folds = any(each.difference.has_folds for each in judgement.verdicts)
    if not tested:
        return f"{begin} Nothing can be tested: a paired test needs two {_unit(folds)}s or more in common."
    level = f"{100 * analysis.level():.3g} %"
    where = " and ".join(f"{outcome}" for outcome in analysis.outcomes)
    comparisons, paired_by = f"{tested} comparison{'s' * (tested != 1)}", BY_FOLD if folds else "seed"
    return (
        f"{begin} Test {noun} at the {where} epoch, paired by {paired_by}, Holm-adjusted over {comparisons}, "
        f"level {level}; equivalent = within {PLUS_MINUS}{points_text(analysis.margin)}."
    )


def _group(answer: str, control: str, group: Sequence[Verdict], judgement: Judgement) -> str:
    """One sentence for all arms of one control that have the same answer."""
    outcomes = judgement.analysis.outcomes
    if answer == "not tested":
        return f"Not tested against {control}: {_named(group, outcomes, told=_reason)}."
    if answer == "undecided":
        return f"Undecided against {control}: {_named(group, outcomes)}. {_power(group)}"
    if answer == "equivalent":
        return f"Equivalent to {control}: {_named(group, outcomes)}."
    direction, _, less = answer.partition(", ")
    by = ", by less than the margin" if less else ""
    return f"{direction.capitalize()} than {control}{by}: {_named(group, outcomes, told=_estimate)}."


def _nothing(verdict: Verdict) -> str:
    return ""


def _named(group: Sequence[Verdict], outcomes: Sequence[str], told: Callable[[Verdict], str] = _nothing) -> str:
    """The arms of a group, each with its outcomes where there are several, and with what is told of them."""
    arms: dict[str, list[Verdict]] = {}
    for each in group:
        arms.setdefault(each.arm, []).append(each)
    entries = []
    for arm, verdicts in arms.items():
        told_of = {each.outcome: told(each) for each in verdicts}
        if len(outcomes) == 1 or (len(verdicts) == len(outcomes) and len(set(told_of.values())) == 1):
            inner = next(iter(told_of.values()))
        else:
            inner = "; ".join(f"{outcome} epoch{': ' * bool(said)}{said}" for outcome, said in told_of.items())
        entries.append(f"{arm} ({inner})" if inner else arm)
    return listed(entries)


def _estimate(verdict: Verdict) -> str:
    difference = verdict.difference
    interval = difference.interval()
    ends = f" {interval_text(interval)}" if interval else ""
    return f"{points(difference.mean, point_decimals(interval))} points{ends}, p {relation(verdict.p_holm)}"


BY_FOLD = "fold and seed, each fold by the mean of its seeds"
"""How arms are paired where the data set is dealt into folds."""


def _unit(folds: bool) -> str:
    """What a statement is over, in the singular."""
    return "fold" if folds else "seed"


def _reason(verdict: Verdict) -> str:
    found = verdict.difference
    return f"{'one' if found.seeds else 'no'} {_unit(found.has_folds)} in common"


ROUGH = 5
"""Of fewer values than so many a standard deviation is said to be a guess: its own error is two fifths or more."""


def _power(group: Sequence[Verdict]) -> str:
    """What the seeds or folds of undecided comparisons can see, and how many seeds would decide."""
    folds = group[0].difference.has_folds
    seeds = span([str(n) for n in sorted({len(each.difference.units) for each in group})])
    seen = [each.detectable for each in group if each.detectable is not None]
    said = ""
    if seen:
        alone, adjusted = (span([seen_text(pick(ends)) for pick in (min, max)]) for ends in zip(*seen, strict=True))
        many = f" in one test, {adjusted} under Holm" if group[0].family > 1 else ""
        said = f"{seeds} {_unit(folds)}s could see a difference of {alone} points{many} (80 % power). "
    further = [each.further for each in group]
    if None in further and folds:
        return f"{said}More seeds alone are not known to decide."
    if None in further:
        return f"{said}More than 100,000 seeds would be needed to decide."
    counts = [each for each in further if each is not None]
    if max(counts) == 0:
        return f"{said}So many decide four times in five; these did not."
    least, most = (_round(pick(counts)) for pick in (min, max))
    where = " in every fold" if folds else ""
    few = min(len(each.difference.units) for each in group)
    rough = f", a rough guess, since {few} {_unit(folds)}s hardly tell the scatter" if few < ROUGH else ""
    return f"{said}About {span([least, most])} more seeds{where} would decide{' each' * (least != most)}{rough}."


def seen_text(difference: float) -> str:
    """A difference that so many seeds can see, in points, with two digits or three; none is above 100."""
    return "over 100" if difference > 100 else f"{difference:.{1 if difference >= 1 else 2}f}"


def _round(count: int) -> str:
    """A count with two digits: it rests on a deviation that is itself a guess."""
    return f"{int(float(f'{count:.2g}')):,}"
