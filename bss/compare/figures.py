"""The figures of a report, as SVG text: small panels, which a phone shows below one another.

Colours are those that colour-blind readers tell apart; lines differ in their dashes too. What belongs to an arm, and
what stands for a number, say so, see :mod:`bss.compare.chart`.
"""

import base64
import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bss.compare.chart import (
    BLACK,
    COLOURS,
    GREY,
    GRID,
    MARGIN,
    WHOLE,
    Axis,
    Chart,
    Dash,
    Tick,
    drawable,
    paint,
)
from bss.compare.runs import BINS, FinishedRun
from bss.compare.statistics import Difference, band
from bss.compare.wording import PLUS_MINUS, interval_text, points
from bss.scoring.calibration import Reliability

if TYPE_CHECKING:
    import numpy as np

DASHES: tuple[Dash, ...] = (WHOLE, (5, 1.5), (1.5, 1.2), (6, 1.5, 1.5, 1.5), (3, 1), (8, 2))


INCH = 72.0
"""Points, in which heights of figures are given."""


HISTOGRAM_EPOCHS = 4
"""The most epochs that one histogram shows: more lines are not told apart."""


VALUES = 40
"""The most points of a line that have their value in the figure."""


VALUES_OF_SECTION = 6_000
"""About how many values the lines of a section have together: each takes 90 bytes, and a page shall stay small."""


