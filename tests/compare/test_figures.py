"""The figures as text: what belongs to an arm, the values, the colours, and that no name breaks them."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from bss.compare import figures
from bss.compare.runs import find_folders, read_runs
from bss.compare.statistics import Difference
from tests.compare.comparing import write_run

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</script><b> --> \"'& $x_1$"


def runs_of(folder, arm, *by_seed):
    """Runs of one arm with these validation accuracies, an epoch each."""
    for seed, accuracies in enumerate(by_seed):
        path = write_run(folder / str(seed), arm=arm, seed=seed, sizes=(40,) * len(accuracies))
        rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for row, accuracy in zip(rows, accuracies, strict=True):
            row["val"] = {name: {**heads, "all": accuracy} for name, heads in row["val"].items()}
        (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_runs(find_folders([folder])).runs


def titles(svg, arm):
    """The values in the groups of an arm."""
    groups = [group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if group.get("data-arm") == arm]
    assert groups
    return [title.text for group in groups for title in group.iter(f"{SVG}title")]


@pytest.fixture
def curves(tmp_path):
    arms = {
        "uniform": runs_of(tmp_path / "a", "uniform", [0.5, 0.6], [0.6, 0.8]),
        HOSTILE: runs_of(tmp_path / "b", HOSTILE, [0.1, 0.2]),
    }
    path = ("val", "accuracy", "all")
    return figures.curves(figures.measured(arms, path), "uniform", path, "accuracy, %", 100.0)


def test_figures_that_processes_draw_are_those_of_this_one_in_their_order(monkeypatch):
    drawings = [figures.Drawing(figures.swatch, (figures.COLOURS[at % 6], "-")) for at in range(40)]
    alone = [figures.swatch(*each.arguments) for each in drawings]
    started, forks = [], figures.processes.forks()
    each = figures.processes.each
    monkeypatch.setattr(
        figures.processes, "each", lambda *others, **named: started.append(others[2]) or each(*others, **named)
    )
    monkeypatch.setattr(figures.processes, "default_workers", lambda: 2)
    assert figures.drawn(drawings) == alone and figures.drawn(drawings[:9]) == alone[:9] and figures.drawn([]) == []
    monkeypatch.setattr(figures.processes, "forks", lambda: False)
    assert figures.drawn(drawings) == alone
    assert started == [2 if forks else 0, 0, 0, 0]


def test_a_line_has_its_arm_and_the_values_of_its_points(curves):
    # The standard deviations of 50 and 60, and of 60 and 80: 10 / sqrt(2), 20 / sqrt(2).
    values = ["5 updates: 55.0 \u00b1 7.1", "10 updates: 70.0 \u00b1 14.1"]
    assert titles(curves, "uniform") == ["uniform", *values]
    assert titles(curves, HOSTILE) == [HOSTILE, "5 updates: 10.0 \u00b1 0.0", "10 updates: 20.0 \u00b1 0.0"]


def test_a_name_does_not_end_the_figure_and_is_escaped(curves):
    assert "<b>" not in curves and "</script>" not in curves and "-->" not in curves


def test_lines_bands_values_and_legend_belong_to_an_arm(curves):
    arms = [group.get("data-arm") for group in ElementTree.fromstring(curves).iter(f"{SVG}g")]
    assert arms.count("uniform") == arms.count(HOSTILE) == 5  # line, band, points, and in the legend line and name


def test_every_colour_may_be_set_and_has_that_of_paper_behind_it(curves):
    behind = dict(re.findall(r"var\(--(\w+),(#[0-9a-f]{6})\)", curves))
    assert behind == {"ink": "#000000", "grid": "#dddddd", "arm1": "#d55e00"}
    assert not re.search("#[0-9a-f]{6}", re.sub(r"var\(--\w+,#[0-9a-f]{6}\)", "", curves))


def test_what_a_figure_refers_to_is_in_it_and_its_groups_have_no_id(curves):
    root = ElementTree.fromstring(curves)
    ids = {element.get("id") for element in root.iter()} - {None}
    used = {element.get("href") for element in root.iter()} - {None}
    assert used and used <= {f"#{each}" for each in ids}
    assert not [group.get("id") for group in root.iter(f"{SVG}g") if group.get("id")]


def test_places_are_written_short_and_scales_in_full():
    shape = {"d": "M 1.26 2.04 \nL 3.96 4 \nL 5.123456 -6.04 \nz", "transform": "scale(0.015625)"}
    figures._compact(shape)
    assert shape == {"d": "M1.3 2L4 4 5.1 -6z", "transform": "scale(0.015625)"}
    text = {"transform": "translate(9.468 0.51) scale(0.09 -0.09)"}
    figures._compact(text)
    assert text == {"transform": "translate(9.5 0.5) scale(0.09 -0.09)"}
    letter = {"{http://www.w3.org/1999/xlink}href": "#a", "transform": "translate(63.625 0)"}
    figures._compact(letter)
    assert letter == {"href": "#a", "x": "63.6"}


def test_of_many_points_the_first_the_last_and_some_between_have_values():
    assert figures._spread(range(100), 4) == [0, 33, 66, 99]
    assert figures._spread([7], 4) == [7] and figures._spread([], 4) == []
    assert [figures.values_of(lines) for lines in (0, 3, 150, 300, 10_000)] == [40, 40, 40, 20, 5]


def test_the_forest_has_a_value_for_every_seed_and_mean():
    several = Difference("cl", "uniform", (0, 1, 2), (1.0, 2.0, 3.0))
    single = Difference("spl", "uniform", (4,), (-0.5,))
    svg = figures.forest([several, single, Difference("none", "uniform", (), ())], "points", 1.0)
    mean = "mean +2.0 [\u22120.5, +4.5], n = 3"  # 2 -+ 4.303 / sqrt(3)
    assert titles(svg, "cl") == ["seed 0: +1.0", "seed 1: +2.0", "seed 2: +3.0", mean, mean, mean]
    assert titles(svg, "spl") == ["seed 4: \u22120.5", "mean \u22120.5 -, n = 1"]


def test_classes_have_a_dot_for_every_arm_that_tells():
    arms = ["uniform", "cl", "silent"]
    means = {"uniform": [10.0, 20.0], "cl": [12.34, 99.0]}
    svg = figures.classes(arms, "uniform", ["cat", HOSTILE], means, "accuracy, %")
    assert titles(svg, "cl") == ["cat: 12.3", f"{HOSTILE}: 99.0"] and 'data-arm="silent"' not in svg
    assert "var(--arm1,#d55e00)" in svg  # as in the curves, though an arm before it may be silent


def test_counts_in_light_cells_stay_dark_in_the_dark():
    svg = figures.confusion(np.array([[9, 1], [0, 5]]), ["cat", "dog"], "one")
    assert svg.count('"fill:#111111"') == 1 and svg.count('"fill:#ffffff"') == 2


ODD_NAMES = ("$x^{", r"$\frac{$", "$$", "a\0b", "a\x1bb", "a\ud800b", "\ufffe", "--", "", "_hidden")
"""Broken mathtext; what no XML holds, such as a byte of a file's name that is no UTF-8; what ends a comment."""


def test_no_name_of_a_class_or_an_arm_breaks_a_figure(monkeypatch):
    arms = [*ODD_NAMES, "uniform"]
    means = {arm: [1.0] * len(ODD_NAMES) for arm in arms}
    label = f"accuracy of {''.join(ODD_NAMES)}"
    drawn = [
        figures.classes(arms[-2:], "uniform", ODD_NAMES, means, label),
        figures.confusion(np.eye(len(ODD_NAMES), dtype=int), ODD_NAMES, "\udcff"),
        *[
            figures.degradation({name: [[1.0, 2.0], [3.0]]}, {name: 3.0}, [0, 1], [name, "b"], axis=name, name=name)
            for name in ODD_NAMES[3:7]
        ],
    ]
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag.endswith("svg")  # which raises where it is no XML


def test_a_users_own_matplotlibrc_changes_no_figure(monkeypatch):
    import matplotlib

    plain = figures.confusion(np.eye(2, dtype=int), ["a", "b"], "x")
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)  # which needs a LaTeX, and takes names for commands
    monkeypatch.setitem(matplotlib.rcParams, "axes.linewidth", 7.0)
    assert figures.confusion(np.eye(2, dtype=int), ["a", "b"], "x") == plain
