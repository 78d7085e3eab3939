"""What the flags of all commands share."""

import os
from pathlib import Path

import pytest

from bss.cli import add_run_flags, flags
from bss.cli import compare as command
from bss.cli.commands import main
from bss.cli.flags import Parser, expanded
from bss.recipes import fields
from bss.recipes.cremad import CL
from bss.recipes.fields import field_named, flatten
from bss.utils.errors import DataNotFoundError, RunFolderError


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

    monkeypatch.setattr(command, "find_folders", find_folders)
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
