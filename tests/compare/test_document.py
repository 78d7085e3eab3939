"""The frame of a page: what a section shows, what is escaped, how it sorts, and that its files are in the package."""

import base64
import fnmatch
import hashlib
import re
import tomllib
from pathlib import Path

import jinja2
import pandas as pd
import pytest

from bss.compare import figures
from bss.compare.document import Panel, Section, Switch, document
from bss.compare.tables import Table
from bss.compare.wording import leading_number

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "bss" / "compare" / "templates"
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
    files = [path.relative_to(ROOT / "bss").as_posix() for path in TEMPLATES.iterdir()]
    assert "compare/templates/base.html" in files
    assert all(any(fnmatch.fnmatch(file, name) for name in names) for file in files)


def test_a_browser_runs_the_pages_own_script_alone_and_loads_nothing():
    text = document("page", [])
    (script,) = re.findall("<script>(.*?)</script>", text, flags=re.DOTALL)
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', text)
    said = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert said["default-src"] == "'none'" and said["img-src"] == "data:"
    assert said["script-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_the_script_is_short_and_writes_no_html():
    script = (TEMPLATES / "page.js").read_text()
    assert len(script.splitlines()) <= 150
    assert not re.search("innerHTML|outerHTML|insertAdjacentHTML|document.write|eval|Function", script)


def test_the_dark_theme_sets_every_colour_of_the_figures_and_none_that_they_do_not_have():
    dark = (TEMPLATES / "page.css").read_text().partition("(prefers-color-scheme: dark)")[2].partition(".sample")[0]
    of_page = {"page", "ink", "soft", "line", "accent", "finding", "warning", "notes"}
    assert set(re.findall(r"--(\w+):", dark)) == of_page | set(figures.VARIABLES.values())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("62.0 \u00b1 11.0", 62.0),
        ("+2.0", 2.0),
        ("\u22120.3 [\u22120.9, +0.3]", -0.3),
        ("[\u22120.6, +3.0]", -0.6),
        ("<0.001", 0.001),
        ("0.074 (3)", 0.074),
        ("1,200 to 1,300", 1200.0),
        ("1e-05", 1e-05),
        ("5 %", 5.0),
        ("10.00 (failed)", 10.0),
        *((word, None) for word in ("", "-", "not tested", "9e31b2c", "3x", "mean of 3", "[a]", "\u00b1 1")),
    ],
)
def test_a_column_sorts_by_the_number_that_a_cell_begins_with(text, number):
    assert leading_number(text) == number


def test_cells_have_their_number_beside_their_text_but_for_the_first_column():
    cells = pd.DataFrame({"arm": ["10"], "p": ["<0.001"], "verdict": ["better"], "n": ["1,200"]})
    text = document("page", [Section(tables=[Table("t", "c", cells, minor={"n"})])])
    assert '<tr><td>10</td><td data-sort="0.001">&lt;0.001</td><td>better</td>' in text
    assert '<th scope="col" class="minor">n</th>' in text and '<td data-sort="1200.0" class="minor">1,200</td>' in text


def test_rows_of_one_group_are_one_body():
    cells = pd.DataFrame({"arm": ["a", "a", "b"], "seed": ["mean", "0", "mean"]})
    bodies = Table("t", "c", cells, grouped=True).bodies
    assert bodies == [[["a", "mean"], ["a", "0"]], [["b", "mean"]]]
    assert Table("t", "c", cells).bodies == [[["a", "mean"], ["a", "0"], ["b", "mean"]]]
    assert (
        document("page", [Section(tables=[Table("t", "c", cells, grouped=True)])]).count('<tbody class="group">') == 2
    )


def test_switches_are_there_for_two_arms_and_hidden_until_a_script_works_them():
    both = [Switch(name, figures.swatch("#D55E00", (0, (5, 1.5)))) for name in (HOSTILE, "cl")]
    text = document("page", [], switches=both, control="cl")
    assert '<details class="switches" data-control="cl" hidden>' in text
    assert f'<input type="checkbox" checked autocomplete="off" value="{ESCAPED}"><svg class="swatch"' in text
    assert "stroke:var(--arm1,#D55E00);stroke-width:2;stroke-dasharray:10 3" in text
    assert "<details" not in document("page", [], switches=both[:1])


def test_a_table_for_a_terminal_is_aligned_and_leaves_minor_columns_out():
    cells = pd.DataFrame([["uniform", "60.0", "x"], ["cl", "5.0", "y"]], columns=["arm", "mean", "more"])
    assert Table("Accuracy", "of all", cells, minor=["more"]).text() == (
        "Accuracy\narm      mean\nuniform  60.0\ncl       5.0"
    )
