"""The benchmark of two commits: what it calls equal, how often it runs a row, and what its line says."""

import json
import signal
from pathlib import Path

import pytest

from benchmarks import versus_commit
from benchmarks.versus_commit import ROWS, Row, Spent, differences, different_runs, line, measure, ratio


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1, "seconds": 2}, {"a": 1, "seconds": 3, "more": 4}, []),
        ({"a": {"b": [1, {"c": 0.1}]}}, {"a": {"b": [1, {"c": 0.2}]}}, ["a.b[1].c 0.1 / 0.2"]),
        ([1, 2], [1, 2, 3], [" [1, 2] / [1, 2, 3]"]),
        ({"a": None}, {"a": 0}, ["a None / 0"]),
    ],
)
def test_values_differ_where_both_have_them_and_they_are_no_times(old, new, expected):
    assert differences(old, new) == expected


def test_runs_differ_in_a_rows_number_in_a_lost_run_and_where_there_are_none(tmp_path):
    def write(top: str, run: str, loss: float) -> None:
        folder = tmp_path / top / run
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text(f'{{"epoch": 0}}\n{{"epoch": 1, "loss": {loss}}}\n', encoding="utf-8")
        (folder / "summary.json").write_text(json.dumps({"seconds": loss}), encoding="utf-8")

    for top, run, loss in (("old", "a", 1.0), ("new", "a", 1.5), ("new", "b", 1.0)):
        write(top, run, loss)
    found = different_runs(tmp_path / "old", tmp_path / "new")
    assert found == ["b: in one alone", "a/metrics.jsonl: [1].loss 1.0 / 1.5"]
    assert different_runs(tmp_path / "none", tmp_path / "none") == ["no runs"]


def test_a_ratio_is_the_median_of_those_within_a_repeat():
    assert ratio([(2.0, 1.0), (9.0, 3.0), (8.0, 2.0)]) == "3.00 (2.00 - 4.00)"
    assert ratio([(3.0, 2.0)]) == "1.50"


def test_a_row_runs_in_turn_as_often_as_its_first_command_says_on_what_was_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(versus_commit, "REPEATS", ((60.0, 2), (float("inf"), 9)))
    write = "import os, sys; open(sys.argv[1], 'a').write(os.path.basename(os.getcwd()))"
    row = Row(
        "append",
        command=lambda data_root, out: ["-c", write, str(out / "file")],
        differences=lambda old, new: [(old / "file").read_text(), (new / "file").read_text()],
        prepare=lambda checkout, other, data_root, folder: (folder / "file").write_text(f"{other.name}, ") and None,
    )
    paths = [tmp_path / "before", tmp_path / "after"]
    for path in paths:
        path.mkdir()
    measured = measure(row, paths, tmp_path)
    assert measured.different == ["after, before", "before, after"] and len(measured.spent) == 2
    assert all(0 < side.cpu and 0 < side.wall for pair in measured.spent for side in pair)


def test_a_command_that_fails_ends_with_what_it_said(tmp_path):
    row = Row("fail", command=lambda data_root, out: ["-c", "raise SystemExit('for want of a nail')"])
    with pytest.raises(SystemExit, match=r"(?s)ended with 1.*for want of a nail"):
        measure(row, [tmp_path, tmp_path], tmp_path)


def test_a_command_is_run_as_by_a_user_in_a_terminal_also_from_the_background(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    code = "import signal, sys; print(sys.dont_write_bytecode, signal.getsignal(signal.SIGINT).__name__)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell leaves it to a command in the background
    try:
        versus_commit.run(tmp_path, ["-c", code], tmp_path / "log")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "log").read_text() == "False default_int_handler\n"


def test_a_line_has_medians_ratios_and_the_number_of_differences():
    spent = [(Spent(2.0, 4.0), Spent(1.0, 1.0))]
    text = line(Row("it", command=lambda *_: ()), versus_commit.Measured(spent, ["a", "b"]))
    assert text == "| it | 2.00 | 1.00 | 2.00 | 4.00 | 1 | 2 differences |"


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_row_has_a_command_of_texts(name):
    assert all(isinstance(each, str) for each in ROWS[name].command(Path("data"), Path("out")))


