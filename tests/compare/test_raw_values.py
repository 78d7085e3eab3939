"""The study's raw values, and the numbers of README.md and RESULTS.md that are made from them."""

import csv
import gzip
import io
import json
import random
import re
import shutil

import pytest

from benchmarks.study import estimates, raw, tables
from bss.compare.claims import CLAIMS
from bss.compare.pairs import FoldSeed
from tests.compare.comparing import write_run

PLAN = {"analysis": {"arms": ["uniform", "cl"], "seeds": [3, 11]}, "batches": {"all": [3, 11]}}
NUMBERS = (tables.ROOT / tables.FIGURES).read_text(encoding="utf-8")
LISTED = tables.read_figures(NUMBERS)


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def write_study_run(root, arm, seed, **config):
    """A run with the fields of format 2 that a study takes."""
    folder = write_run(root / arm / f"seed{seed}", arm=arm, seed=seed, accuracy=seed / 30, recipe={"updates": 10})
    made = {"device": "cpu", "threads": 1, "processes": 1, "workers": 0, "deterministic": False}
    task = {"task": str(raw.ROOT / "benchmarks/study/digits.py"), "task_hash": "c0de", "title": "Digits"}
    listed = {"test": {"count": 30, "hash": "7e57"}, "train": {"count": 40, "hash": _list_hash(folder)}}
    command = ["python", "-m", "bss", "--data-root", "/elsewhere/x", "--out", "/tmp/y"]
    change(folder / "config.json", **made, **task, lists=listed, seed=seed, **{"command": command, **config})
    change(folder / "summary.json", updates=10)
    return folder


def _list_hash(folder):
    from bss.training.run_folder import list_hash, read_scores

    scores = read_scores(folder)
    return list_hash(scores["name"].tolist(), scores["label"])


@pytest.fixture
def study(tmp_path):
    """Four runs, and a study's folder with nothing but its plan."""
    for arm in PLAN["analysis"]["arms"]:
        for seed in PLAN["analysis"]["seeds"]:
            write_study_run(tmp_path / "runs", arm, seed)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plan.json").write_text(json.dumps(PLAN))
    return tmp_path


def make(root):
    raw.main([str(root / "runs"), "--out", str(root / "study"), "--processor", "an abacus"])


# ---- raw values ------------------------------------------------------------------------------------------------------


def test_a_study_is_a_row_per_run_and_once_what_all_runs_share(study):
    change(study / "runs/cl/seed3/summary.json", chosen_epoch=0)
    make(study)
    text = gzip.decompress((study / "study/runs.csv.gz").read_bytes()).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["arm"], row["seed"]) for row in rows] == [(a, s) for a in ("cl", "uniform") for s in ("3", "11")]
    assert list(rows[0])[:7] == ["arm", "seed", "updates", "epochs", "chosen_epoch", *list(rows[0])[5:7]]
    assert {"all.accuracy.chosen", "audio.macro_f1.last", "visual.map.chosen"} <= rows[0].keys()
    assert len(rows[0]) == 5 + 2 * 3 * 4
    assert (
        rows[0]["updates"] == "10" and rows[0]["chosen_epoch"] == "0" and rows[3]["all.accuracy.last"] == repr(11 / 30)
    )
    constants = json.loads((study / "study/constants.json").read_text())
    assert constants["commands"] == ["python -m bss --data-root DATA --out OUT"] and constants["commit"] == "abc"
    assert constants["task"]["file"] == "benchmarks/study/digits.py" and constants["processor"] == "an abacus"
    assert constants["recipe"] == {"epochs": 2, "batch_size": 8, "lr": 0.1, "updates": 10}
    assert constants["arms"]["cl"] == {
        "sampler": "CurriculumSampler",
        "method": None,
        "recipe": {"schedule.start": 0.1},
    }
    assert str(study) not in json.dumps(constants)
    read = raw.read(study / "study")
    assert read.differences("cl", "uniform", "all.accuracy.chosen") == [0.0, 0.0]
    assert read.batches == {"all": range(3, 12)}


