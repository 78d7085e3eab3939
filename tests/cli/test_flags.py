"""What the flags of all commands share."""

import os
from pathlib import Path

import pytest

from bss.cli import compare as command
from bss.cli.commands import main
from bss.cli.flags import expanded
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
