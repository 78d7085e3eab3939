"""Numbers and lists as the text of a report: signs, decimals, intervals, p values, seeds."""

import re
from collections.abc import Collection, Sequence

from bss.compare.pairs import Pair, fold_of, seed_of
from bss.compare.statistics import NO_SCATTER, mean_and_std

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


MINUS = "\N{MINUS SIGN}"


DASH = "-"


MOST_NAMED = 6
"""The most that a sentence lists; a study has thirty arms."""


NEAR_ZERO = 0.1
"""An end of an interval that is nearer to 0 is written with two decimals: "0.0" would not say on which side it is."""


def span(texts: Sequence[str]) -> str:
    """What lies between the first and the last of some texts: ``"3"``, or ``"3 to 7"``."""
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def listed(entries: Collection[str], separator: str = ", ") -> str:
    """Some texts as a list, of which a long one is cut: ``"a, b, c, d, e and 4 more"``."""
    known = list(entries)
    if len(known) <= MOST_NAMED:
        return separator.join(known)
    return f"{separator.join(known[: MOST_NAMED - 1])} and {len(known) - MOST_NAMED + 1} more"


def seeds_text(seeds: Collection[int]) -> str:
    """Seeds in words: ``3 to 7``, or one by one where some between are not there."""
    ordered = sorted(seeds)
    whole = len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1))
    return f"{ordered[0]} to {ordered[-1]}" if whole else ", ".join(map(str, ordered))


def pairs_text(pairs: Collection[Pair]) -> str:
    """:func:`seeds_text`, also of seeds of folds: ``0, 1 in fold 0; 0 in fold 2``."""
    seeds: dict[int | None, list[int]] = {}
    for pair in pairs:
        seeds.setdefault(fold_of(pair), []).append(seed_of(pair))
    told = [
        seeds_text(found) + ("" if fold is None else f" in fold {fold}")
        for fold, found in sorted(seeds.items(), key=lambda each: each[0] or 0)
    ]
    return "; ".join(told)


def mean_text(values: Sequence[float], *, digits: int = 1) -> str:
    """Mean and standard deviation as text, ``66.3 +- 3.3``. A single value has no deviation; no value is a dash."""
    if not values:
        return DASH
    mean, std = mean_and_std(values)
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} {PLUS_MINUS} {std:.{digits}f}"


def points(value: float | None, decimals: int = 1) -> str:
    """Percentage points as text with their sign, ``+1.2``; what rounds to 0 has none, and None is a dash."""
    if value is None:
        return DASH
    text = f"{value:+.{decimals}f}".replace("-", MINUS)
    return text[1:] if float(f"{value:.{decimals}f}") == 0 else text


def points_text(count: float) -> str:
    """A number of percentage points in words: ``1 point``, ``2.5 points``."""
    return f"{count:g} point{'s' * (count != 1)}"


def point_decimals(interval: tuple[float, float] | None) -> int:
    """How many decimals an interval and its mean have: two where an end is within 0.1 of 0, and else one."""
    return 2 if interval is not None and min(map(abs, interval)) < NEAR_ZERO else 1


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval of percentage points as text, ``[-0.6, +3.0]``; None is a dash.

    An end keeps its sign where it rounds to 0: whether 0 is inside of the interval is what a reader looks for.
    """
    if interval is None:
        return DASH
    decimals = point_decimals(interval)
    ends = (f"{end:+.{decimals}f}" if abs(end) > NO_SCATTER else f"{0:.{decimals}f}" for end in interval)
    return f"[{', '.join(ends)}]".replace("-", MINUS)


def p_text(p: float | None) -> str:
    """A p value as text with three digits, or ``<0.001``; None is a dash."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def relation(p: float | None) -> str:
    """A p value behind its letter: ``= 0.042`` or ``< 0.001``."""
    text = p_text(p)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


_LEADING = re.compile(rf"[\[<]?([+\-{MINUS}]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?=$|[\s%,\]])")


def leading_number(text: str) -> float | None:
    """The number that the text of a cell begins with, by which a column sorts; None where it is a word, or a dash.

    Of ``"[-0.6, +3.0]"`` it is -0.6, of ``"<0.001"`` 0.001, of ``"1,200 to 1,300"`` 1200 and of ``"66.3 +- 3.3"`` 66.3.
    """
    found = _LEADING.match(text)
    return float(found[1].replace(MINUS, "-").replace(",", "")) if found else None
