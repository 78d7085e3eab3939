"""What the flags of all commands share."""

import argparse
import os
from pathlib import Path

import pytest

from bss.cli import add_run_flags, flags, report
from bss.cli import commands as commands_module
from bss.cli.commands import main
from bss.cli.flags import Parser, expanded
from bss.compare.comparison import seeds_of
from bss.recipes import fields
from bss.recipes.cremad import CL
from bss.recipes.fields import field_named, flatten
from bss.utils.errors import DataNotFoundError, RecipeError, RunFolderError
from bss.utils.listed import entries


def test_patterns_are_expanded_where_no_shell_does_and_what_exists_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b-seed1", "a-seed0", "a-seed1", "a[x]", ".hidden"):
        os.makedirs(Path("runs") / name)
    runs = Path("runs")
    assert expanded([runs / "a-*"]) == [runs / "a-seed0", runs / "a-seed1"]
    assert expanded([runs / "b-seed?", runs / "none", runs / "*-seed0"]) == [
        runs / "b-seed1",
        runs / "none",  # its own error says what it lacks
        runs / "a-seed0",
    ]
    assert expanded([runs / "a[x]", tmp_path / "runs" / "b*"]) == [runs / "a[x]", tmp_path / "runs" / "b-seed1"]
    with pytest.raises(DataNotFoundError, match=r"nothing is called runs.none\*: give folders"):
        expanded([runs / "none*"])