def test_the_same_runs_make_the_same_bytes_in_any_order(study):
    make(study)
    before = [(study / "study" / name).read_bytes() for name in (raw.ROWS, raw.CONSTANTS)]
    rows, constants = raw.collect(study / "runs", "an abacus")
    random.Random(0).shuffle(rows)
    raw.write(study / "study", rows, constants)
    assert [(study / "study" / name).read_bytes() for name in (raw.ROWS, raw.CONSTANTS)] == before
    assert before[0][4:8] == bytes(4), "a time in the header of gzip"


def test_what_diverged_is_an_empty_cell_and_a_run_that_failed_so_keeps_its_row(study):
    failed = study / "runs/cl/seed11"
    reason = {"how": "not finite", "epoch": 0, "step": 3, "reason": "the loss is nan"}
    (failed / "summary.json").write_text(json.dumps({"failed": reason}))
    (failed / "done").unlink()
    summary = json.loads((study / "runs/cl/seed3/summary.json").read_text())
    for choice in ("chosen", "last"):
        summary["test"][choice]["map"] = {**summary["test"][choice]["map"], "audio": None}
    (study / "runs/cl/seed3/summary.json").write_text(json.dumps(summary))
    make(study)
    rows = raw.read(study / "study").rows
    assert [row["failed"] for row in rows] == ["", "not finite", "", ""]
    assert rows[1]["all.accuracy.last"] == "" == rows[0]["audio.map.last"] and rows[0]["audio.accuracy.last"] == "0.4"
    with pytest.raises(ValueError, match=r"all\.accuracy\.last of cl is empty for seed 11"):
        raw.read(study / "study").differences("cl", "uniform", "all.accuracy.last")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda runs: (runs / "cl/seed3/done").unlink(), "cl/seed3: unfinished, 2 epochs so far; a study's raw values"),
        (lambda runs: shutil.rmtree(runs / "cl/seed3"), "1 runs are planned and missing, such as cl with seed 3"),
        (lambda runs: write_study_run(runs, "cl", 4), "1 runs are there and not planned, such as cl with seed 4"),
        (
            lambda runs: write_study_run(runs, "cl", 3, commit="def"),
            "commit is 'abc' in cl/seed11 and 'def' in cl/seed3: runs of a study share it",
        ),
        (
            lambda runs: write_study_run(runs, "cl", 3, continued=[{"commit": "def"}]),
            "'abc' in cl/seed3 and 'def' in cl/seed3, continued",
        ),
        (
            lambda runs: change(runs / "cl/seed3/arm.json", initial_weights="w"),
            "uniform/seed3 began with other weights",
        ),
    ],
    ids=["unfinished", "missing", "not planned", "two commits", "continued", "not paired"],
)
def test_runs_that_make_no_study_are_refused(study, harm, said, capsys):
    harm(study / "runs")
    with pytest.raises(SystemExit):
        make(study)
    assert said in capsys.readouterr().err and not (study / "study" / raw.ROWS).exists()


def test_each_seed_has_its_test_list_where_the_seeds_draw_them(study):
    for arm in ("uniform", "cl"):
        for seed in (3, 11):
            folder = write_study_run(study / "runs", arm, seed)
            config = json.loads((folder / "config.json").read_text())
            listed = {**config["lists"], "test": {"count": 30, "hash": f"7e57{seed}"}}
            change(folder / "config.json", recipe={**config["recipe"], "test_part": "seeded"}, lists=listed)
    _, constants = raw.collect(study / "runs", "an abacus")
    assert constants["task"]["test"] == {f"seed {seed}": {"count": 30, "hash": f"7e57{seed}"} for seed in (3, 11)}
    change(study / "runs/cl/seed3/config.json", lists=listed)
    with pytest.raises(ValueError, match="began with other weights or lists"):
        raw.collect(study / "runs", "an abacus")


