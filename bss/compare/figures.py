"""The figures of a report, as SVG text: small panels, which a phone shows below one another.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; lines differ in their dashes too. Every
colour is a CSS variable with the colour of paper behind it, so that a page can be dark. What belongs to an arm has its
name in ``data-arm``, and what stands for a number has it in a ``<title>``, which a browser shows where one points.
"""

import io
import itertools
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from bss.compare.runs import BINS, FinishedRun
from bss.compare.statistics import Difference, band
from bss.compare.wording import PLUS_MINUS, interval_text, points
from bss.scoring.calibration import Reliability
from bss.utils import processes

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK = "#000000"


COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of the arms; the control is black. Source: Okabe and Ito, "Color Universal Design", 2008; without its yellow,
which is too light for a line on white."""


VARIABLES = {
    BLACK: "ink",
    "#dddddd": "grid",
    "#eeeeee": "margin",
    "#777777": "seed",
    **{colour.lower(): f"arm{place + 1}" for place, colour in enumerate(COLOURS)},
}
"""Colour on paper -> the CSS variable that a page may set it by."""


DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)))


WIDTH = 4.4
"""Inches of a panel. Shown at 350 pixels, the width of a phone, its letters are still 10 pixels high."""


HISTOGRAM_EPOCHS = 4
"""The most epochs that one histogram shows: more lines are not told apart."""


VALUES = 40
"""The most points of a line that have their value in the figure."""


VALUES_OF_SECTION = 6_000
"""About how many values the lines of a section have together: each takes 90 bytes, and a page shall stay small."""


def values_of(lines: int) -> int:
    """How many points of a line have their value, in a section with so many lines."""
    return max(5, min(VALUES, VALUES_OF_SECTION // max(lines, 1)))


@contextmanager
def _figure(height: float) -> Iterator["Figure"]:
    """A figure as wide as a panel, in the look of the page. It is drawn and made SVG inside the block."""
    import matplotlib
    from matplotlib.figure import Figure

    # What a user's own matplotlibrc says (TeX, fonts) is not for these; a backend stays chosen.
    plain = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    look = plain | {
        "text.parse_math": False,  # the name of an arm may have a dollar in it
        "svg.fonttype": "path",  # letters are shapes: every browser shows them as wide as they were laid out for
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "figure.facecolor": "none",  # the page shows through
        "axes.facecolor": "none",
    }
    with matplotlib.rc_context(look):
        yield Figure(figsize=(WIDTH, height), layout="constrained")


def _of(arm: str, *titles: str) -> str:
    """What :func:`_svg` knows a group by, for ``set_gid``: the arm that it belongs to, and its value or its marks'."""
    return json.dumps([arm, *titles])


def drawable(name: str) -> str:
    """A name with a mark in place of each character that no SVG can hold: of control, and half of a pair.

    Names of classes and files come from the user's data, and one of them must not end a report after all training.
    """
    return re.sub("[^\\t\\n\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]", "\N{REPLACEMENT CHARACTER}", name)