def test_report_takes_a_pattern_and_says_in_a_line_that_nothing_matches(tmp_path, monkeypatch, capsys):
    found = []

    def find_folders(paths):
        found.extend(paths)
        raise RunFolderError("seen")

    monkeypatch.setattr(report, "find_folders", find_folders)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    assert main(["report", str(tmp_path / "runs" / "*"), "--out", str(tmp_path / "page")]) == 2
    assert found == [tmp_path / "runs" / "one"] and capsys.readouterr().err == "error: seen\n"
    assert main(["report", str(tmp_path / "none" / "*"), "--out", str(tmp_path / "page")]) == 2
    assert capsys.readouterr().err.startswith("error: nothing is called ")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("train cremad --lr=0.02", "--lr: lr is a recipe field: --set lr=0.02"),
        ("train cremad --lr -1", "--lr: lr is a recipe field: --set lr=-1"),
        ("train cremad --weight-decay --sample", "weight_decay is a recipe field: --set weight_decay=VALUE"),
        ("compare cremad --grow-epochs 3", "--set schedule.grow_epochs=3"),
        ("train cremad --learning_rate 1", "--learning_rate: lr is a recipe field: --set lr=1"),
        ("train cremad --alpha 0.3", "--set method.alpha=0.3"),
        ("train cremad --batch_size 3", "--batch_size: it is --batch-size here"),
        ("compare cremad --otu x", "--otu: did you mean --out?"),
        (
            "compare cremad --preset paper",
            "--preset: train-CL.py and train-SPL.py have it; arms of the paper's SPL are",
        ),
        ("train cremad --official", "--official: train-CL.py and train-SPL.py have it, as --preset released"),
        ("compare cremad --seed 3", "--seed: did you mean --seeds?"),
        ("doctor cremad x --num_workers 3", "--num_workers: it is --workers here"),
        ("prepare cremad --wrkers 3", "--wrkers: did you mean --workers?"),
        ("evaluate --dvice cpu", "--dvice: did you mean --device?"),
    ],
)
def test_a_flag_that_there_is_not_is_answered_with_what_was_meant(argv, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(argv.split())
    error = capsys.readouterr().err
    assert ended.value.code == 2 and said in error
    assert error.startswith("error: there is no flag ") and len(error.splitlines()) == 2


@pytest.mark.parametrize("command", ["train", "compare", "reproduce", "evaluate", "predict", "report", "prepare"])
def test_a_flag_that_is_like_none_is_refused_with_the_usage_of_its_command(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--zzz"])
    error = capsys.readouterr().err
    assert f"bss {command}" in error and error.endswith("unrecognized arguments: --zzz\n")


def test_values_that_begin_with_a_dash_are_no_flags(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "cremad", "--margin", "-1e5"])
    assert "--margin: expected one argument" in capsys.readouterr().err  # argparse's own


def test_other_names_of_fields_and_flags_stand_for_some_that_there_are():
    known = flatten(CL)
    assert all(field_named(name, known) is not None for name in fields.ELSEWHERE)
    parser = Parser()
    add_run_flags(parser, "", "", dict.fromkeys(("seed", "epochs", "batch_size"), ""))
    assert set(flags.ELSEWHERE.values()) <= set(parser._option_string_actions)


def numeric_flags():
    """(command, flag, its argparse action) of everything that takes a number."""
    (commands,) = (
        action for action in commands_module._parser()._actions if action.choices and action.dest == "command"
    )
    return [
        (name, action.option_strings[0], action)
        for name, parser in commands.choices.items()
        for action in parser._actions
        if action.metavar in ("N", "K", "POINTS") and action.option_strings and action.type is not None
    ]


REFUSED_LATER = {"--seed", "--epochs", "--batch-size", "--folds", "--margin", "--topk"}
"""By the recipe, the plan of a comparison and the prediction, which know what is too much."""


@pytest.mark.parametrize(
    ("command", "flag", "action"), numeric_flags(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_number_of_a_flag_is_taken_that_would_fill_the_machine(command, flag, action):
    for text in ("nan", "inf", "-1", "1e308", "1000000000000", "", "x"):
        try:
            action.type(text)
        except (argparse.ArgumentTypeError, ValueError):
            continue
        assert flag in REFUSED_LATER, (command, flag, text)


def test_a_number_of_processes_that_no_core_is_there_for_is_refused_with_their_number(monkeypatch, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for argv in ("train cremad --workers 500", "prepare cremad --workers 17", "compare cremad --jobs 99 --out x"):
        with pytest.raises(SystemExit):
            main(argv.split())
        assert "must be at most 16 (this machine has 2 cores), got " in capsys.readouterr().err
    assert flags.processes("16") == 16 and flags.processes("0") == 0


@pytest.mark.parametrize("text", ["1-2-3", "-3", "0", "5-3", "1,x", "1e3", "\u00b2", ""])
def test_seeds_that_are_no_list_of_seeds_are_refused(text):
    with pytest.raises(RecipeError, match="names no seed: 5 = seeds 0 to 4, 3,7 = these two, 0-9 = these ten"):
        seeds_of(text)


@pytest.mark.parametrize("text", ["1000000000", "0-4294967295", "7,0-99999999999999999999", "9" * 5000])
def test_seeds_without_end_are_counted_and_not_listed(text):
    with pytest.raises(RecipeError, match=r"seeds, and every arm has a run of each: 10,000 at most|names no seed"):
        seeds_of(text)


@pytest.mark.parametrize(
    "flags_",
    [
        "compare cremad --arms uniform,,spl",
        "compare cremad --arms ,uniform",
        "compare cremad --control uniform,,",
        "compare cremad --seeds 0,,2",
        "compare cremad --folds 3 --fold 0,,1",
        "compare cremad --tune lr=0.1,,0.2",
        "reproduce cremad --seeds ,",
    ],
)
def test_an_empty_entry_of_a_list_is_refused_and_not_passed_over(flags_, tmp_path, capsys):
    assert main([*flags_.split(), "--sample", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "there is nothing before one of its commas" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_entries_of_a_list_may_have_blanks_and_a_comma_at_the_end():
    assert entries("--arms", " uniform, spl ,") == ("uniform", "spl") and entries("--arms", " ") == ()


def test_seeds_are_counted_from_zero_or_named():
    assert seeds_of("3") == (0, 1, 2) and seeds_of("3,") == (3,) and seeds_of("3,7") == (3, 7)
    assert seeds_of("0-2, 9,11-12") == (0, 1, 2, 9, 11, 12)
