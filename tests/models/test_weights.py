"""Weights out of files, in the forms in which they are published."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bss.models.weights import matched, read_weights
from bss.utils.errors import DataError


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


STATE = network().state_dict()


def under(prefix: str, state: dict[str, torch.Tensor] = STATE) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


# ---- what is in a file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model", "net"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_read_bare_and_out_of_a_checkpoint(tmp_path, wrapper, zipped):
    content = STATE if wrapper is None else {"epoch": 3, "optimizer": {"lr": 0.1}, wrapper: STATE}
    torch.save(content, tmp_path / "w.bin", _use_new_zipfile_serialization=zipped)
    read = read_weights(tmp_path / "w.bin")
    assert read.keys() == STATE.keys() and all(torch.equal(read[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_safetensors_are_told_by_their_content(tmp_path, name):
    save_file(dict(STATE), tmp_path / name)
    read = read_weights(tmp_path / name)
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


def test_a_damaged_file_of_safetensors_is_named(tmp_path):
    save_file(dict(STATE), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:-5])
    with pytest.raises(DataError, match=r"w\.safetensors: not a readable safetensors file"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1], "but a list"),
        ({}, "but a dict of nothing"),
        ({"epoch": 3, "optimizer": {}}, "but a dict of 'epoch', 'optimizer'"),
        ({"model": "resnet50", "lr": 0.1}, "but a dict of 'model', 'lr'"),
    ],
)
def test_what_else_a_file_holds_is_said(tmp_path, content, says):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(DataError, match=rf"w\.pt: holds no state dict \(name -> tensor\), {says}"):
        read_weights(tmp_path / "w.pt")


# ---- which of it is the network's ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "backbone.", "encoder.", "_orig_mod.", "module.model.backbone.", "audio_net."]
)
def test_a_prefix_is_taken_off_where_there_is_no_doubt(prefix):
    found = matched(under(prefix), STATE)
    assert found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_other_parts_of_a_larger_network_are_left_out():
    weights = {**under("backbone."), "neck.weight": torch.zeros(4), "backbone.fc.weight": torch.zeros(4)}
    assert matched(weights, STATE, ignored=("fc.",)).keys() == STATE.keys()
    with pytest.raises(DataError, match=r"1 unexpected, first fc\.weight, behind 'backbone\.'"):
        matched(weights, STATE)


def test_of_two_networks_in_a_file_the_shapes_tell_and_else_nothing_does():
    wide = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).state_dict()
    assert torch.equal(matched({**under("video.", wide), **under("audio.")}, STATE)["0.weight"], STATE["0.weight"])
    with pytest.raises(DataError, match=r"2 networks in it fit, behind 'encoder_k\.' and 'encoder_q\.'"):
        matched({**under("encoder_q."), **under("encoder_k.")}, STATE)


def test_counters_of_batch_norm_may_lack():
    old = {name: value for name, value in under("module.").items() if "num_batches" not in name}
    assert "1.num_batches_tracked" not in matched(old, STATE) and len(matched(old, STATE)) == len(STATE) - 1


def test_what_does_not_fit_is_counted_and_named():
    lacking = {name: value for name, value in under("module.").items() if not name.endswith("0.bias")}
    with pytest.raises(DataError, match=r"^1 missing, first 0\.bias, behind 'module\.'$"):
        matched(lacking, STATE)
    with pytest.raises(
        DataError, match=r"^6 missing, first 0\.weight; 1 unexpected, first layers\.0\.w; its own first"
    ):
        matched({"layers.0.w": torch.zeros(2)}, STATE)
    with pytest.raises(DataError, match=r"^1 of another shape, first 0\.weight \(3, 4\) instead of \(3, 2\)$"):
        matched({**STATE, "0.weight": torch.zeros(3, 4)}, STATE)