def _svg(figure: "Figure", name: str) -> str:
    """The text of a figure, for a page that holds several; equal figures of one name are equal text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.text import Text

    for each in figure.findobj(Text):
        assert isinstance(each, Text)
        if (clean := drawable(each.get_text())) != each.get_text():  # the labels of ticks are made anew, see _short
            each.set_text(clean)
    text, canvas, engine = io.StringIO(), FigureCanvasSVG(figure), figure.get_layout_engine()
    with matplotlib.rc_context({"svg.hashsalt": drawable(name)}):
        if engine is not None:  # for which savefig would draw the whole figure once more
            engine.execute(figure)
            figure.set_layout_engine("none")
        canvas.print_svg(text, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(text.getvalue())
    look = f"fill: {BLACK}; stroke-linejoin: round; stroke-linecap: butt"
    head = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true", "style": look}
    root.attrib.clear()
    root.attrib |= head
    for child in [each for each in root.iter() if each.tag in (f"{SVG}metadata", f"{SVG}style")]:
        next(parent for parent in root.iter() if child in list(parent)).remove(child)
    looks: dict[str | None, str] = {}
    for element in root.iter():
        element.text = element.tail = None  # nothing but white space, as letters are shapes
        _compact(element.attrib)
        looks[f"#{element.get('id')}"] = element.get("style", "")
        if element.tag == f"{SVG}use" and looks.get(element.get("href")) == element.get("style"):
            element.attrib.pop("style", None)  # its shape says so itself
    for group in root.iter(f"{SVG}g"):
        _name(group)
    _dissolve(root)
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")


SVG = "{http://www.w3.org/2000/svg}"


LINK = "{http://www.w3.org/1999/xlink}href"


LETTER = "g"
"""What the ids of the shapes of letters begin with: one id is one shape in all figures."""


ElementTree.register_namespace("", SVG[1:-1])  # else every tag has a prefix


def _dissolve(element: ElementTree.Element) -> None:
    """Put the children of groups that say nothing into their place."""
    children: list[ElementTree.Element] = []
    for child in element:
        _dissolve(child)
        children += list(child) if child.tag == f"{SVG}g" and not child.attrib else [child]
    element[:] = children


def _compact(attributes: dict[str, str]) -> None:
    """Write the attributes of an element shorter, and its colours as variables. A page has ten thousands of elements.

    Places are rounded to a tenth of a point, which nobody sees; a scale is not.
    """
    if LINK in attributes:
        attributes["href"] = attributes.pop(LINK)
    for key in {"id", "href"} & attributes.keys():
        attributes[key] = attributes[key].replace("DejaVuSans-", LETTER)
    moved = re.fullmatch(r"translate\(([-\d.]+) 0\)", attributes.get("transform", ""))
    if moved and "href" in attributes:  # a letter
        del attributes["transform"]
        attributes["x"] = moved[1]
    if "transform" in attributes:
        place, word, scale = attributes["transform"].partition("scale")
        attributes["transform"] = _rounded(place) + word + scale
    for key in {"d", "x", "y"} & attributes.keys():
        attributes[key] = _rounded(attributes[key])
    if "d" in attributes:
        words = " ".join(attributes["d"].split())
        words = re.sub(r"(?<=L) (\S+ \S+)((?: L \S+ \S+)+)", lambda line: line[1] + line[2].replace(" L", ""), words)
        attributes["d"] = re.sub(r" ?([A-Za-z]) ?", r"\1", words)
    if "style" in attributes:
        attributes["style"] = (
            re.sub("#[0-9a-f]{6}", _variable, attributes["style"]).replace(": ", ":").replace("; ", ";")
        )


def _rounded(text: str) -> str:
    """A text with its numbers to a tenth."""
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), text)


def _variable(colour: re.Match[str]) -> str:
    name = VARIABLES.get(colour[0])
    return f"var(--{name},{colour[0]})" if name else colour[0]


def _name(group: ElementTree.Element) -> None:
    """Replace what :func:`_of` put into a group's id by its arm and its values; other groups lose their id.

    matplotlib counts groups from 1 in each figure, and a page has many.
    """
    told = group.attrib.pop("id", "")
    if not told.startswith("["):
        return
    arm, *titles = json.loads(told)
    if arm:
        group.set("data-arm", arm)
    marks = [group] if len(titles) == 1 else list(group.iter(f"{SVG}use")) if titles else []
    for mark, title in zip(marks, titles, strict=True):
        value = ElementTree.Element(f"{SVG}title")
        value.text = drawable(title)
        mark.insert(0, value)
        if mark is not group and "style" in mark.attrib:  # all look the same
            group.set("style", mark.attrib.pop("style"))


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
    with _figure(0.9 + row * len(known)) as figure:
        axes = figure.add_subplot()
        axes.axvspan(-margin, margin, color="#eeeeee", zorder=0)
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, each in enumerate(known):
            told = [f"seed {seed}: {points(value)}" for seed, value in zip(each.seeds, each.values, strict=True)]
            height = [place + 0.28] * len(told)
            axes.plot(each.values, height, "o", color="#777777", markersize=3, alpha=0.7, gid=_of(each.arm, *told))
            said = f"mean {points(each.mean)} {interval_text(each.interval())}, n = {len(told)}"
            for confidence, width in ((0.95, 1.2), (0.90, 3.5)):
                if (interval := each.interval(confidence)) is not None:
                    axes.plot(interval, [place] * 2, "-", color=COLOURS[1], linewidth=width, gid=_of(each.arm, said))
            axes.plot([each.mean], [place], "D", color=COLOURS[1], markersize=5, gid=_of(each.arm, said))
        axes.set_yticks(range(len(known)), names)
        for each, label in zip(known, axes.get_yticklabels(), strict=True):
            label.set_gid(_of(each.arm))
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"minus {known[0].control}, {unit}")
        return _svg(figure, "forest" + known[0].control)


def groups(arms: Sequence[str], control: str) -> list[list[str]]:
    """Deal the arms to panels: the control and six of the others, which is what one panel can show, in each."""
    others = [arm for arm in arms if arm != control]
    size = len(COLOURS)
    return [[control, *others[at : at + size]] for at in range(0, max(len(others), 1), size)]


def looks(arms: Sequence[str], control: str) -> dict[str, tuple[str, object]]:
    """Colour and dashes of every arm of a panel; the control is black and whole."""
    others = [arm for arm in arms if arm != control]
    return {control: (BLACK, "-"), **dict(zip(others, zip(COLOURS, DASHES, strict=True), strict=False))}


def swatch(colour: str, dash: Any) -> str:
    """A piece of an arm's line, as it is in the figures, to stand beside its name: 2 em wide."""
    pattern = "none" if dash == "-" else " ".join(f"{2 * length:g}" for length in dash[1])
    line = f"stroke:var(--{VARIABLES[colour.lower()]},{colour});stroke-width:2;stroke-dasharray:{pattern}"
    return f'<svg class="swatch" viewBox="0 0 32 8" aria-hidden="true"><path d="M0 4H32" style="{line}"/></svg>'