def test_folds_are_in_the_plan_and_paired_by_themselves(study):
    shutil.rmtree(study / "runs")
    for arm in ("uniform", "cl"):
        for fold in (0, 1):
            folder = write_study_run(study / "runs" / f"fold{fold}", arm, 3)
            config = json.loads((folder / "config.json").read_text())
            test = {"count": 30, "hash": f"7e57{fold}", "commonest_class_accuracy": 0.1 * fold}
            recipe = {**config["recipe"], "fold": fold}
            change(folder / "config.json", recipe=recipe, lists={**config["lists"], "test": test})
    runs = [{"arm": arm, "seed": 3, "fold": fold} for arm in ("uniform", "cl") for fold in (0, 1)]
    plan = {"analysis": {"arms": ["uniform", "cl"], "seeds": [3]}, "runs": runs}
    (study / "study" / "plan.json").write_text(json.dumps(plan))
    make(study)
    made = raw.read(study / "study")
    assert [(row["arm"], row["fold"]) for row in made.rows] == [(a, f) for a in ("cl", "uniform") for f in ("0", "1")]
    assert made.constants["task"]["test"]["fold 1"]["hash"] == "7e571" and "fold" not in made.constants["recipe"]
    assert made.values("cl", "all.accuracy.last") == {FoldSeed(0, 3): 0.1, FoldSeed(1, 3): 0.1}
    rows, _ = raw.collect(study / "runs", "an abacus")
    with pytest.raises(ValueError, match="1 runs are planned and missing, such as uniform with seed 3 in fold 1"):
        raw.check_complete(rows[:-1] if rows[-1]["arm"] == "uniform" else rows[:0], plan)


def test_the_test_list_is_one_though_the_commonest_class_is_the_training_lists(study):
    for seed in (3, 11):
        for arm in ("uniform", "cl"):
            config = json.loads((study / "runs" / arm / f"seed{seed}" / "config.json").read_text())
            listed = {**config["lists"], "test": {"count": 30, "hash": "7e57", "commonest_class_accuracy": seed / 99}}
            change(study / "runs" / arm / f"seed{seed}" / "config.json", lists=listed)
    assert raw.collect(study / "runs", "an abacus")[1]["task"]["test"] == {"count": 30, "hash": "7e57"}


def test_a_study_needs_a_plan(study, capsys):
    (study / "study/plan.json").unlink()
    with pytest.raises(SystemExit):
        make(study)
    assert "has no plan.json: a study's plan is committed before its runs begin" in capsys.readouterr().err


@pytest.mark.parametrize("name", [raw.PLAN, raw.ROWS])
def test_a_plan_or_rows_that_were_changed_afterwards_are_noticed(study, name):
    make(study)
    path = study / "study" / name
    content = path.read_bytes()
    path.write_bytes(content + b" " if name == raw.PLAN else gzip.compress(gzip.decompress(content) + b"\n"))
    with pytest.raises(ValueError, match=f"{name} is not the one that constants.json was made with"):
        raw.read(study / "study")


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_estimates_are_those_of_scipy():
    from scipy.stats import ttest_1samp

    values = [1.0, -0.5, 2.5, 0.25, 3.0]
    found, known = estimates.estimate(values), ttest_1samp(values, 0)
    assert found.p == pytest.approx(known.pvalue) and found.mean == 1.25 and found.n == 5
    for level in (0.90, 0.95):
        assert found.interval(level) == pytest.approx(tuple(known.confidence_interval(level)))


def test_equivalent_is_an_interval_of_90_percent_inside_of_the_margin():
    found = estimates.Estimate(n=121, mean=0.0, error=0.6)  # t(0.95, 120) = 1.658: 0.995
    assert found.within(1.0) and not found.within(0.99) and not estimates.Estimate(121, 0.01, 0.6).within(1.0)


@pytest.mark.parametrize(
    ("ends", "said"),
    [((-1.24, 2.0), "[-1.2, +2.0]"), ((0.04, 1.26), "[+0.04, +1.26]"), ((-0.96, -0.004), "[-0.96, 0.00]")],
)
def test_an_end_near_0_has_two_decimals(ends, said):
    assert estimates.bracket(ends) == said.replace("-", estimates.MINUS)


# ---- the pages -------------------------------------------------------------------------------------------------------


def page_of(name):
    return (tables.ROOT / name).read_text(encoding="utf-8")


def test_every_number_of_both_pages_is_made_from_raw_values_or_listed():
    assert tables.check() == []


@pytest.mark.parametrize("name", tables.PAGES)
def test_any_changed_digit_is_noticed_and_its_line_named(name):
    page = page_of(name)
    generated = [(match.start(3), match.end(3)) for match in tables.BLOCK.finditer(page)]
    for digit in re.finditer(r"\d", page):
        at, line = digit.start(), page.count("\n", 0, digit.start()) + 1
        other = str((int(digit[0]) + 1) % 10)
        if any(begin <= at < end for begin, end in generated):
            continue  # made anew and compared line by line: below
        found = tables.faults(name, page[:at] + other + page[at + 1 :], LISTED)
        assert any(fault.startswith(f"{name}:{line}: ") for fault in found), (line, digit[0])


