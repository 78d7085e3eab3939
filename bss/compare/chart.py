"""A chart as SVG text: marks in the units of the data, axes with round numbers beside them, a legend above.

A page has forty of them, for which matplotlib takes a tenth of a second each and half a second to be imported; this
takes a few milliseconds. A chart holds what a page's figures need and no more. Its texts stay texts, which a browser
finds and sets in the page's font: the room for them is reckoned by letters as wide as those of Verdana and DejaVu Sans,
than which few fonts are wider.

Every colour is a CSS variable with the colour of paper behind it, so that a page can be dark. What belongs to an arm
has its name in ``data-arm``, and what stands for a number has it in a ``<title>``, which a browser shows where one
points.
"""

import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

BLACK = "#000000"


GREY = "#777777"


COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of the arms; the control is black. Source: Okabe and Ito, "Color Universal Design", 2008; without its yellow,
which is too light for a line on white."""


GRID, MARGIN = "#dddddd", "#eeeeee"


VARIABLES = {
    BLACK: "ink",
    GRID: "grid",
    MARGIN: "margin",
    GREY: "seed",
    **{colour: f"arm{place + 1}" for place, colour in enumerate(COLOURS)},
}
"""Colour on paper -> the CSS variable that a page may set it by."""


Dash = tuple[float, ...]
"""Lengths of the pieces of a line and of the gaps between them, in widths of the line; none = it is whole."""


WHOLE: Dash = ()


WIDTH = 316.8
"""Points, of which an inch has 72. Shown at 350 pixels, the width of a phone, its letters are still 10 pixels high."""


LETTERS, SMALL = 9.0, 8.0
"""Sizes of the letters at the axes and in the legend, in points."""


ROOM = 0.05
"""Share of the data's range that is left free at both ends of an axis."""


_ROW, _HANDLE, _GAP, _TICK = 11.5, 21.0, 6.0, 3.5  # of the legend: its rows, pieces of line, and the gap; of the axes
_EDGE = 10.0  # right of the axes, where the last number of the axis may stick out


# ---- numbers and words ---------------------------------------------------------------------------------------------


