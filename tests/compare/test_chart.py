"""Charts: round numbers by hand, what belongs where, and that nothing stands outside of its figure."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.compare import chart
from bss.compare.chart import BLACK, COLOURS, WIDTH, Axis, Chart, Tick, round_ticks, text_width

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


def texts(svg):
    """What is written, in its order."""
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("low", "high", "most", "written"),
    [
        (0.0, 10.0, 5, ["0", "2", "4", "6", "8", "10"]),
        (0.0, 10.0, 4, ["0", "2.5", "5.0", "7.5", "10.0"]),
        (-0.12, 0.26, 4, ["\u22120.1", "0.0", "0.1", "0.2"]),
        (28.0, 95.0, 7, ["30", "40", "50", "60", "70", "80", "90"]),
        (0.0, 2520.0, 3, ["0", "1,000", "2,000"]),
        (1.05, 1.31, 3, ["1.1", "1.2", "1.3"]),
        (0.0, 3e9, 3, ["0", "1e+09", "2e+09", "3e+09"]),
    ],
)
def test_ticks_are_round_numbers(low, high, most, written):
    found = [tick.text for tick in round_ticks(low, high, most)]
    assert [text.removesuffix(".0") for text in found] == [text.removesuffix(".0") for text in written]


@given(NUMBERS, st.floats(1e-3, 1e9), st.integers(2, 9))
def test_ticks_lie_between_the_ends_no_more_than_asked_for_and_equally_far_apart(low, span, most):
    span = max(span, 1e-6 * abs(low))  # nearer ends are told apart by the last digits of a float
    high = low + span
    places = [tick.at for tick in round_ticks(low, high, most)]
    assert 1 <= len(places) <= most + 1
    assert all(low - 1e-6 * span <= place <= high + 1e-6 * span for place in places)
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-4) for step in steps)


def test_wide_letters_take_more_room_than_narrow_ones_and_lines_no_more_than_the_longest():
    assert text_width("", 9) == 0 < text_width("il", 9) < text_width("ab", 9) < text_width("mW", 9)
    assert text_width("ab\nabc", 9) == text_width("abc", 9) == pytest.approx(3 * 0.64 * 9)
    assert text_width("\u6587", 10) == 10


def test_places_are_written_to_a_tenth_of_a_point():
    assert [chart.short(number) for number in (1.26, 2.04, -0.04, -6.04, 30.0, -0.46)] == [
        "1.3",
        "2",
        "0",
        "-6",
        "30",
        "-0.5",
    ]


def test_a_value_lies_where_the_axes_say():
    """By hand: 100 high, no labels; below the axis 2 points, a row of 1.2 x 9, 3.5 of a tick and 3: it is at 80.7."""
    made = Chart(100, Axis(ends=(0, 1), ticks=[]), Axis(ends=(0, 10), ticks=[]))
    made.dots([0, 1], [0, 10], BLACK, size=2)
    circles = list(ElementTree.fromstring(made.svg()).iter(f"{SVG}circle"))
    found = [(circle.get("cx"), circle.get("cy"), circle.get("r")) for circle in circles]
    assert found == [("10.5", "80.7", "1"), ("306.8", "5", "1")]


def test_the_legend_has_two_columns_where_there_is_room_and_one_where_there_is_not():
    def legend(*labels):
        made = Chart(200, Axis(), Axis())
        for label in labels:
            made.line([0, 1], [0, 1], COLOURS[0], label=label, of=label)
        root = ElementTree.fromstring(made.svg())
        found = {"".join(text.itertext()): text for text in root.iter(f"{SVG}text")}
        return [(float(found[label].get("x")), float(found[label].get("y"))) for label in labels]

    (a, b, c) = legend("a", "b", "c")
    assert a[0] == b[0] < c[0] and a[1] == c[1] < b[1]  # the first column is filled first
    (a, b) = legend("x" * 30, "y" * 30)
    assert a[0] == b[0] and a[1] < b[1]


def test_numbers_that_are_none_are_left_out():
    made = Chart(100, Axis(), Axis())
    made.line([0.0, 1.0, 2.0], [0.0, math.nan, 1.0], BLACK)
    made.dots([0.0, 1.0], [math.inf, 1.0], BLACK, size=3, titles=["gone", "there"])
    made.area([0.0], [-math.inf], [math.nan], BLACK, opacity=0.5)
    text = made.svg()
    assert "nan" not in text and "inf" not in text and "gone" not in text and "there" in text


def test_a_chart_of_nothing_or_of_one_value_has_axes():
    for values in ([], [5.0], [1e6, 1e6]):
        made = Chart(100, Axis("x"), Axis("y"))
        made.line(values, values, BLACK)
        assert texts(made.svg())[-2:] == ["x", "y"]


names = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20), names, st.integers(90, 400))
def test_marks_lie_inside_of_the_axes_and_any_name_is_text(points, name, height):
    x, y = zip(*points, strict=True)
    made = Chart(height, Axis(name), Axis(name, ticks=[Tick(y[0], name, name)]))
    made.line(x, y, COLOURS[1], of=name, title=name, label=name)
    made.dots(x, y, COLOURS[0], size=3, of=name, titles=[name] * len(x))
    text = made.svg()
    assert text == made.svg()
    root = ElementTree.fromstring(text)
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.get("cx")) <= WIDTH and 0 <= float(circle.get("cy")) <= height
    assert not re.search(r"<(?!/?(?:svg|g|path|circle|text|tspan|title)\b)", text)
