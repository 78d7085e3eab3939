"""``python -m bss reproduce``: what it says before it trains, what it leaves, and what it refuses."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bss import tasks
from bss.cli import compare as command
from bss.cli.commands import main
from bss.compare import claims, cost, figures
from bss.compare import plan as plans
from bss.compare.arms import find
from bss.compare.plan import plan_hash
from bss.compare.raw_values import read
from bss.compare.runner import attempt
from tests.compare import comparing

TASK = str(Path(comparing.__file__))
TABLE = {"Audio": (61.25, 62.5), "Concat": (70.0, 71.0), "MSES": (65.0, 66.0), "BSS-L": (80.0, 81.0)}
ARMS = (
    *("uniform", "uniform-replacement", "random-pacing", "ensemble"),
    *("alone-audio", "joint", "spl-paper", "spl-paper-replacement"),
)


def one_after_another(comparison, *, jobs, devices, interrupts):
    """Trains in this process, which has imported everything."""
    runs = [each for each in comparison.plan() if not (comparison.folder(*each) / "done").exists()]
    return [attempt(comparison, find([arm])[0], seed, devices[0]) for arm, seed in runs]


@pytest.fixture
def tiny_claims(tmp_path, monkeypatch):
    """A claimed table of four rows for the tiny task, whose runs take a tenth of a second; gives the command."""
    monkeypatch.setitem(claims.CLAIMS, TASK, claims.Claims(metric="map", alone={"Audio": "audio"}, table=TABLE))
    monkeypatch.setattr(tasks.load(TASK), "CL_PAPER", replace(comparing.CL, fused_weight=0.25), raising=False)
    monkeypatch.setattr(command, "run_all", one_after_another)
    monkeypatch.setattr(figures, "_svg", lambda figure, name: "<svg></svg>")
    monkeypatch.setattr(cost, "TIMED", 2)
    (tmp_path / "data").mkdir()
    given = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    return ["reproduce", TASK, "--seeds", "2", "--workers", "0", *given]


def test_a_dry_run_says_what_all_of_it_costs_and_writes_nothing(tiny_claims, tmp_path, capsys):
    assert main([*tiny_claims, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 arms x 2 seeds, 12 updates each, on cpu"
    assert lines[1].endswith(
        "14 tests of 7 differences: spl-paper - uniform, spl-paper-replacement - uniform, "
        "spl-paper-replacement - uniform-replacement, spl-paper - ensemble, "
        "spl-paper-replacement - ensemble, spl-paper - joint, spl-paper-replacement - joint"
    )
    arms = [line.split() for line in lines if line.startswith("  ")]
    assert [words[0] for words in arms] == list(ARMS) and all(
        words[-4:] == ["runs", "to", "make:", "2"] for words in arms
    )
    assert any(line.startswith("cost: 16 runs, ") for line in lines)
    assert any(re.match(r"disk: .* are free at ", line) for line in lines)
    assert lines[-1] == "dry run: nothing was trained or written" and not (tmp_path / "out").exists()


def test_it_trains_all_arms_from_one_recipe_and_leaves_a_page_and_two_files(tiny_claims, tmp_path, capsys):
    assert main(tiny_claims) == 0
    said, out = capsys.readouterr().out, tmp_path / "out"
    assert f"to send back (docs/reproduce.md): {out / 'contribution/plan.json'}, " in said
    plan = plans.read(out)
    assert plan.analysis.arms == ARMS and plan.seen == ()
    page, table = (out / "report.html").read_text(), (out / "table.md").read_text()
    assert page.index("Claimed, and measured here") < page.index("<h2>Arms</h2>")
    for text in ("61.25", "80.00", "no deviation, number of seeds or protocol is given", "+10.00 over Concat"):
        assert text in page and text in table
    assert "fused_weight=0.25 in place of 1.0" in page and "<p>Planned: Test accuracy" in page
    rows = read((out / "contribution/runs.csv.gz").read_bytes())
    assert len(rows) == 16 and {row["plan"] for row in rows} == {plan_hash(plan)}
    assert str(tmp_path) not in (out / "contribution/plan.json").read_text()

    # The same command trains nothing, and makes the page again; more seeds go on in the same folder.
    before = (out / "contribution/runs.csv.gz").read_bytes()
    assert main(tiny_claims) == 0
    assert "cost: all runs are finished" in capsys.readouterr().out
    assert (out / "contribution/runs.csv.gz").read_bytes() == before
    assert main([*tiny_claims, "--seeds", "3", "--dry-run"]) == 0
    assert "cost: 8 runs, " in capsys.readouterr().out


def test_what_is_set_beside_the_recipe_reaches_the_arms_and_the_page(tiny_claims, capsys):
    assert main([*tiny_claims, "--set", "unimodal_weight=0.5", "--set", "start=0.5", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "schedule.start=0.5 reaches random-pacing; not uniform" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny"], "there is no claimed table for 'tiny'; there is one for cremad, ks, twitter15, sarcasm, nvgesture"),
        (["cremad"], "pass --data-root DIR, the data set's folder, or --sample for a small generated data set"),
        (["cremad", "--data-root", "nowhere"], "--data-root nowhere is not a folder"),
        (["cremad", "--sample", "--seeds", "0"], "--seeds '0' names no seed"),
        (["cremad", "--sample", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["cremad", "--sample", "--set", "seed=1"], "--set seed= is not for a comparison: use --seeds"),
        (["cremad", "--sample", "--set", "nothing=1"], "unknown recipe field 'nothing'"),
        (["ks", "--sample", "--folds", "5"], "--folds 5: no folds are prepared for ks, but for cremad"),
        (["cremad", "--sample", "--folds", "1"], "folds must be 2 or more"),
        (["cremad", "--sample", "--folds", "5", "--set", "fold=1"], "--set fold= contradicts --folds"),
        (["cremad", "--sample", "--device", "tpu"], "--device tpu: PyTorch sees"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_reproduced_is_refused_with_the_way_out(tmp_path, capsys, words, message):
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_data_that_are_not_there_are_said_with_the_way_to_them(tmp_path, capsys):
    assert main(["reproduce", "cremad", "--data-root", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no list of the train split under" in (said := capsys.readouterr().err) and "--sample" in said


def test_a_folder_with_another_comparison_is_refused(tiny_claims, tmp_path, monkeypatch, capsys):
    options = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--workers", "0"]
    assert main(["compare", TASK, "--arms", "uniform,cl", "--seeds", "1", "--device", "cpu", *options]) == 0
    assert main(tiny_claims) == 2
    assert "plan.json is of another comparison, of 2 arms (uniform, cl, ...) and 1 contrasts" in capsys.readouterr().err