def drawable(text: str) -> str:
    """A text with a mark in place of each character that no SVG can hold: of control, and half of a pair.

    Names of classes and files come from the user's data, and one of them must not end a report after all training.
    """
    return re.sub("[^\\t\\n\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)


def _escaped(text: str) -> str:
    return html.escape(drawable(text))


def short(number: float) -> str:
    """A place to a tenth of a point, than which nobody sees more."""
    text = f"{number:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def text_width(text: str, size: float) -> float:
    """How much room the longest line of a text takes at most, in most fonts: in points, as the size."""
    return size * max((sum(map(_letter_width, line)) for line in text.split("\n")), default=0.0)


def _letter_width(letter: str) -> float:
    if letter in " fijlrtI.,:;'|!()[]/-":
        return 0.4
    if letter in "mwMWOQ@%+<>=~#&_" or unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return 0.64 if letter.islower() or letter.isdigit() else 0.75


class Tick(NamedTuple):
    """A place on an axis with a text at it.

    Attributes:
        at: the place.
        text: may have several lines.
        of: the arm that it is the name of; empty = of none.
    """

    at: float
    text: str
    of: str = ""


def round_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Round numbers from one end of an axis to the other, in steps of 1, 2, 2.5 or 5 times a power of ten.

    Args:
        low: the smaller end.
        high: the larger end.
        most: steps that fit in between.
    """
    wanted = (high - low) / most
    power = 10.0 ** math.floor(math.log10(wanted))
    factor = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= wanted * (1 - 1e-9))
    step = factor * power
    decimals = max(0, (factor == 2.5) - math.floor(math.log10(step) + 1e-9))
    places = [step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    plain = decimals <= 5 and max(abs(low), abs(high)) < 1e7
    texts = [f"{place:,.{decimals}f}" if plain else f"{place:.4g}" for place in places]
    return [
        Tick(place, text.replace("-", "\N{MINUS SIGN}") if place else text.replace("-", ""))
        for place, text in zip(places, texts, strict=True)
    ]


# ---- the parts of a chart ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """One of the two axes.

    Attributes:
        label: what its numbers are.
        ends: the first value, at the left or at the bottom, and the last; None = those of the data, and some room.
        ticks: None = round numbers.
        grid: whether lines go through the chart at the ticks.
        upright: whether the texts at a horizontal axis are turned by a quarter.
        size: of the texts at the ticks, in points.
    """

    label: str = ""
    ends: tuple[float, float] | None = None
    ticks: Sequence[Tick] | None = None
    grid: bool = True
    upright: bool = False
    size: float = LETTERS


class _Place(NamedTuple):
    """Where the data stand: the box of the axes in the figure, and the ends of both axes."""

    left: float
    top: float
    right: float
    bottom: float
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]

    def x(self, value: float) -> float:
        """Points from the left edge of the figure."""
        first, last = self.x_ends
        return self.left + (value - first) / (last - first) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Points from its upper edge."""
        first, last = self.y_ends
        return self.bottom - (value - first) / (last - first) * (self.bottom - self.top)

    def rectangle(self, x: tuple[float, float], y: tuple[float, float], look: str, *, tag: str = "rect") -> str:
        """An element that fills the rectangle between two values of either axis."""
        left, right = sorted(map(self.x, x))
        top, bottom = sorted(map(self.y, y))
        size = f'width="{short(right - left)}" height="{short(bottom - top)}"'
        return f'<{tag} x="{short(left)}" y="{short(top)}" {size} {look}/>'

    def points(self, x: Iterable[float], y: Iterable[float]) -> list[str]:
        """Places of several values, those left out that are no finite numbers."""
        pairs = zip(x, y, strict=True)
        return [f"{short(self.x(a))} {short(self.y(b))}" for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def paint(colour: str) -> str:
    """A colour as CSS: the page's variable, and behind it the colour on paper."""
    name = VARIABLES.get(colour)
    return f"var(--{name},{colour})" if name else colour


def _group(content: str, *, of: str = "", title: str = "", style: str = "") -> str:
    arm = f' data-arm="{_escaped(of)}"' if of else ""
    look = f' style="{style}"' if style else ""
    return f"<g{arm}{look}>{_title(title)}{content}</g>"


def _title(text: str) -> str:
    return f"<title>{_escaped(text)}</title>" if text else ""


def _stroke(colour: str, width: float, dash: Dash = WHOLE) -> str:
    pattern = f";stroke-dasharray:{' '.join(short(width * length) for length in dash)}" if dash else ""
    return f"fill:none;stroke:{paint(colour)};stroke-width:{width:g}{pattern}"


def _dot(x: float, y: float, size: float, title: str = "", *, diamond: bool = False) -> str:
    """A mark with its value."""
    if diamond:
        half = size / math.sqrt(2)
        one, back = short(half), short(-half)
        path = f"M{short(x)} {short(y - half)}l{one} {one} {back} {one} {back} {back}z"
        return f'<path d="{path}">{_title(title)}</path>'
    return f'<circle cx="{short(x)}" cy="{short(y)}" r="{size / 2:g}">{_title(title)}</circle>'


def _text(
    x: float, y: float, text: str, *, size: float = LETTERS, anchor: str = "", of: str = "", turned: bool = False
) -> str:
    """A text whose lines are around a height; turned, it is read upwards, and its lines are around ``x``."""
    lines = text.split("\n")
    look = f' font-size="{size:g}"' if size != LETTERS else ""
    look += f' text-anchor="{anchor}"' if anchor else ""
    look += f' transform="rotate(-90 {short(x)} {short(y)})"' if turned else ""
    look += f' data-arm="{_escaped(of)}"' if of else ""
    first = y + 0.36 * size - 0.6 * size * (len(lines) - 1)
    if len(lines) == 1:
        return f'<text x="{short(x)}" y="{short(first)}"{look}>{_escaped(text)}</text>'
    spans = [
        f'<tspan x="{short(x)}" y="{short(first + 1.2 * size * number)}">{_escaped(line)}</tspan>'
        for number, line in enumerate(lines)
    ]
    return f"<text{look}>{''.join(spans)}</text>"


def _piece(look: str, left: float, height: float) -> str:
    """A piece of a line, for the legend."""
    return f'<path style="{look}" d="M{short(left)} {short(height)}h{_HANDLE:g}"/>'


@dataclass(frozen=True)
class _Entry:
    """What the legend says of a mark: its label, a piece of it, and the arm that it belongs to."""

    label: str
    piece: Callable[[float, float], str]
    of: str


class Chart:
    """Marks are added in the order in which they lie above one another; :meth:`svg` is called at the end.

    Args:
        height: of the whole figure, in points; it is :data:`WIDTH` wide.
        x: the horizontal axis.
        y: the vertical axis.
        square: a unit is as long in one axis as in the other.
    """

    def __init__(self, height: float, x: Axis, y: Axis, *, square: bool = False):
        self._height, self._x, self._y, self._square = height, x, y, square
        self._seen_x: list[float] = []
        self._seen_y: list[float] = []
        self._behind: list[Callable[[_Place], str]] = []
        self._marks: list[Callable[[_Place], str]] = []
        self._legend: list[_Entry] = []

    def _reach(self, x: Iterable[float], y: Iterable[float]) -> None:
        self._seen_x += [value for value in x if math.isfinite(value)]
        self._seen_y += [value for value in y if math.isfinite(value)]

    # ---- marks -----------------------------------------------------------------------------------------------------

    def line(
        self,
        x: Sequence[float],
        y: Sequence[float],
        colour: str,
        *,
        width: float = 1.4,
        dash: Dash = WHOLE,
        of: str = "",
        title: str = "",
        label: str = "",
    ) -> None:
        """A line through points.

        Args:
            x: of the points.
            y: of the points.
            colour: of it.
            width: in points.
            dash: its pieces.
            of: the arm that it belongs to.
            title: what it stands for.
            label: in the legend; empty = it is not there.
        """
        self._reach(x, y)
        look = _stroke(colour, width, dash)
        self._marks.append(
            lambda place: (
                _group(f'<path d="M{" ".join(place.points(x, y))}"/>', of=of, title=title, style=look) if len(x) else ""
            )
        )
        if label:
            self._legend.append(_Entry(label, partial(_piece, look), of))

    def across(
        self,
        colour: str,
        *,
        x: float | None = None,
        y: float | None = None,
        width: float = 1.0,
        dash: Dash = WHOLE,
        label: str = "",
    ) -> None:
        """A line from one end of the chart to the other, at a value of one axis."""
        self._reach([] if x is None else [x], [] if y is None else [y])
        look = _stroke(colour, width, dash)

        def mark(place: _Place) -> str:
            if x is not None:
                return f'<path style="{look}" d="M{short(place.x(x))} {short(place.top)}V{short(place.bottom)}"/>'
            assert y is not None
            return f'<path style="{look}" d="M{short(place.left)} {short(place.y(y))}H{short(place.right)}"/>'

        self._marks.append(mark)
        if label:
            self._legend.append(_Entry(label, partial(_piece, look), ""))

    def area(
        self,
        x: Sequence[float],
        low: Sequence[float],
        high: Sequence[float],
        colour: str,
        *,
        opacity: float,
        of: str = "",
    ) -> None:
        """What lies between two lines."""
        self._reach(x, low)
        self._reach((), high)
        look = f"fill:{paint(colour)};fill-opacity:{opacity:g}"
        self._marks.append(
            lambda place: _group(
                f'<path d="M{" ".join([*place.points(x, low), *reversed(place.points(x, high))])}z"/>',
                of=of,
                style=look,
            )
        )

    def dots(
        self,
        x: Sequence[float],
        y: Sequence[float],
        colour: str,
        *,
        size: float,
        opacity: float = 1.0,
        diamond: bool = False,
        of: str = "",
        titles: Sequence[str] = (),
        label: str = "",
    ) -> None:
        """A mark at each of some points.

        Args:
            x: of the points.
            y: of the points.
            colour: of the marks.
            size: in points.
            opacity: 0 = they are not seen, and say their values to a pointer all the same.
            diamond: their shape, in place of a circle.
            of: the arm that they belong to.
            titles: what each stands for; none = nothing.
            label: in the legend; empty = they are not there.
        """
        self._reach(x, y)
        look = f"fill:{paint(colour)}" + (f";opacity:{opacity:g}" if opacity < 1 else "")
        told = titles or [""] * len(x)

        def mark(place: _Place) -> str:
            each = zip(x, y, told, strict=True)
            finite = [(a, b, title) for a, b, title in each if math.isfinite(a) and math.isfinite(b)]
            dots = [_dot(place.x(a), place.y(b), size, title, diamond=diamond) for a, b, title in finite]
            return _group("".join(dots), of=of, style=look)

        self._marks.append(mark)
        if label:
            self._legend.append(
                _Entry(label, lambda left, y: f'<g style="{look}">{_dot(left + _HANDLE / 2, y, size)}</g>', of)
            )

    def box(self, colour: str, x: tuple[float, float], y: tuple[float, float], *, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        self._reach(x, y)
        look = f"fill:{paint(colour)};fill-opacity:{opacity:g}"
        self._marks.append(lambda place: place.rectangle(x, y, f'style="{look}"'))

    def stripe(self, colour: str, x: tuple[float, float]) -> None:
        """What lies between two values, from below to above and behind the grid."""
        self._reach(x, ())
        self._behind.append(lambda place: place.rectangle(x, place.y_ends, f'style="fill:{paint(colour)}"'))

    def words(self, x: float, y: float, text: str, *, size: float, colour: str = BLACK, turned: bool = False) -> None:
        """A text around a point; turned, it is read upwards from there."""
        anchor = "start" if turned else "middle"
        look = f"fill:{paint(colour)}" if colour != BLACK else ""

        def mark(place: _Place) -> str:
            words = _text(place.x(x), place.y(y), text, size=size, anchor=anchor, turned=turned)
            return _group(words, style=look) if look else words

        self._marks.append(mark)

    def picture(self, address: str, *, x: tuple[float, float], y: tuple[float, float]) -> None:
        """A picture of few pixels, which are seen as squares, by its ``data:`` address, stretched over a part."""
        self._reach(x, y)

        look = f'href="{address}" preserveAspectRatio="none" style="image-rendering:pixelated"'
        self._marks.append(lambda place: place.rectangle(x, y, look, tag="image"))

    # ---- the whole -------------------------------------------------------------------------------------------------

    def svg(self) -> str:
        """The figure, for a page that holds several."""
        place, x_ticks, y_ticks = self._laid_out()
        parts = [
            *(mark(place) for mark in self._behind),
            self._grid(place, x_ticks, y_ticks),
            *(mark(place) for mark in self._marks),
            self._frame(place, x_ticks, y_ticks),
            self._texts(place, x_ticks, y_ticks),
            self._legend_rows(),
        ]
        look = f"fill:{paint(BLACK)};font:{LETTERS:g}px system-ui,sans-serif;stroke-linejoin:round"
        box = f"0 0 {WIDTH:g} {short(self._height)}"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" aria-hidden="true" style="{look}">'
        return f"{head}{''.join(parts)}</svg>"

    def _laid_out(self) -> tuple[_Place, Sequence[Tick], Sequence[Tick]]:
        """The box of the axes, and their ticks: what is written around it needs the rest of the figure."""
        x, y = self._x, self._y
        x_ends, y_ends = x.ends or _with_room(self._seen_x), y.ends or _with_room(self._seen_y)
        bottom = self._height - 2 - self._below() - _TICK - 3 - (1.3 * LETTERS if x.label else 0)
        top = 5 + (_ROW * len(self._columns()[0][1]) + 4 if self._legend else 0)
        y_ticks = (
            y.ticks if y.ticks is not None else round_ticks(min(y_ends), max(y_ends), max(2, int((bottom - top) / 18)))
        )
        beside = max((text_width(tick.text, y.size) for tick in y_ticks), default=0.0)
        left, right = 4 + (1.4 * LETTERS if y.label else 0) + beside + _TICK + 3, WIDTH - _EDGE
        if self._square:
            side = min(abs((right - left) / (x_ends[1] - x_ends[0])), abs((bottom - top) / (y_ends[1] - y_ends[0])))
            right, bottom = left + side * abs(x_ends[1] - x_ends[0]), top + side * abs(y_ends[1] - y_ends[0])
        place = _Place(left, top, right, bottom, x_ends, y_ends)
        return place, x.ticks if x.ticks is not None else _fitting(x_ends, right - left, x.size), y_ticks

    def _grid(self, place: _Place, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> str:
        lines = [
            f"M{short(place.x(tick.at))} {short(place.top)}V{short(place.bottom)}" for tick in x_ticks if self._x.grid
        ]
        lines += [
            f"M{short(place.left)} {short(place.y(tick.at))}H{short(place.right)}" for tick in y_ticks if self._y.grid
        ]
        return f'<path style="{_stroke(GRID, 0.6)}" d="{"".join(lines)}"/>' if lines else ""

    def _frame(self, place: _Place, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> str:
        """The two axes, and a short line at each tick."""
        lines = [f"M{short(place.left)} {short(place.top)}V{short(place.bottom)}H{short(place.right)}"]
        lines += [f"M{short(place.x(tick.at))} {short(place.bottom)}v{_TICK:g}" for tick in x_ticks]
        lines += [f"M{short(place.left)} {short(place.y(tick.at))}h-{_TICK:g}" for tick in y_ticks]
        return f'<path style="{_stroke(BLACK, 0.8)}" d="{"".join(lines)}"/>'

    def _texts(self, place: _Place, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> str:
        """What is written at the axes."""
        x, y = self._x, self._y
        below = place.bottom + _TICK + 2
        at_x = []
        for tick in x_ticks:
            height = below if x.upright else below + 0.6 * x.size * (1 + tick.text.count("\n"))
            at_x.append(_text(place.x(tick.at), height, tick.text, size=x.size, of=tick.of, turned=x.upright))
        at_y = [_text(place.left - _TICK - 3, place.y(tick.at), tick.text, size=y.size, of=tick.of) for tick in y_ticks]
        found = f'<g text-anchor="{"end" if x.upright else "middle"}">{"".join(at_x)}</g>'
        found += f'<g text-anchor="end">{"".join(at_y)}</g>'
        if x.label:
            height = place.bottom + _TICK + 3 + self._below() + 0.7 * LETTERS
            found += _text((place.left + place.right) / 2, height, x.label, anchor="middle")
        if y.label:
            found += _text(2 + 0.6 * LETTERS, (place.top + place.bottom) / 2, y.label, anchor="middle", turned=True)
        return found

    def _below(self) -> float:
        """How much room the texts at the ticks of the horizontal axis take."""
        x = self._x
        if x.upright:
            return max((text_width(tick.text, x.size) for tick in x.ticks or ()), default=0.0)
        return 1.2 * x.size * max((1 + tick.text.count("\n") for tick in x.ticks or ()), default=1)

    def _columns(self) -> list[tuple[float, list[_Entry]]]:
        """The legend: where its columns begin, of which there are two where there is room, and their entries."""
        rows = (len(self._legend) + 1) // 2
        halves = [self._legend[:rows], self._legend[rows:]]
        labels = [max((text_width(each.label, SMALL) for each in half), default=0.0) for half in halves]
        first, second = (_HANDLE + 2 * _GAP + width for width in labels)
        return [(4, halves[0]), (4 + first, halves[1])] if 4 + first + second <= WIDTH else [(4, self._legend)]

    def _legend_rows(self) -> str:
        found = []
        for left, entries in self._columns():
            for row, each in enumerate(entries):
                height = 3 + _ROW * (row + 0.5)
                text = _text(left + _HANDLE + _GAP, height, each.label, size=SMALL)
                found.append(_group(each.piece(left, height) + text, of=each.of))
        return "".join(found)


def _with_room(seen: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis that shows these values."""
    low, high = min(seen, default=0.0), max(seen, default=1.0)
    if high - low <= 1e-9 * max(1.0, abs(low)):  # a single value, or rounding
        low, high = low - max(0.5, 0.1 * abs(low)), high + max(0.5, 0.1 * abs(high))
    room = ROOM * (high - low)
    return low - room, high + room


def _fitting(ends: tuple[float, float], width: float, size: float) -> list[Tick]:
    """As many round numbers as stand side by side below an axis."""
    for most in range(8, 1, -1):
        found = round_ticks(min(ends), max(ends), most)
        if sum(text_width(tick.text, size) + size for tick in found) <= width:
            return found
    return found[:1]
