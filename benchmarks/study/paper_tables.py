"""The tables and sentences of the pages on the paper's form, each a generated block of ``tables.py``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from benchmarks.study.estimates import (
    MINUS,
    Estimate,
    bracket,
    difference,
    estimate,
    heterogeneity,
    p_value,
    signed,
    spread,
)
from benchmarks.study.paper_form import OTHER_ARMS
from benchmarks.study.pooled import LAST, PRIMARY, Cells, Contrast, cells, pooled, values_of

K = TypeVar("K")

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
IN_WORDS = {
    "uniform-replacement": "equal weights (arm `uniform-replacement`)",
    "spl-paper-replacement-reversed": "the same weights reversed (`spl-paper-replacement-reversed`)",
}
"""What the controls of the family are, for a page that has not introduced the arms."""

SETS = {
    "three-views": "three views",
    "two-views": "two views",
    "digits-speaker": "digits of unseen speakers",
    "digits-in-domain": "digits of known speakers",
    "tweets": "tweets",
}
"""What the sets are called on a page that has not introduced them."""

FEW_PARTS = "digits-speaker"
"""The set whose seeds share test parts: two of its six speakers, which are fifteen pairs."""


def table_row(values: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(values)} |"


def table_head(columns: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [table_row(columns), "|" + "---|" * len(columns)]


def name_of(contrast: Contrast) -> str:
    """As a column of the page is called."""
    return f" {MINUS} ".join(SHORT.get(each, each) for each in contrast)


def _with_fresh(found: Cells) -> Iterable[tuple[str, str, Cells]]:
    """Regime, how a row calls it, and its cells: each regime, and after it its fresh seeds where it was run again."""
    for regime, title in REGIMES.items():
        yield regime, title, found
        again = found.fresh(regime)
        if again is not None:
            yield regime, f"{title}, fresh seeds", again


# ---- the family ------------------------------------------------------------------------------------------------------


def regimes_table() -> str:
    """The family of tests: both contrasts in each regime, pooled over the sets."""
    found = cells()
    adjusted = found.adjusted()
    columns = [column for contrast in found.primary for column in (name_of(contrast), "p", "adjusted")]
    lines = table_head(["regime", "n", *columns])
    for regime, title in REGIMES.items():
        row = [title, str(len(found.protocol.seeds))]
        for contrast in found.primary:
            mean = found.of_regime(regime, contrast)
            row += [difference(mean), p_value(mean.p), p_value(adjusted[regime, contrast])]
        lines.append(table_row(row))
    return "\n".join(lines)


def verdicts() -> str:
    """What the plan's rules say, a line for each regime."""
    found = cells()
    adjusted, margin = found.adjusted(), found.said["primary"]["margin"]
    lines = []
    for regime, title in REGIMES.items():
        parts = []
        for contrast in found.primary:
            mean = found.of_regime(regime, contrast)
            if adjusted[regime, contrast] < 0.05:
                verdict = f"holds, {_side(mean)} the control, {_once_more(found, regime, contrast)}"
            elif mean.within(margin):
                verdict = f"equivalent within {margin:g} point, 90 % interval {bracket(mean.interval(0.90))}"
            else:
                verdict = "undecided"
            parts.append(f"{name_of(contrast)}: {verdict} ({_apart(found.per_set(regime, contrast))})")
        lines.append(f"- {title.capitalize()}: {'; '.join(parts)}.")
    return "\n".join(lines)


def _side(mean: Estimate) -> str:
    return "above" if mean.mean > 0 else "below"


def _once_more(found: Cells, regime: str, contrast: Contrast) -> str:
    """What the fresh seeds say of a contrast that held."""
    again = found.fresh(regime)
    if again is None:
        return "not run again"
    fresh = again.of_regime(regime, contrast)
    of_sets = _apart(again.per_set(regime, contrast), "their single sets")
    how = f"{fresh.n} fresh seeds ({signed(fresh.mean, 2)}, p {_equals(fresh.p)}; {of_sets})"
    return f"and again with {how}" if found.once_more(regime, contrast) else f"**and not** with {how}, which decide"