def test_a_run_of_another_seed_has_its_numbers_moved_by_their_places_alone(tmp_path):
    trained, numbers = tmp_path / "cl" / "seed0", {"test": {"accuracy": {"all": 0.5, "fused": 1.0}}, "updates": 7}
    trained.mkdir(parents=True)
    for name, content in (("config.json", {"recipe": {"seed": 0}, "checksum": "x"}), ("arm.json", {"arm": "cl"})):
        (trained / name).write_text(json.dumps(content), encoding="utf-8")
    (trained / "summary.json").write_text(json.dumps({**numbers, "files": {}, "checksum": "x"}), encoding="utf-8")
    (trained / "metrics.jsonl").write_text('{"epoch": 0, "val": 0.5, "checksum": "x"}\n', encoding="utf-8")
    for name in ("scores.npz", "done"):
        (trained / name).touch()
    moved = []
    for seed, top in ((3, "a"), (3, "b"), (4, "a")):
        versus_commit._as_seed(trained, tmp_path / top / "cl" / f"seed{seed}", seed)
        summary = json.loads((tmp_path / top / "cl" / f"seed{seed}" / "summary.json").read_text(encoding="utf-8"))
        moved.append(summary["test"]["accuracy"]["all"])
        assert summary.keys() == numbers.keys() and summary["test"]["accuracy"]["fused"] == 1.0
    assert moved[0] == moved[1] != moved[2] and all(0.49 <= value <= 0.51 for value in moved)
    assert json.loads((tmp_path / "a/cl/seed4/config.json").read_text(encoding="utf-8")) == {"recipe": {"seed": 4}}
    assert '"checksum": null' in (tmp_path / "a/cl/seed4/metrics.jsonl").read_text(encoding="utf-8")


def test_tables_and_findings_are_compared_where_both_commits_have_them(tmp_path):
    finding = {"check": "copies", "severity": "ok", "examples": []}
    for top, n, column, findings in (("old", 1, "n", [finding]), ("new", 2, "n,more", [{**finding, "examples": [0]}])):
        (tmp_path / top / "report").mkdir(parents=True)
        text = f"arm,{column}\ncl,{n}{',9' * (top == 'new')}\n"
        (tmp_path / top / "report" / "table.csv").write_text(text, encoding="utf-8")
        (tmp_path / top / "doctor.json").write_text(json.dumps({"findings": findings}), encoding="utf-8")
    assert versus_commit.different_tables(tmp_path / "old", tmp_path / "new") == ["[0].n 1 / 2"]
    assert versus_commit.different_findings(tmp_path / "old", tmp_path / "new") == ["copies[1] 0 / 1"]


def test_tests_that_both_have_are_found_by_their_names_wherever_they_have_moved(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for path, text in (
        (old / "tests" / "test_a.py", "def test_one():\n    pass\n\n\ndef test_gone(x):\n    pass\n"),
        (new / "tests" / "room" / "test_b.py", "def test_one():\n    pass\n\n\ndef test_new():\n    pass\n"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    for path, other, place in ((old, new, "tests/test_a.py::test_one"), (new, old, "tests/room/test_b.py::test_one")):
        versus_commit.shared_tests(path, other, tmp_path, path)
        assert (path / "tests.txt").read_text(encoding="utf-8") == f"{place}\n"


def test_tests_that_passed_are_counted_without_those_that_were_skipped(tmp_path):
    for name, total in (("old", 5), ("new", 7)):
        (tmp_path / name).mkdir()
        xml = f'<testsuites><testsuite tests="{total}" skipped="2" failures="0" /></testsuites>'
        (tmp_path / name / "junit.xml").write_text(xml, encoding="utf-8")
    assert versus_commit.different_counts(tmp_path / "old", tmp_path / "old") == []
    assert versus_commit.different_counts(tmp_path / "old", tmp_path / "new") == [
        "3 tests passed in the old one, 5 in the new one"
    ]
