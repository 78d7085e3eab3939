"""The exploratory part of the study: which setting an arm chooses, and what is run with it."""

import importlib
import json

import pytest

from benchmarks.study import raw, tuned
from benchmarks.study.tuned import Plan, Setting, Tried, choose, read_choice, read_plan, sharing, write_choice
from bss.compare.arms import find, partly_reaching
from tests.compare.comparing import fail_run, write_run

SHORT, LONG, STRONG = Setting(0.0, 1), Setting(0.0, 2), Setting(0.01, 1)
SETTINGS = [SHORT, LONG, STRONG]


def tried(arm, **accuracies):
    """Accuracies of the seeds 7 and 8 by setting."""
    settings = {"short": SHORT, "long": LONG, "strong": STRONG}
    return [
        Tried(arm, settings[name], seed, accuracy)
        for name, values in accuracies.items()
        for seed, accuracy in zip((7, 8), values, strict=True)
    ]


def test_every_arm_takes_the_setting_with_the_best_mean_on_validation():
    runs = tried("a", short=(0.5, 0.5), long=(0.8, 0.3), strong=(0.5, 0.4))  # means 0.50, 0.55, 0.45
    runs += tried("b", short=(0.5, 0.5), long=(0.4, 0.4), strong=(0.2, 0.9))  # 0.50, 0.40, 0.55
    assert choose(runs, SETTINGS) == {"a": LONG, "b": STRONG}


def test_of_equal_means_the_first_setting_wins_whatever_their_last_digit():
    runs = tried("a", short=(0.1, 0.2), long=(0.2, 0.1), strong=(0.15, 0.15 + 1e-16))
    assert choose(runs, SETTINGS) == {"a": SHORT} and choose(runs, SETTINGS[::-1]) == {"a": STRONG}


@pytest.mark.parametrize("missing", [slice(0, 1), slice(0, 2)], ids=["one seed", "one setting"])
def test_an_arm_that_has_not_tried_everything_chooses_nothing(missing):
    runs = tried("a", short=(0.5, 0.5), long=(0.8, 0.3), strong=(0.5, 0.4))
    del runs[missing]
    with pytest.raises(ValueError, match="a has not tried each of the 3 settings with the same seeds"):
        choose(runs, SETTINGS)


def test_a_choice_is_read_as_it_was_written(tmp_path):
    runs = tried("a", short=(0.1, 1 / 3), strong=(0.5, 0.4))
    write_choice(tmp_path / "choice.csv", reversed(runs))
    assert read_choice(tmp_path / "choice.csv") == runs


def test_arms_with_one_setting_are_run_together():
    assert sharing({"a": LONG, "b": SHORT, "c": LONG}) == {LONG: ["a", "c"], SHORT: ["b"]}


def test_the_plan_has_nine_cases_of_six_settings_and_seeds_of_its_own_for_the_choice():
    plan = read_plan()
    assert len(plan.cases) == 9 and len(plan.settings) == 6 and plan.settings[0] == Setting(0.0, 1)
    assert not set(range(600, 603)) & set(range(*plan.said["seeds"]))
    assert plan.said["choice_seeds"] == [600, 602]


def test_a_setting_and_a_size_are_values_of_set():
    small, _, everything = read_plan().cases[:3]
    words = small.comparison(Setting(0.001, 2), ["uniform"], "choice_seeds").command("DATA", "OUT", 2)
    assert {"train_samples=100", "weight_decay=0.001", "updates=504", "600-602"} <= set(words)
    assert not any(
        "train_samples" in word for word in everything.comparison(SHORT, ["uniform"], "seeds").command("D", "O", 2)
    )
    assert everything.folder == "three-views-all"


def test_every_arm_can_be_run_alone_with_its_setting():
    """Arms with one setting are run together: an arm may be the only one, and ``compare`` refuses what it has not."""
    plan = read_plan()
    for case in plan.cases:
        for arm in plan.said["arms"]:
            comparison = case.comparison(LONG, [arm], "seeds")
            base = importlib.import_module(f"benchmarks.study.{comparison.task}").CL
            assert partly_reaching(find([arm]), comparison.assignments, base) == []


