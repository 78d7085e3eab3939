"""A row for every run: the numbers by hand, the fields that differ, and runs that lack some."""

import json

from bss.compare.run_table import differing, run_table
from bss.compare.runs import find_folders, read_runs
from bss.compare.tables import results_of
from tests.compare.comparing import fail_run, write_run

LISTS = {"test": {"hash": "a" * 16, "count": 30, "commonest_class_accuracy": 0.1}}


def results(folder):
    found = read_runs(find_folders([folder]))
    return results_of(found.runs, failed=found.failed, left_out=found.left_out)


def test_every_seed_stands_under_the_mean_of_its_arm(tmp_path):
    for seed, accuracy in enumerate((0.5, 0.6)):
        write_run(tmp_path / f"u{seed}", seed=seed, accuracy=accuracy)
        write_run(tmp_path / f"c{seed}", arm="cl", seed=seed, accuracy=accuracy + 0.2, last=0.8 + seed / 10)
    table = run_table(results(tmp_path))
    assert table.columns == [
        "arm", "seed", "chosen: all", "last: all", "fused", "audio", "visual", "chosen epoch", "steps", "seconds",
        "start",
    ]  # fmt: skip
    assert table.minor == {"start"} and table.grouped
    assert [row[:4] for row in table.rows] == [
        ["uniform", "mean of 2", "55.00 \u00b1 7.07", "55.00 \u00b1 7.07"],
        ["uniform", "0", "50.00", "50.00"],
        ["uniform", "1", "60.00", "60.00"],
        ["cl", "mean of 2", "75.00 \u00b1 7.07", "85.00 \u00b1 7.07"],
        ["cl", "0", "70.00", "80.00"],
        ["cl", "1", "80.00", "90.00"],
    ]
    assert table.rows[1][5:] == ["40.00", "30.00", "2", "10", "2.0", "1.0"] and table.rows[4][-1] == "0.1"


def test_only_fields_that_differ_have_a_column_and_a_field_that_is_not_there_a_dash(tmp_path):
    common = {"schedule": {"start": 0.1, "temperature": 2.0}, "cache": "one"}
    write_run(tmp_path / "a", arm="cl", recipe=common)
    write_run(tmp_path / "b", arm="spl", recipe={**common, "schedule": {"start": 0.1, "mode": True}, "cache": "other"})
    made = results(tmp_path)
    assert differing(made) == ["schedule.temperature", "schedule.mode"]  # cache changes no number
    table = run_table(made)
    cells = table.cells[table.cells["seed"] == "0"].set_index("arm")[["temperature", "mode"]]
    assert cells.loc["cl"].tolist() == ["2.0", "-"] and cells.loc["spl"].tolist() == ["-", "true"]


def test_runs_that_lack_a_field_of_others_with_their_sampler_are_named(tmp_path):
    assert "lack" not in run_table(results_with(tmp_path / "equal", {"start": 0.1}, {"start": 0.1})).caption
    made = results_with(tmp_path / "lacking", {"start": 0.1, "temperature": 1.0}, {"start": 0.1})
    said = "Of one sampler and method, some runs lack fields that others have: cl 1 without temperature."
    assert said in run_table(made).caption
    assert run_table(made).rows[0][-1] == "2 values"


def results_with(folder, *schedules):
    for seed, schedule in enumerate(schedules):
        write_run(folder / str(seed), arm="cl", seed=seed, recipe={"schedule": schedule})
    return results(folder)


def test_the_commit_is_a_column_where_it_differs(tmp_path):
    for seed, commit in enumerate(("0123456789abcdef", "fedcba9876543210")):
        config = write_run(tmp_path / str(seed), seed=seed) / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "commit": commit}))
    table = run_table(results(tmp_path))
    assert [row[-1] for row in table.rows] == ["2 values", "01234567", "fedcba98"] and table.columns[-1] == "commit"


def test_a_failed_run_stands_in_its_arm_with_what_it_counts_for(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"u{seed}", seed=seed, lists=LISTS)
    fail_run(write_run(tmp_path / "u2", seed=2, lists=LISTS))
    fail_run(write_run(tmp_path / "hot", arm="hot", lists=LISTS))
    rows = run_table(results(tmp_path)).rows
    assert [row[:4] for row in rows[2:]] == [
        ["uniform", "1", "50.00", "50.00"],
        ["uniform", "2", "10.00 (failed)", "10.00 (failed)"],
        ["hot", "mean of 0", "-", "-"],
        ["hot", "0", "10.00 (failed)", "10.00 (failed)"],
    ]
    assert set(rows[3][4:10]) == {"-"}
