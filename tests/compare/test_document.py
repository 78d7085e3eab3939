"""The frame of a page: what a section shows, what is escaped, and that its files are in the package."""

import fnmatch
import tomllib
from pathlib import Path

import jinja2
import pandas as pd
import pytest

from bss.compare.document import Panel, Section, document
from bss.compare.tables import Table

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "</script><b>&'\"{{ 7 * 6 }}"
ESCAPED = "&lt;/script&gt;&lt;b&gt;&amp;&#39;&#34;{{ 7 * 6 }}"


def test_a_section_shows_its_parts_in_order_and_everything_but_figures_escaped():
    table = Table(f"table {HOSTILE}", f"of {HOSTILE}", pd.DataFrame({HOSTILE: [f"cell {HOSTILE}"]}))
    panel = Panel("<svg></svg>", f"drawn {HOSTILE}")
    text = document(f"page {HOSTILE}", [Section(f"part {HOSTILE}", "why", [table], [panel], [f"note {HOSTILE}"])])
    places = [text.index(f"{word} {ESCAPED}") for word in ("page", "part", "table", "of", "cell", "drawn", "note")]
    assert places == sorted(places) and HOSTILE not in text and text.count("<svg></svg>") == 1
    assert f'<th scope="col">{ESCAPED}</th>' in text


def test_a_value_that_a_template_asks_for_and_does_not_get_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'heading' is undefined"):
        document("page", [], template="report.html", generated="")


def test_all_that_a_page_is_made_of_is_in_the_wheel():
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["bss"]
    files = [path.relative_to(ROOT / "bss").as_posix() for path in (ROOT / "bss/compare/templates").iterdir()]
    assert "compare/templates/base.html" in files
    assert all(any(fnmatch.fnmatch(file, name) for name in names) for file in files)