class Drawing(NamedTuple):
    """A figure that is not drawn yet: what :func:`drawn` calls, which can be pickled."""

    function: Callable[..., str]
    arguments: tuple[object, ...]


FIGURES_OF_A_WORKER = 8
"""A process is worth its start for so many figures: a few tenths of a second each."""


def drawn(drawings: Sequence[Drawing]) -> list[str]:
    """The text of figures, in their order; many of them are drawn in processes where these begin as copies of this one.

    Where each would import everything anew, that takes longer than the figures of a page.
    """
    workers = min(processes.default_workers(), len(drawings) // FIGURES_OF_A_WORKER) if processes.forks() else 0
    jobs = list(enumerate(drawings))
    found = {place: text for (place, _), text in processes.each(_draw, jobs, workers if workers > 1 else 0, died=_none)}
    return [found[place] or _draw((place, drawing)) for place, drawing in jobs]


def _draw(job: tuple[int, Drawing]) -> str:
    function, arguments = job[1]
    return function(*arguments)


def _none(job: tuple[int, Drawing]) -> str:
    return ""


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


def curves(
    found: Curves, control: str, path: Sequence[str], label: str, scale: float = 1.0, values: int = VALUES
) -> str:
    """Draw a number over the updates: mean of the seeds, and a band of one standard deviation.

    Args:
        found: the curves of the arms of one panel; an arm may have none.
        control: drawn in black.
        path: of the number, see :func:`measured`; tells the figure from others of the page.
        label: of the vertical axis.
        scale: factor for the numbers.
        values: the most points of a line that have their value.
    """
    digits = 1 if scale == 100 else 3
    with _figure(3.1) as figure:
        axes = figure.add_subplot()
        for arm, (colour, dash) in looks(list(found), control).items():
            if found[arm]:
                x, mean, std = band([(steps, [scale * value for value in y]) for steps, y in found[arm]])
                alone = "o" if len(x) == 1 else None
                look = {"color": colour, "linestyle": dash, "linewidth": 1.4, "marker": alone, "markersize": 4}
                axes.plot(x, mean, label=arm, gid=_of(arm, arm), **look)
                low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
                axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0, gid=_of(arm))
                told = {
                    (at, m): f"{at:,.0f} updates: {m:.{digits}f} {PLUS_MINUS} {s:.{digits}f}"
                    for at, m, s in zip(x, mean, std, strict=True)
                }
                _tell(axes, arm, told, values)
        _finish(figure, axes, "updates", label)
        return _svg(figure, "/".join((*path, *found)))