def _equals(p: float) -> str:
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def ends(found: Iterable[Estimate]) -> str:
    """The lowest and the highest mean."""
    means = [each.mean for each in found]
    return f"{signed(min(means), 2)} to {signed(max(means), 2)}"


def _apart(per_set: Sequence[Estimate], called: str = "single sets") -> str:
    """How far single sets lie apart, which their mean does not show; Cochran's Q is not in the plan."""
    p = heterogeneity(per_set)
    return f"{called} {ends(per_set)}{f': more than by chance, Q test, p {_equals(p)}' if p < 0.05 else ''}"


def test_parts_in_words() -> str:
    """How many test parts the seeds draw of the set that has few of them."""
    found = cells()
    first = set(found.test_parts(next(iter(REGIMES)), FEW_PARTS).values())
    of_again = [again.test_parts(regime, FEW_PARTS) for regime in REGIMES if (again := found.fresh(regime)) is not None]
    fresh = {part for each in of_again for part in each.values()}
    return (
        f"Of {FEW_PARTS} the {len(found.protocol.seeds)} seeds draw {len(first)} different test parts, the "
        f"{len(of_again[0])} fresh ones {len(fresh)}, and {len(first & fresh)} are in both."
    )


def test_parts_table() -> str:
    """Both contrasts where the seeds that share a test part are one value; the fresh seeds' p is not adjusted."""
    found = cells()
    adjusted = found.adjusted(parts_of=FEW_PARTS)
    columns = [column for contrast in found.primary for column in (name_of(contrast), "p", "adjusted")]
    lines = table_head(["regime", "n", *columns])
    for regime, title, each in _with_fresh(found):
        means = [each.of_test_parts(regime, contrast, FEW_PARTS) for contrast in each.primary]
        row = [title, str(means[0].n)]
        for contrast, mean in zip(each.primary, means, strict=True):
            row += [difference(mean), p_value(mean.p), p_value(adjusted[regime, contrast]) if each is found else ""]
        lines.append(table_row(row))
    return "\n".join(lines)


def fresh_table() -> str:
    """The regimes that were run again, pooled and each set by itself."""
    found = cells()
    columns = [column for contrast in found.primary for column in (name_of(contrast), "p", *found.said["sets"])]
    lines = table_head(["regime", "n", *columns])
    for regime, title in REGIMES.items():
        again = found.fresh(regime)
        if again is not None:
            means = [again.of_regime(regime, contrast) for contrast in again.primary]
            row = [title, str(means[0].n)]
            for contrast, mean in zip(again.primary, means, strict=True):
                row += [difference(mean), p_value(mean.p), *map(difference, again.per_set(regime, contrast))]
            lines.append(table_row(row))
    return "\n".join(lines)


def sets_table() -> str:
    """Both contrasts on each set by itself."""
    found = cells()
    lines = table_head(["regime", "contrast", *found.said["sets"]])
    for regime, title in REGIMES.items():
        for contrast in found.primary:
            lines.append(table_row([title, name_of(contrast), *map(difference, found.per_set(regime, contrast))]))
    return "\n".join(lines)


# ---- secondary -------------------------------------------------------------------------------------------------------


def last_table() -> str:
    """Both contrasts at the last epoch, pooled, without adjustment; with fresh seeds where there are."""
    found = cells()
    columns = [
        column for contrast in found.primary for column in (name_of(contrast), "p", f"the same without {FEW_PARTS}")
    ]
    lines = table_head(["regime", "n", *columns])
    for regime, title, each in _with_fresh(found):
        means = [each.of_regime(regime, contrast, LAST) for contrast in each.primary]
        row = [title, str(means[0].n)]
        for contrast, mean in zip(each.primary, means, strict=True):
            rest = each.of_regime(regime, contrast, LAST, without=[FEW_PARTS])
            row += [difference(mean), p_value(mean.p), difference(rest)]
        lines.append(table_row(row))
    return "\n".join(lines)


