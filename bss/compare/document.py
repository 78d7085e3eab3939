"""One HTML file that needs no network: sections of tables and figures in a frame, for a screen, a phone and paper.

    document("A run, measured", [Section("Heads", "n = 30.", tables=[table], panels=[Panel(svg, "Accuracy by head.")])])

What a page says stands in the Jinja2 templates of ``templates/``, which escape every value. A page that needs more is a
template that extends ``base.html`` and fills its blocks: ``lead`` above the sections, ``after`` below them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bss.compare.tables import Table

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Panel:
    """A figure with its caption.

    Attributes:
        svg: text of the figure, see :mod:`bss.compare.figures`. It is the one value that templates do not escape.
        caption: what is drawn, of what, and n.
    """

    svg: str
    caption: str


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


def document(title: str, sections: Sequence[Section], *, template: str = "base.html", **values: object) -> str:
    """Write a page.

    Args:
        title: what the window is called; also the page's heading, where the template has no other.
        sections: in their order.
        template: a file of ``templates/``: ``base.html``, or one that extends it.
        **values: what that template needs beside them.
    """
    return _environment().get_template(template).render(title=title, sections=sections, **values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("bss.compare"),
        autoescape=True,
        undefined=StrictUndefined,  # a value with a wrong name is an error, and no empty place
        trim_blocks=True,
        lstrip_blocks=True,
    )