def test_a_case_is_whole_when_every_chosen_setting_has_raw_values(tmp_path):
    said = {"settings": {"weight_decay": [0.0], "times_updates": [1, 2]}, "sets": {"one": {}}, "train_samples": [5]}
    (case,) = Plan(said).cases
    assert not tuned.is_whole(case, tmp_path)
    own = tmp_path / "one-5"
    own.mkdir()
    runs = tried("a", short=(0.5, 0.5), long=(0.8, 0.3)) + tried("b", short=(0.5, 0.5), long=(0.4, 0.4))
    write_choice(own / "choice.csv", runs)
    for setting, whole in ((LONG, False), (SHORT, True)):
        (own / setting.folder).mkdir()
        (own / setting.folder / "runs.csv.gz").touch()
        assert tuned.is_whole(case, tmp_path) is whole


def test_what_runs_reached_on_validation_is_read_from_their_folders(tmp_path):
    write_run(tmp_path / "a" / "seed7", arm="spl", seed=7, accuracy=0.625)
    fail_run(write_run(tmp_path / "a" / "seed8", arm="spl", seed=8))
    assert sorted(tuned.tries_of(tmp_path, LONG)) == [Tried("spl", LONG, 7, 0.625), Tried("spl", LONG, 8, 0.0)]


def write_raw(folder, accuracies, commit="abc"):
    """Raw values of some arms, and a plan: arm -> its accuracies at the seeds 1 and 2."""
    folder.mkdir(exist_ok=True)
    (folder / "plan.json").write_text("{}")
    rows = [
        {"arm": arm, "seed": seed, "updates": 5, "epochs": 1, "chosen_epoch": 0, "all.accuracy.chosen": value}
        for arm, values in accuracies.items()
        for seed, value in zip((1, 2), values, strict=True)
    ]
    raw.write(folder, rows, {"commit": commit, "processor": "Abacus"})


def test_the_page_pairs_arms_by_seed_whatever_setting_each_has_chosen(tmp_path):
    arms = ["uniform", "uniform-replacement", "spl-paper-replacement", "spl-paper-replacement-reversed"]
    grid = {"weight_decay": [0.0], "times_updates": [1, 2]}
    said = {"settings": grid, "sets": {"one": {}}, "train_samples": [5, None], "arms": arms}
    (tmp_path / "plan.json").write_text(json.dumps(said))
    assert tuned.table(tmp_path) == "Not run yet." and "not run yet" in tuned.in_short(tmp_path)
    own = tmp_path / "one-5"
    own.mkdir()
    tries = [run for arm in arms[:3] for run in tried(arm, short=(0.5, 0.5), long=(0.8, 0.3))]
    write_choice(own / "choice.csv", [*tries, *tried(arms[3], short=(0.6, 0.6), long=(0.5, 0.5))])
    write_raw(own / LONG.folder, {arms[0]: (0.5, 0.5), arms[1]: (0.4, 0.5), arms[2]: (0.6, 0.5)})
    write_raw(own / SHORT.folder, {arms[3]: (0.5, 0.6)})
    line = tuned.table(tmp_path).splitlines()[2]
    # Paper minus uniform with replacement: +20 and 0, mean +10; minus reversed: +10 and -10, mean 0.
    assert line.startswith(
        "| one | 5 | 50.0 ± 0.0 (0, x2) | 45.0 ± 7.1 (0, x2) | 55.0 ± 7.1 (0, x2) | 55.0 ± 7.1 (0, x1) |"
    )
    assert [cell.split()[0] for cell in line.split("|")[7:10]] == ["+10.00", "0.00", "+5.00"]
    assert tuned.table(tmp_path).endswith("1 of 2 cases, commit abc, Abacus.")
    said = " ".join(tuned.in_short(tmp_path).split())
    assert "in 1 of 2 cases" in said and said.endswith(
        "minus uniform order +5.00 to +5.00 points (0 is in every interval)."
    )
    write_raw(own / LONG.folder, {arms[0]: (0.5, 0.5), arms[1]: (0.4, 0.4), arms[2]: (0.600, 0.601)})
    # Minus equal weights +20.0 and +20.1 points, and t(0.975) of one degree of freedom is 12.7: above 0.
    assert "minus equal weights +20.05 to +20.05 points (above 0 in: one (5))" in tuned.in_short(tmp_path)
    write_raw(own / SHORT.folder, {arms[3]: (0.5, 0.6)}, commit="def")
    with pytest.raises(ValueError, match="2 commits: abc, def"):
        tuned.table(tmp_path)