def values_of(lines: int) -> int:
    """How many points of a line have their value, in a section with so many lines."""
    return max(5, min(VALUES, VALUES_OF_SECTION // max(lines, 1)))


def _short(arm: str) -> str:
    """The name of an arm, in lines of a length that leaves room for the data."""
    return "\n".join(textwrap.wrap(drawable(arm).replace("+", " + "), 22, break_on_hyphens=True))


def forest(differences: Sequence[Difference], unit: str, margin: float) -> str:
    """Draw every arm's difference to the control: a dot per seed, the mean and its intervals of 95 % and of 90 %.

    Args:
        differences: to one control; at least one of them has a mean, and those without are left out.
        unit: of the numbers, for the axis.
        margin: in that unit; a band shows which means do not matter.
    """
    known = [each for each in differences if each.mean is not None]
    names = [_short(each.arm) for each in known]
    row = 0.27 if all("\n" not in name for name in names) else 0.36  # inches
    chart = Chart(
        (0.9 + row * len(known)) * INCH,
        Axis(f"minus {known[0].control}, {unit}"),
        Axis(ends=(len(known) - 0.5, -0.5), ticks=_named_rows(names, [each.arm for each in known]), grid=False),
    )
    chart.stripe(MARGIN, (-margin, margin))
    chart.across(BLACK, x=0)
    for place, each in enumerate(known):
        told = [f"seed {seed}: {points(value)}" for seed, value in zip(each.seeds, each.values, strict=True)]
        height = [place + 0.28] * len(told)
        chart.dots(each.values, height, GREY, size=4, opacity=0.7, of=each.arm, titles=told)
        said = f"mean {points(each.mean)} {interval_text(each.interval())}, n = {len(told)}"
        for confidence, width in ((0.95, 1.2), (0.90, 3.5)):
            if (interval := each.interval(confidence)) is not None:
                chart.line(interval, [place] * 2, COLOURS[1], width=width, of=each.arm, title=said)
        assert each.mean is not None
        chart.dots([each.mean], [place], COLOURS[1], size=6, diamond=True, of=each.arm, titles=[said])
    return chart.svg()


def _named_rows(names: Sequence[str], arms: Sequence[str] = ()) -> list[Tick]:
    """Names from above to below; those of arms belong to them."""
    return [Tick(row, name, arm) for row, (name, arm) in enumerate(itertools.zip_longest(names, arms, fillvalue=""))]


def groups(arms: Sequence[str], control: str) -> list[list[str]]:
    """Deal the arms to panels: the control and six of the others, which is what one panel can show, in each."""
    others = [arm for arm in arms if arm != control]
    size = len(COLOURS)
    return [[control, *others[at : at + size]] for at in range(0, max(len(others), 1), size)]


def looks(arms: Sequence[str], control: str) -> dict[str, tuple[str, Dash]]:
    """Colour and dashes of every arm of a panel; the control is black and whole."""
    others = [arm for arm in arms if arm != control]
    return {control: (BLACK, WHOLE), **dict(zip(others, zip(COLOURS, DASHES, strict=True), strict=False))}


def swatch(colour: str, dash: Dash) -> str:
    """A piece of an arm's line, as it is in the figures, to stand beside its name: 2 em wide."""
    pattern = " ".join(f"{2 * length:g}" for length in dash) or "none"
    line = f"stroke:{paint(colour)};stroke-width:2;stroke-dasharray:{pattern}"
    return f'<svg class="swatch" viewBox="0 0 32 8" aria-hidden="true"><path d="M0 4H32" style="{line}"/></svg>'


Curves = Mapping[str, Sequence[tuple[Sequence[int], Sequence[float]]]]
"""Arm -> updates and values of each of its runs."""


def measured(arms: Mapping[str, Sequence[FinishedRun]], path: Sequence[str]) -> Curves | None:
    """A number of ``metrics.jsonl`` over the updates, of the runs that have it; None where no run does.

    Args:
        arms: with their runs.
        path: keys that lead to the number in a row.
    """
    found = {arm: [curve for run in members if (curve := run.curve(*path))[0]] for arm, members in arms.items()}
    return found if any(found.values()) else None


def curves(found: Curves, control: str, label: str, scale: float = 1.0, values: int = VALUES) -> str:
    """Draw a number over the updates: mean of the seeds, and a band of one standard deviation.

    Args:
        found: the curves of the arms of one panel; an arm may have none.
        control: drawn in black.
        label: of the vertical axis.
        scale: factor for the numbers.
        values: the most points of a line that have their value.
    """
    digits = 1 if scale == 100 else 3
    chart = Chart(3.1 * INCH, Axis("updates"), Axis(label))
    look = {arm: colours for arm, colours in looks(list(found), control).items() if found[arm]}
    drawn = {arm: band([(steps, [scale * value for value in y]) for steps, y in found[arm]]) for arm in look}
    # All bands first: one that lay above another arm's line would take its values from the pointer.
    for arm, (x, mean, std) in drawn.items():
        low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
        chart.area(x, low, high, look[arm][0], opacity=0.12, of=arm)
    for arm, (x, mean, _) in drawn.items():
        colour, dash = look[arm]
        chart.line(x, mean, colour, dash=dash, of=arm, title=arm, label=arm)
        if len(x) == 1:
            chart.dots(x, mean, colour, size=5, of=arm)
    for arm, columns in drawn.items():
        told = {
            (at, m): f"{at:,.0f} updates: {m:.{digits}f} {PLUS_MINUS} {s:.{digits}f}"
            for at, m, s in zip(*columns, strict=True)
        }
        _tell(chart, arm, told, values)
    return chart.svg()


def _tell(chart: Chart, arm: str, told: Mapping[tuple[float, float], str], most: int = VALUES) -> None:
    """Put values under the pointer: marks that are not seen, at some of the points where there are many.

    Args:
        chart: in which the points are.
        arm: that they belong to; empty = none.
        told: point -> what is said of it.
        most: that are told.
    """
    chosen = _spread(list(told), most)
    titles = [told[point] for point in chosen]
    chart.dots([x for x, _ in chosen], [y for _, y in chosen], BLACK, size=8, opacity=0, of=arm, titles=titles)


def _spread(entries: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the entries, evenly spread, with the first and the last."""
    count = min(most, len(entries))
    return [entries[round(at * (len(entries) - 1) / max(count - 1, 1))] for at in range(count)]


def classes(
    arms: Sequence[str], control: str, names: Sequence[str], means: Mapping[str, Sequence[float]], label: str
) -> str:
    """Draw a number of every class: a row for each, and a dot in it for each arm.

    Args:
        arms: those of one panel.
        control: drawn in black.
        names: of the classes; at least one.
        means: arm -> its number in every class; an arm without any is left out.
        label: of the numbers' axis.
    """
    chart = Chart(
        (1.2 + 0.24 * len(names)) * INCH,
        Axis(label),
        Axis(ends=(len(names) - 0.5, -0.5), ticks=_named_rows([_short(name) for name in names]), grid=False),
    )
    for row in range(1, len(names)):
        chart.across(GRID, y=row - 0.5, width=0.6)
    look = looks(arms, control)
    for place, (arm, (colour, _)) in enumerate(look.items()):
        if arm in means:
            shift = 0.6 * (place - (len(look) - 1) / 2) / len(look)
            told = [f"{name}: {mean:.1f}" for name, mean in zip(names, means[arm], strict=True)]
            height = [row + shift for row in range(len(names))]
            chart.dots(means[arm], height, colour, size=5, of=arm, titles=told, label=arm)
    return chart.svg()


def degradation(
    heights: Mapping[str, Sequence[Sequence[float]]],
    flat: Mapping[str, float],
    places: Sequence[float],
    ticks: Sequence[str],
    *,
    axis: str,
) -> str:
    """Draw accuracy against the level of a disturbance: a dot for each corruption seed, lines through their means.

    Args:
        heights: of each line, for each level the accuracies of the seeds, in percent.
        flat: name -> accuracy of what is not disturbed; dashed lines across.
        places: of the levels on the axis.
        ticks: what stands below them.
        axis: label of the levels.
    """
    named = [Tick(place, tick) for place, tick in zip(places, ticks, strict=True)]
    chart = Chart(3.1 * INCH, Axis(axis, ticks=named), Axis("accuracy %"))
    for (line, levels), colour in zip(heights.items(), itertools.cycle(COLOURS)):
        means = [sum(seeds) / len(seeds) for seeds in levels]
        chart.line(places, means, colour, label=line)
        x = [place for place, seeds in zip(places, levels, strict=True) for _ in seeds]
        chart.dots(x, [value for seeds in levels for value in seeds], colour, size=4, opacity=0.6)
        told = zip(places, means, ticks, levels, strict=True)
        _tell(chart, "", {(x, y): f"{line} {tick}: {y:.1f} %, n = {len(seeds)}" for x, y, tick, seeds in told})
    for (line, height), dash in zip(flat.items(), itertools.cycle(DASHES[1:])):
        chart.across(BLACK, y=height, dash=dash, label=line)
    return chart.svg()


def spreads(runs: Sequence[FinishedRun]) -> tuple[dict[int, "np.ndarray"], int] | None:
    """How the difficulty of the training samples is spread, before some of the epochs that were scored.

    Args:
        runs: of one arm.

    Returns:
        0-based epoch -> percent of the scores of all seeds in each of the bins, and how many scores these are; None for
        an arm without scores.
    """
    scored = [run.scored for run in runs]
    common = sorted(set.intersection(*(set(each.epochs) for each in scored)))
    if not common:
        return None
    shares, count = {}, 0
    for epoch in _spread(common, HISTOGRAM_EPOCHS):
        places = [(each, each.epochs.index(epoch)) for each in scored]
        count = sum(int(each.known_E[place]) for each, place in places)
        shares[epoch] = 100 * sum(each.counts_EB[place] for each, place in places) / max(count, 1)
    return shares, count


def histogram(arm: str, shares: Mapping[int, "np.ndarray"], values: int = VALUES) -> str:
    """Draw how the difficulty of the training samples is spread, see :func:`spreads`.

    Args:
        arm: its name.
        shares: 0-based epoch -> percent of the scores in each bin.
        values: the most bars of a line that have their value.
    """
    chart = Chart(2.6 * INCH, Axis("difficulty (0 = balanced)"), Axis("% of the samples"))
    edges = [float(edge) for edge in BINS for _ in range(2)]
    for colour, dash, (epoch, share) in zip(COLOURS, DASHES, shares.items(), strict=False):
        steps = [0.0, *(float(height) for height in share for _ in range(2)), 0.0]
        chart.line(edges, steps, colour, dash=dash, label=f"epoch {epoch + 1}")
        told = {
            ((low + high) / 2, height): f"epoch {epoch + 1}, {low:.2f} to {high:.2f}: {height:.1f} %"
            for low, high, height in zip(BINS, BINS[1:], share, strict=False)
            if height > 0
        }
        _tell(chart, arm, told, values)
    return chart.svg()


def reliability(curve: Reliability) -> str:
    """Draw how often predictions are right against how sure they are, with the number of samples in each bin.

    A bar is a bin, as high as its accuracy; a mark is its mean confidence on the diagonal, and the line between the two
    is what the calibration error adds up.

    Args:
        curve: in bins of equal width.
    """
    bins = curve.bins
    fifths = [Tick(place / 5, f"{place / 5:.1f}") for place in range(6)]
    label = "confidence of the predicted class; above: samples in the bin"
    room = 1.12  # for the numbers
    chart = Chart(3.6 * INCH, Axis(label, (0, 1), fifths), Axis("share of right predictions", (0, room), fifths))
    each = zip(curve.edges[:-1], curve.edges[1:], *map(list, bins), strict=True)
    held = [tuple(map(float, found)) for found in each if found[2]]
    for low, high, _, _, accuracy in held:
        chart.box(COLOURS[5], (low, high), (0, accuracy), opacity=0.6)
    chart.line([0, 1], [0, 1], BLACK, width=1, dash=DASHES[1])
    for low, high, weight, confidence, accuracy in held:
        chart.line([confidence] * 2, [confidence, accuracy], COLOURS[0])
        chart.words((low + high) / 2, 1.02, f"{weight:.0f}", size=6, turned=True)
    confidences = [found[3] for found in held]
    chart.dots(confidences, confidences, COLOURS[0], size=4, diamond=True)
    return chart.svg()


def confusion(matrix_CC: "np.ndarray", classes: Sequence[str]) -> str:
    """Draw a confusion matrix: each row is a true class, shaded by the share of its samples in each predicted one.

    Args:
        matrix_CC: counts, the truth in the rows.
        classes: names; where they are more than :data:`NAMED_CLASSES`, some of their numbers stand at the axes.
    """
    import numpy as np

    size = len(classes)
    share_CC = matrix_CC / np.maximum(matrix_CC.sum(axis=1, keepdims=True), 1)
    named = _named_rows([_short(each) for each in classes]) if size <= NAMED_CLASSES else None
    chart = Chart(
        (3.4 if size <= NAMED_CLASSES else 4.4) * INCH,
        Axis("predicted", (-0.5, size - 0.5), named, grid=False, upright=named is not None, size=7),
        Axis("true", (size - 0.5, -0.5), named, grid=False, size=7),
        square=True,
    )
    chart.picture(_picture(share_CC), x=(-0.5, size - 0.5), y=(-0.5, size - 0.5))
    if size <= COUNTED_CLASSES:
        for row, column in np.argwhere(matrix_CC > 0):
            # The cells are as light in the dark as on paper: no variable, as that of BLACK would be.
            shade = "#ffffff" if share_CC[row, column] > 0.6 else "#111111"
            chart.words(float(column), float(row), f"{matrix_CC[row, column]}", size=7, colour=shade)
    return chart.svg()


def _picture(share_CC: "np.ndarray") -> str:
    """Numbers from 0 to 1 as the ``data:`` address of a PNG, a pixel each, from nearly white to a dark blue."""
    import numpy as np
    from PIL import Image

    places = np.linspace(0, 1, len(BLUES))
    channels = [np.interp(share_CC, places, [int(blue[at : at + 2], 16) for blue in BLUES]) for at in (1, 3, 5)]
    buffer = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


BLUES = (
    *("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6"),
    *("#4292c6", "#2171b5", "#08519c", "#08306b"),
)
"""Nine shades, light to dark; between them the colours go straight. Source: Brewer, ColorBrewer 2.0, "Blues"."""


NAMED_CLASSES = 32
"""The most classes whose names a confusion matrix shows."""


COUNTED_CLASSES = 12
"""The most classes whose counts stand in its cells."""
