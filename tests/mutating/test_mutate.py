"""tests/mutate.py itself: which mutants a module has, that a seed repeats them, and what is said of a survivor."""

import ast
import json
from collections import Counter
from pathlib import Path

import pytest

from tests import mutate
from tests.mutating.mutants import mutants

TINY = '''"""Told: 1 < 2."""


def share(values: tuple[int, 3] = (), *, least: float = 0.5) -> "list[2]":
    """Told: 3."""
    assert least != 7
    if not values:  # a comment of 1 < 2
        raise ValueError(f"at least {1 + 1}, or " + "more")
    values.total += min(values[1:]) * -least
    return values.total


class Shown:
    def __repr__(self):
        return str(5)
'''

MUTANTS = [
    (4, "0.5", "1.0"),
    (7, "not values", "(values)"),
    (8, 'raise ValueError(f"at least {1 + 1}, or " + "more")', "pass"),
    (9, "values.total += min(values[1:]) * -least", "pass"),
    (9, "+", "-"),
    (9, "min", "max"),
    (9, "1", "0"),
    (9, "", "-1"),
    (9, "*", "/"),
    (9, "-least", "(least)"),
    (10, "return values.total", "return None"),
]


def changes(source):
    return [(each.line, source[each.start : each.end], each.new) for each in mutants(source)]


def test_the_mutants_of_a_module_are_its_numbers_operators_and_statements_and_no_text():
    assert changes(TINY) == MUTANTS
    for mutant in mutants(TINY):
        ast.parse(mutant.mutated)


@pytest.mark.parametrize(
    ("code", "news"),
    [
        ("a = b < c <= d", ["<=", "<"]),
        ("a = b >= c != d", [">", "=="]),
        ("a = b is not c", ["is"]),
        ("a = b in c and d", ["not in", "or"]),
        ("a = (b) - (  # a - b\n    c)", ["+"]),
        ("a = b ** 3", ["*", "4"]),
        ("a = ~b // 1", ["(b)", "*", "0"]),
        ("a = b[:c]", ["1", "(c) - 1"]),
        ("a = not b or True", ["(b)", "and", "False"]),
        ("a = b if c(0.0) else d", ["(not (c(0.0)))", "1.0"]),
        ("for a in b:\n    continue", ["break"]),
        ("warn('b', stacklevel=2)", ["pass"]),
        ("a = zip(b, c, strict=True)", []),
        ("a = 'é', 2", ["3"]),
    ],
)
def test_each_kind_of_change(code, news):
    assert [each.new for each in mutants(code)] == news


def test_a_seed_draws_the_same_mutants_again_and_another_one_others():
    paths = [Path("bss/pacing.py")]
    one = mutate.drawn(paths, seed=3)
    assert one == mutate.drawn(paths, seed=3) and len(one) > 20
    assert one[:5] != mutate.drawn(paths, seed=4)[:5] and set(one) == set(mutate.drawn(paths, seed=4))


def test_the_tests_of_a_module_begin_with_those_of_its_name():
    table = mutate.tests_of(Path("bss/scoring/table.py"))
    assert table[0] == "tests/scoring/test_table.py" and "tests/scoring/test_hooks.py" in table
    assert mutate.tests_of(Path("bss/samplers/base.py"))[0] == "tests/samplers/test_samplers.py"
    assert mutate.tests_of(Path("bss/compare/statistics.py")) == ["tests/compare/test_statistics.py"]


def test_a_survivor_is_shown_with_its_place_its_difference_and_its_command():
    said = mutate.survivor(mutants("a = 1\nb = a < 2\n", "bss/x.py")[1], "again")
    assert said.splitlines() == [
        "bss/x.py:2: < -> <=: no test notices",
        "--- bss/x.py",
        "+++ bss/x.py (< -> <=)",
        "@@ -1,2 +1,2 @@",
        " a = 1",
        "-b = a < 2",
        "+b = a <= 2",
        "",
        "again: again",
    ]


class FakeCopy(mutate.Copy):
    """A copy whose tests are told how they end."""

    def __init__(self, root, *endings):
        self.root, self.endings, self.seen, self.said, self.took = root, list(endings), [], root / "said", Counter()
        (root / mutate.SECONDS).write_text("{}")
        self.said.write_text("what pytest said")
        (root / "m.py").write_text("a = 1\n")

    def run(self, tests, limit):
        self.seen.append((tests, limit is None, (self.root / "m.py").read_text()))
        return self.endings.pop(0)