def last_sets_table() -> str:
    """Both contrasts at the last epoch on each set by itself, with fresh seeds where there are."""
    found = cells()
    lines = table_head(["regime", "contrast", *found.said["sets"]])
    for regime, title, each in _with_fresh(found):
        for contrast in found.primary:
            means = map(difference, each.per_set(regime, contrast, LAST))
            lines.append(table_row([title, name_of(contrast), *means]))
    return "\n".join(lines)


def secondary_table(column: str = PRIMARY) -> str:
    """Other contrasts, pooled, one by one without adjustment.

    Args:
        column: the outcome.
    """
    found = cells()
    arms = ["spl-paper-replacement", "spl-paper", "uniform-replacement", "spl-paper-replacement-reversed", "spl"]
    arms.append("random-pacing")
    lines = table_head(["regime", "accuracy of uniform order, %", *arms])
    for regime, title in REGIMES.items():
        per_set = [values_of(found.studies[regime, name], "uniform", column) for name in found.said["sets"]]
        level = estimate(pooled(per_set, found.protocol.seeds)).mean
        means = [found.of_regime(regime, (arm, "uniform"), column) for arm in arms]
        lines.append(table_row([title, f"{level:.1f}", *map(difference, means)]))
    return "\n".join(lines)


def arms_table() -> str:
    """Accuracy of all arms on the data as they are."""
    found = cells()
    names = list(found.said["sets"])
    arms = list(dict.fromkeys([*found.said["arms"], *found.said["other_arms"]["on_every_set"]]))
    arms += sorted({arm for each in found.said["other_arms"]["arms"].values() for arm in each})

    def cell(arm: str, name: str) -> str:
        for regime in ("as-they-are", OTHER_ARMS):
            if values := values_of(found.studies[regime, name], arm, PRIMARY):
                return spread([value / 100 for value in values.values()])
        return ""

    rows = [table_row([arm, *(cell(arm, name) for name in names)]) for arm in arms]
    return "\n".join([*table_head(["arm", *names]), *rows])


def others_table() -> str:
    """The other arms minus uniform order of the same cell, on each set and pooled, one by one without adjustment."""
    found = cells()
    lines = table_head(["arm", *found.said["sets"], "mean of the sets"])
    for arm in found.said["other_arms"]["on_every_set"]:
        if arm != "uniform":
            contrast = arm, "uniform"
            means = [*found.per_set(OTHER_ARMS, contrast), found.of_regime(OTHER_ARMS, contrast)]
            lines.append(table_row([arm, *map(difference, means)]))
    return "\n".join(lines)


def made_by() -> str:
    """Where the runs were made."""
    found = cells()
    again = list(found.again.studies.values()) if found.again is not None else []
    studies = [*found.studies.values(), *again]
    runs = sum(len(study.rows) for study in studies)
    failed = sum(bool(row.get("failed")) for study in studies for row in study.rows)
    made = [study.constants for study in studies]
    regimes, others = (
        next(each.constants["commit"][:7] for (name, _), each in found.studies.items() if (name == OTHER_ARMS) == other)
        for other in (False, True)
    )
    processors = " or ".join(sorted({each["processor"] for each in made}))
    versions = made[0]["versions"]
    return (
        f"{runs} runs ({failed} of them not finite) in {len(found.studies)} cells and {len(again)} with fresh seeds, "
        f"the regimes on commit {regimes}, the other arms on\n{others}: {processors},\n"
        f"{made[0]['threads']} thread a run, torch {versions['torch']}, Python {versions['python']}."
    )


# ---- in short --------------------------------------------------------------------------------------------------------


def in_short() -> str:
    """The README's lines on the family, on uniform order, and on the last epoch."""
    found = cells()
    return "\n".join([*(_family_in_short(found, each) for each in found.primary), _order_in_short(found), _last(found)])


