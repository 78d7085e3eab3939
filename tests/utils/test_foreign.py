"""Objects in files of torch.save that are more than plain data are named, with their place."""

import argparse
import collections
import fractions
from pathlib import Path

import numpy as np
import pytest
import torch

from bss.training.checkpoint_file import read_checkpoint
from bss.utils.errors import DataError, RunFolderError
from bss.utils.filesystem import load_tensors

CASES = {
    "numpy number": (
        {"a": [0, {"epoch": np.int64(3)}]},
        r"a numpy number \(numpy\.\S+\.scalar\) at \['a'\]\[1\]\['epoch'\]; .*: save int\(\.\.\.\) or float",
    ),
    "numpy array": ({"x": np.zeros(3)}, r"a numpy array \(.*\) at \['x'\]; .*: save torch\.from_numpy"),
    "settings": (
        {"w": torch.zeros(1), "args": argparse.Namespace(lr=0.1)},
        r"settings \(argparse\.Namespace\) at \['args'\]; .*: save vars\(",
    ),
    "path": (["a", Path("x")], r"a path \(pathlib\.\S+\) at \[1\]; .*: save str\("),
    "defaultdict": (collections.defaultdict(list), r"a defaultdict \(.*\), which is all of it; .*: save dict\("),
    "class": ({("k", 1): (0, fractions.Fraction(1, 2))}, r"fractions\.Fraction at \[\.\.\.\]\[1\]; .*: save the file"),
    "function": ({"f": len}, r"it holds len at \['f'\]"),
    "within": (
        collections.OrderedDict(s={"a": {np.float32(1)}}),
        r"a numpy number \(.*\) at \(\.\.\.\)\['s'\]|at \['s'\]\['a'\]",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("zipped", [True, False])
def test_an_object_is_named_with_its_place_and_what_to_save_instead(tmp_path, name, zipped):
    content, says = CASES[name]
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        DataError, match=rf"x\.pt: not a readable pt file of tensors: it holds .*{says}|{says}"
    ) as error:
        load_tensors(tmp_path / "x.pt")
    said = str(error.value)
    assert "weights_only" not in said and "safe_globals" not in said and "\n" not in said


def test_a_whole_network_is_called_one(tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"a network or layer \(.*Linear\) at \['model'\]; .*: save its state_dict\(\)"):
        load_tensors(tmp_path / "x.pt")


def test_other_failures_repeat_no_advice_of_torch(tmp_path):
    torch.save({"a": 1}, tmp_path / "x.pt", pickle_protocol=4)
    with pytest.raises(DataError, match="save it again without pickle_protocol"), pytest.warns(UserWarning):
        load_tensors(tmp_path / "x.pt")
    torch.save({"a": torch.zeros(9)}, tmp_path / "x.pt")
    whole = (tmp_path / "x.pt").read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "x.pt").write_bytes(whole[:length])
        with pytest.raises(DataError) as error:
            load_tensors(tmp_path / "x.pt")
        assert "weights_only" not in str(error.value), length


def test_a_checkpoint_of_another_program_is_not_called_damaged(tmp_path):
    torch.save({"args": argparse.Namespace()}, tmp_path / "last.pt")
    with pytest.raises(RunFolderError, match=r"last\.pt is no checkpoint of a run: .*settings .* at \['args'\]"):
        read_checkpoint(tmp_path / "last.pt")


def test_a_hostile_chain_of_containers_takes_no_time(tmp_path):
    value: list = []
    for _ in range(100):
        value = [value, value]  # 2**100 places, 101 lists
    torch.save({"a": value, "z": argparse.Namespace()}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"settings \(argparse\.Namespace\) at \['z'\]"):
        load_tensors(tmp_path / "x.pt")