BLOCK = "| a | 12 |\n| b | 0.5 |\n"
PAGE = f"# Page\n\n<!-- generated: x -->\n{BLOCK}<!-- end of generated -->\n\nOn 7 moons.\n"
MOONS = tables.Listed("RESULTS.md", "7 moons", "counted")


@pytest.fixture
def one_block(monkeypatch):
    monkeypatch.setattr(tables, "BLOCKS", {"x": lambda: BLOCK.rstrip()})


@pytest.mark.parametrize(("changed", "line"), [(("12", "13"), 4), (("0.5", "0.6"), 5), (("| b | 0.5 |\n", ""), 5)])
def test_a_changed_digit_of_a_table_is_noticed_and_its_line_named(one_block, changed, line):
    assert tables.faults("RESULTS.md", PAGE, [MOONS]) == []
    (fault,) = tables.faults("RESULTS.md", PAGE.replace(*changed), [MOONS])
    assert fault.startswith(f"RESULTS.md:{line}: ") and "the raw values give" in fault
    assert tables.made_anew(PAGE.replace(*changed)) == PAGE


def test_numbers_cannot_leave_their_block_or_their_list(one_block):
    bare = PAGE.replace("<!-- generated: x -->\n", "").replace("<!-- end of generated -->\n", "")
    assert [fault[:14] for fault in tables.faults("RESULTS.md", bare, [MOONS])] == ["RESULTS.md:3: ", "RESULTS.md:4: "]
    (fault,) = tables.faults("RESULTS.md", PAGE + "\nSharp: 0.25\n", [MOONS])
    assert fault.startswith("RESULTS.md:10: 0.25 is neither generated nor in ")
    (fault,) = tables.faults("RESULTS.md", PAGE.replace("On 7 moons.", ""), [MOONS])
    assert fault.endswith("lists '7 moons', which does not stand there")
    with pytest.raises(ValueError, match="there is no generated block y; of these there are: x"):
        tables.made_anew("<!-- generated: y -->\n<!-- end of generated -->")


@pytest.mark.parametrize("text", ["1 point", "1.5 point", "21 point", "1,1 point", "2.1 point"])
def test_a_listed_text_is_no_part_of_a_longer_number(text):
    listed = [tables.Listed("README.md", "1 point", "x")]
    assert bool(tables.faults("README.md", text, listed)) is (text != "1 point")
    assert not tables.faults("README.md", "by 1\n  point.", listed)


def test_a_source_that_says_something_else_is_noticed():
    proofs = tables.read_proofs(NUMBERS)
    assert len(proofs) >= 3
    (fault,) = tables.missing_proofs([("x.md", "| 1.79 |")], {"x.md": "| 1.78 |"})
    assert "x.md does not have '| 1.79 |' any more" in fault


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        (" ", "7 moons", "an entry needs one of"),
        ("counted", "", "an entry needs one of"),
        ("counted", "moons", "a text needs a number and the words around it, got 'moons'"),
        ("counted", "0.5 %", "a text needs a number and the words around it, got '0.5 %'"),
    ],
)
def test_an_entry_that_vouches_for_nothing_or_for_all_is_refused(source, text, said):
    with pytest.raises(ValueError, match=said):
        tables.read_figures(f'[[figures]]\npage = "README.md"\nsource = "{source}"\ntexts = "{text}"')


def test_what_is_claimed_stands_on_the_page_of_its_data_set_and_nowhere_as_measured():
    assert set(tables.CLAIMED.values()) == set(CLAIMS)
    for name, task in tables.CLAIMED.items():
        page = page_of(name)
        assert tables.block_faults(name, page) == [] and f"generated: claimed-{task} -->" in page
    page = page_of("CREMAD/README.md")
    assert "| BSS-L | 82.80 | 88.61 | `spl-paper`, `spl-paper-replacement` |" in page
    assert len(tables.block_faults("CREMAD/README.md", page.replace("| BSS-L | 82.80", "| BSS-L | 82.81"))) == 1