def _family_in_short(found: Cells, contrast: Contrast) -> str:
    adjusted, margin = found.adjusted(), found.said["primary"]["margin"]
    means = {regime: found.of_regime(regime, contrast) for regime in REGIMES}
    fates: dict[str, list[str]] = {}
    for regime, mean in means.items():
        if adjusted[regime, contrast] < 0.05:
            words = {True: "with fresh seeds too", False: "not with fresh seeds", None: "not run again"}
            fate = f"{_side(mean)} them, {words[found.once_more(regime, contrast)]}, in"
            fates.setdefault(fate, []).append(REGIMES[regime])
    alike = [REGIMES[regime] for regime, mean in means.items() if mean.within(margin)]
    if alike:
        fates[f"within {margin:g} point of 0 (equivalent) in"] = alike
    said = "; ".join(f"{words}: {', '.join(regimes)}" for words, regimes in fates.items()) or "undecided in all"
    sets, seeds = len(found.said["sets"]), len(found.protocol.seeds)
    of_sets = ends(each for regime in REGIMES for each in found.per_set(regime, contrast))
    return (
        f"- **The paper's weights, drawn with replacement**, minus {IN_WORDS[contrast[1]]}:\n"
        f"  {ends(means.values())} points in {len(REGIMES)} regimes (mean of {sets} sets, {seeds} seeds; single sets "
        f"{of_sets}).\n  {said[0].upper()}{said[1:]}."
    )


def sides(means: Mapping[K, Estimate], told: Callable[[list[K]], str] = ", ".join) -> str:
    """Where the 95 % interval leaves out 0, and on which side.

    Args:
        means: by what they are of.
        told: names some of the keys.
    """
    found: dict[str, list[K]] = {}
    for where, mean in means.items():
        low, high = mean.interval(0.95)
        if low > 0 or high < 0:
            found.setdefault(_side(mean), []).append(where)
    return "; ".join(f"{side} 0 in: {told(where)}" for side, where in found.items()) or "0 is in every interval"


def _order_in_short(found: Cells) -> str:
    said = []
    for arm, how in (("spl-paper-replacement", "with"), ("spl-paper", "without")):
        means = {title: found.of_regime(regime, (arm, "uniform")) for regime, title in REGIMES.items()}
        said.append(f"drawn {how} replacement {ends(means.values())} points ({sides(means)})")
    return (
        f"- **The paper's weights minus uniform order**, secondary, 95 % intervals without any adjustment:\n"
        f"  {said[0]},\n  {said[1]}."
    )


def _last(found: Cells) -> str:
    contrast = found.primary[0]
    arm, control = contrast
    twice = {
        regime: again
        for regime in REGIMES
        if (again := found.fresh(regime)) is not None
        and found.of_regime(regime, contrast, LAST).p < 0.05
        and found.once_more(regime, contrast, LAST)
    }
    if not twice:
        return "- **At the last epoch**, a secondary outcome: nothing that came back with fresh seeds."

    def fresh(regime: str) -> str:
        mean = twice[regime].of_regime(regime, contrast, LAST)
        rest = twice[regime].of_regime(regime, contrast, LAST, without=[FEW_PARTS])
        return f"{REGIMES[regime]} {signed(mean.mean, 2)} ({difference(rest)})"

    order = ends(found.of_regime(regime, (arm, "uniform"), LAST) for regime in REGIMES)
    return (
        f"- **At the last epoch**, secondary and without adjustment as well, the paper's weights differ from\n"
        f"  {IN_WORDS[control]} in these regimes, with the first seeds and with fresh ones (p < 0.05). The mean\n"
        f"  difference with fresh seeds, and in brackets without the {SETS.get(FEW_PARTS, FEW_PARTS)}:\n"
        f"  {', '.join(map(fresh, twice))}.\n"
        f"  Minus uniform order, with the first seeds, they are {order} points there."
    )