ONE = mutants("a = 1\n", "m.py")[0]


@pytest.mark.parametrize(("ending", "died"), [(0, None), (1, 1), (2, 2), (4, 4), (-9, -9)])
def test_a_mutant_dies_by_a_failure_an_import_or_a_signal_and_the_copy_is_whole_again(tmp_path, ending, died):
    copy = FakeCopy(tmp_path, 0, ending)
    copy.check(["all"])
    assert copy.dies(ONE, ["own"]) == died
    assert copy.seen == [(["all"], True, "a = 1\n"), (["own"], False, "a = 0\n")]
    assert (tmp_path / "m.py").read_text() == "a = 1\n"


class SlowerCopy(FakeCopy):
    """A copy whose unchanged code takes so many seconds, one run after the other, by a clock that it moves itself."""

    def __init__(self, root, monkeypatch, seconds, *endings):
        super().__init__(root, *endings)
        self.seconds, self.now, self.limits = list(seconds), 0, []
        monkeypatch.setattr(mutate.time, "monotonic", lambda: self.now)

    def run(self, tests, limit):
        if (self.root / "m.py").read_text() == "a = 1\n":
            self.now += self.seconds.pop(0)
        else:
            self.limits.append(limit)
        return super().run(tests, limit)


def test_a_mutant_has_five_times_what_the_start_and_its_own_tests_took_at_most(tmp_path, monkeypatch):
    copy = SlowerCopy(tmp_path, monkeypatch, [20, 10], 0, 0)
    # Of 20 seconds 3 and 12 in the two files, so 5 before them; then of 10 seconds 4, so 6 before.
    for took in ({"one": 3, "other": 12}, {"one": 4}):
        (tmp_path / mutate.SECONDS).write_text(json.dumps(took))
        copy.check(["all"])
    assert (copy.patience(["one"]), copy.patience(["one", "other"])) == (5 * (6 + 4) + 10, 5 * (6 + 4 + 12) + 10)


def test_a_mutant_takes_too_long_where_the_unchanged_code_takes_no_longer_than_before(tmp_path, monkeypatch):
    copy = SlowerCopy(tmp_path, monkeypatch, [20, 18], 0, "too long", 0)
    copy.check(["all"])
    assert copy.dies(ONE, ["own"]) == "too long" and copy.limits == [110]


@pytest.mark.parametrize("ending", [1, 0])
def test_on_a_machine_that_has_become_slower_a_mutant_has_another_try_with_more_time(tmp_path, monkeypatch, ending):
    copy = SlowerCopy(tmp_path, monkeypatch, [20, 60], 0, "too long", 0, ending)
    copy.check(["all"])
    assert copy.dies(ONE, ["own"]) == (ending or None) and copy.limits == [110, 310]


@pytest.mark.parametrize(
    ("status", "said", "kind", "by"),
    [
        (None, "9 passed", "alive", ""),
        (
            1,
            "..F\nFAILED tests/t.py::test_a[x] - assert 1 - 1 == 2\n1 failed",
            "by a test",
            "FAILED tests/t.py::test_a[x]",
        ),
        (2, "ERROR tests/t.py - NameError\n1 error", "by an import", "ERROR tests/t.py - NameError"),
        (4, "ImportError while loading conftest\nE   NameError: b", "by an import", "E   NameError: b"),
        (1, "Traceback\nNameError: b", "by an import", "NameError: b"),
        (-11, "", "by a signal", "ended by signal 11"),
        ("too long", "..", "by time", "takes too long"),
    ],
)
def test_what_killed_a_mutant_is_told_by_its_kind_and_by_its_name(status, said, kind, by):
    assert mutate.ending(status, said) == (kind, by)


def test_where_the_unchanged_code_fails_or_no_test_is_run_nothing_is_counted(tmp_path):
    with pytest.raises(SystemExit, match="the unchanged code fails"):
        FakeCopy(tmp_path, 1).check(["all"])
    copy = FakeCopy(tmp_path, 0, 5)
    copy.check(["all"])
    with pytest.raises(SystemExit, match=r"status 5:\nwhat pytest said"):
        copy.dies(ONE, ["own"])
