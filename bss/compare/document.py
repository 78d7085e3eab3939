"""One HTML file that needs no network: sections of tables and figures in a frame, for a screen, a phone and paper.

    document("A run, measured", [Section("Heads", "n = 30.", tables=[table], panels=[Panel(svg, "Accuracy by head.")])])

What a page says stands in the Jinja2 templates of ``templates/``, which escape every value. A page that needs more is a
template that extends ``base.html`` and fills its blocks: ``lead`` above the sections, ``after`` below them.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from bss.compare import figures
from bss.compare.tables import Table
from bss.compare.wording import leading_number

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Panel:
    """A figure with its caption.

    Attributes:
        svg: text of the figure, see :mod:`bss.compare.figures`, or what it is yet to be drawn by. It is the one value
            that templates do not escape.
        caption: what is drawn, of what, and n.
        arm: the one arm that it is of; empty = of several, or of none.
    """

    svg: str | figures.Drawing
    caption: str
    arm: str = ""


@dataclass(frozen=True)
class Switch:
    """What takes an arm out of all figures and brings it back.

    Attributes:
        arm: its name, as in the ``data-arm`` of what belongs to it in the figures.
        swatch: a piece of its line, as an SVG.
    """

    arm: str
    swatch: str


@dataclass(frozen=True)
class Section:
    """A part of a page, in the order in which it is read.

    Attributes:
        title: its heading; empty = none, a table has one of its own.
        caption: a paragraph under the heading.
        tables: one below the other.
        panels: side by side where there is room.
        notes: paragraphs at its end.
    """

    title: str = ""
    caption: str = ""
    tables: Sequence[Table] = ()
    panels: Sequence[Panel] = ()
    notes: Sequence[str] = ()


def document(
    title: str,
    sections: Sequence[Section],
    *,
    switches: Sequence[Switch] = (),
    control: str = "",
    template: str = "base.html",
    **values: object,
) -> str:
    """Write a page.

    Without scripts it is whole and can be read. With them its tables sort, tables and figures are saved as CSV and SVG,
    and arms are switched on and off. It loads nothing, and a browser runs no script in it but this one, whose hash
    it names.

    Args:
        title: what the window is called; also the page's heading, where the template has no other.
        sections: in their order.
        switches: one for every arm that the figures show; none = there is nothing to switch.
        control: the arm that every figure shows; a figure without another one that is switched on is hidden.
        template: a file of ``templates/``: ``base.html``, or one that extends it.
        **values: what that template needs beside them.
    """
    script = _text("page.js")
    made = _environment().get_template(template)
    letters: dict[str, str] = {}
    panels = [panel for each in sections for panel in each.panels]
    drawn = iter(figures.drawn([panel.svg for panel in panels if isinstance(panel.svg, figures.Drawing)]))
    texts = iter([panel.svg if isinstance(panel.svg, str) else next(drawn) for panel in panels])
    return made.render(
        title=title,
        sections=[
            replace(each, panels=[replace(panel, svg=_without_letters(next(texts), letters)) for panel in each.panels])
            for each in sections
        ],
        letters="".join(letters.values()),
        switches=switches,
        control=control,
        style=_text("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )


def _without_letters(svg: str, letters: dict[str, str]) -> str:
    """A figure without the shapes of its letters, which are added to ``letters``: a page has them once."""

    def keep(found: re.Match[str]) -> str:
        letters.setdefault(found[1], found[0])
        return ""

    return re.sub(rf'<path id="({figures.LETTER}[^"]*)"[^>]*/>', keep, svg).replace("<defs></defs>", "")


def _text(name: str) -> str:
    """A file of ``templates/`` as it is."""
    return resources.files("bss.compare").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bss.compare"),
        autoescape=True,
        undefined=StrictUndefined,  # a value with a wrong name is an error, and no empty place
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = leading_number
    return environment