def _tell(axes: "Axes", arm: str, told: Mapping[tuple[float, float], str], most: int = VALUES) -> None:
    """Put values under the pointer: marks that are not seen, at some of the points where there are many.

    Args:
        axes: in which the points are.
        arm: that they belong to; empty = none.
        told: point -> what is said of it.
        most: that are told.
    """
    chosen = _spread(list(told), most)
    x, y = zip(*chosen, strict=True) if chosen else ((), ())
    axes.plot(x, y, "o", color=BLACK, markersize=7, alpha=0, gid=_of(arm, *(told[point] for point in chosen)))


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
    with _figure(1.2 + 0.24 * len(names)) as figure:
        axes = figure.add_subplot()
        look = looks(arms, control)
        for place, (arm, (colour, _)) in enumerate(look.items()):
            if arm in means:
                shift = 0.6 * (place - (len(look) - 1) / 2) / len(look)
                told = [f"{name}: {mean:.1f}" for name, mean in zip(names, means[arm], strict=True)]
                height = [row + shift for row in range(len(names))]
                axes.plot(means[arm], height, "o", color=colour, markersize=4, label=arm, gid=_of(arm, *told))
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        for row in range(1, len(names)):
            axes.axhline(row - 0.5, color="#dddddd", linewidth=0.6)
        _finish(figure, axes, label, "")
        return _svg(figure, "/".join(("classes", *names, *means)))


def degradation(
    heights: Mapping[str, Sequence[Sequence[float]]],
    flat: Mapping[str, float],
    places: Sequence[float],
    ticks: Sequence[str],
    *,
    axis: str,
    name: str,
) -> str:
    """Draw accuracy against the level of a disturbance: a dot for each corruption seed, lines through their means.

    Args:
        heights: of each line, for each level the accuracies of the seeds, in percent.
        flat: name -> accuracy of what is not disturbed; dashed lines across.
        places: of the levels on the axis.
        ticks: what stands below them.
        axis: label of the levels.
        name: tells the figure from others of the page.
    """
    with _figure(3.1) as figure:
        axes = figure.add_subplot()
        for (line, levels), colour in zip(heights.items(), itertools.cycle(COLOURS)):
            means = [sum(seeds) / len(seeds) for seeds in levels]
            axes.plot(places, means, "-", color=colour, linewidth=1.4, label=line)
            x = [place for place, seeds in zip(places, levels, strict=True) for _ in seeds]
            axes.plot(x, [value for seeds in levels for value in seeds], "o", color=colour, markersize=3, alpha=0.6)
            told = zip(places, means, ticks, levels, strict=True)
            _tell(axes, "", {(x, y): f"{line} {tick}: {y:.1f} %, n = {len(seeds)}" for x, y, tick, seeds in told})
        for (line, height), dash in zip(flat.items(), itertools.cycle(DASHES[1:])):
            axes.axhline(height, color=BLACK, linewidth=1, linestyle=dash, label=line)
        axes.set_xticks(places, [drawable(tick) for tick in ticks])
        _finish(figure, axes, axis, "accuracy %")
        return _svg(figure, f"degradation/{name}")


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
    with _figure(2.6) as figure:
        axes = figure.add_subplot()
        for colour, dash, (epoch, share) in zip(COLOURS, DASHES, shares.items(), strict=False):
            axes.stairs(share, BINS, color=colour, linestyle=dash, linewidth=1.4, label=f"epoch {epoch + 1}")
            told = {
                ((low + high) / 2, height): f"epoch {epoch + 1}, {low:.2f} to {high:.2f}: {height:.1f} %"
                for low, high, height in zip(BINS, BINS[1:], share, strict=False)
                if height > 0
            }
            _tell(axes, arm, told, values)
        _finish(figure, axes, "difficulty (0 = balanced)", "% of the samples")
        return _svg(figure, f"histogram/{arm}")


def _finish(figure: "Figure", axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    legend = figure.legend(
        loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=2.6, columnspacing=1.2
    )
    for line, handle, text in zip(_labelled(axes), legend.legend_handles, legend.get_texts(), strict=True):
        for part in (handle, text):
            if part is not None and line.get_gid():
                part.set_gid(_of(text.get_text()))


def _labelled(axes: "Axes") -> "list[Artist]":
    """What the legend names, in its order."""
    return axes.get_legend_handles_labels()[0]


def reliability(curve: Reliability, name: str) -> str:
    """Draw how often predictions are right against how sure they are, with the number of samples in each bin.

    A bar is a bin, as high as its accuracy; a mark is its mean confidence on the diagonal, and the line between the two
    is what the calibration error adds up.

    Args:
        curve: in bins of equal width.
        name: tells the figure from others of the page.
    """
    import numpy as np

    edges, bins = curve.edges, curve.bins
    held = bins.weight > 0
    with _figure(3.6) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=BLACK, linewidth=1, linestyle=DASHES[1])
        axes.bar(edges[:-1][held], bins.accuracy[held], np.diff(edges)[held], align="edge", color=COLOURS[5], alpha=0.6)
        axes.vlines(bins.confidence[held], bins.confidence[held], bins.accuracy[held], color=COLOURS[0], linewidth=1.4)
        axes.plot(bins.confidence[held], bins.confidence[held], "D", color=COLOURS[0], markersize=3)
        for low, high, weight in zip(edges[:-1], edges[1:], bins.weight, strict=True):
            if weight:
                axes.text((low + high) / 2, 1.02, f"{weight:.0f}", ha="center", va="bottom", fontsize=6, rotation=90)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.12)  # room for the numbers
        axes.set_yticks(np.arange(6) / 5)
        axes.set_xlabel("confidence of the predicted class; above: samples in the bin")
        axes.set_ylabel("share of right predictions")
        return _svg(figure, f"reliability/{name}")


def confusion(matrix_CC: "np.ndarray", classes: Sequence[str], name: str) -> str:
    """Draw a confusion matrix: each row is a true class, shaded by the share of its samples in each predicted one.

    Args:
        matrix_CC: counts, the truth in the rows.
        classes: names; where they are more than :data:`NAMED_CLASSES`, some of their numbers stand at the axes.
        name: tells the figure from others of the page.
    """
    import numpy as np

    size = len(classes)
    share_CC = matrix_CC / np.maximum(matrix_CC.sum(axis=1, keepdims=True), 1)
    with _figure(3.4 if size <= NAMED_CLASSES else 4.4) as figure:
        axes = figure.add_subplot()
        axes.imshow(share_CC, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
        axes.grid(visible=False)
        if size <= NAMED_CLASSES:
            names = [_short(each) for each in classes]
            axes.set_xticks(range(size), names, rotation=90, fontsize=7)
            axes.set_yticks(range(size), names, fontsize=7)
        if size <= COUNTED_CLASSES:
            for row, column in np.argwhere(matrix_CC > 0):
                # The cells are as light in the dark as on paper: no variable, as that of BLACK would be.
                shade = "#ffffff" if share_CC[row, column] > 0.6 else "#111111"
                count = f"{matrix_CC[row, column]}"
                axes.text(column, row, count, ha="center", va="center", fontsize=7, color=shade)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        return _svg(figure, f"confusion/{name}")


NAMED_CLASSES = 32
"""The most classes whose names a confusion matrix shows."""


COUNTED_CLASSES = 12
"""The most classes whose counts stand in its cells."""
