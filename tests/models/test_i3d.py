import json
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from bss.models.encoders.i3d import STEM, I3DEncoder, load_i3d, same_padding
from bss.utils.errors import DataError

KEYS = Path(__file__).parents[3] / "shared" / "reference" / "i3d_keys.json"


def rand(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def encoder(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return I3DEncoder(**{"width": 4} | options)


def public_file(path, *, width=4, in_channels=3, drop=(), extra=None, legacy=True):
    """Weights as the public files have them: with a classifier, without BatchNorm's step counters."""
    state = {
        key: torch.full_like(value, 0.5)
        for key, value in encoder(width=width, in_channels=in_channels).state_dict().items()
        if not key.endswith("num_batches_tracked") and key not in drop
    }
    state |= {"logits.conv3d.weight": torch.zeros(400, 16 * width, 1, 1, 1), "logits.conv3d.bias": torch.zeros(400)}
    torch.save(state | (extra or {}), path, _use_new_zipfile_serialization=not legacy)
    return path


# ---- padding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 7, 2, (2, 3)),  # 112 outputs need 111 * 2 + 7 = 229 inputs: 5 more
        (225, 7, 2, (3, 3)),  # 113 outputs need 231: 6 more
        (80, 7, 2, (2, 3)),
        (112, 3, 2, (0, 1)),  # 56 outputs need 113
        (7, 3, 2, (1, 1)),
        (14, 2, 2, (0, 0)),
        (7, 2, 2, (0, 1)),  # 4 outputs need 8
        (9, 3, 1, (1, 1)),
        (9, 1, 1, (0, 0)),
        (5, 1, 2, (0, 0)),
        (1, 7, 2, (3, 3)),
    ],
)
def test_same_padding_by_hand(size, kernel, stride, expected):
    assert same_padding(size, kernel, stride) == expected


@given(size=st.integers(1, 300), kernel=st.integers(1, 7), stride=st.integers(1, 3))
def test_same_padding_gives_as_many_outputs_as_strides_begun_and_no_more_zeros_than_that_needs(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert 0 <= after - before <= 1
    assert (size + before + after - kernel) // stride + 1 >= -(-size // stride)
    # TensorFlow's documentation states it by the remainder.
    total = max(kernel - stride, 0) if size % stride == 0 else max(kernel - size % stride, 0)
    assert before + after == total


@torch.no_grad()
def test_an_even_input_is_sampled_where_tensorflow_samples_it():
    stem = encoder(in_channels=1, width=1).get_submodule(STEM).eval()
    stem.conv3d.weight.fill_(1.0)
    clip = torch.zeros(1, 1, 8, 8, 8)
    clip[..., 0, 0, 0] = 1.0
    # With 2 zeros before, output o sees inputs 2 o - 2 to 2 o + 4: input 0 reaches the outputs 0 and 1 of 4.
    seen = (stem(clip)[0, 0] > 0.5).nonzero().tolist()
    assert seen == [[t, y, x] for t in (0, 1) for y in (0, 1) for x in (0, 1)]


# ---- the network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("in_channels", "count"), [(3, 12_287_264), (2, 12_265_312), (1, 12_243_360)])
def test_the_number_of_parameters_and_entries_is_that_of_the_released_stream(in_channels, count):
    with torch.device("meta"):
        network = I3DEncoder(in_channels=in_channels)
    # A channel less at the stem is 7 * 7 * 7 * 64 = 21,952 weights less.
    assert sum(p.numel() for p in network.parameters()) == count == 12_287_264 - (3 - in_channels) * 21_952
    assert len(network.state_dict()) == 342 and network.feature_dim == 1024


@pytest.mark.skipif(not KEYS.is_file(), reason="the list of keys is not here")
def test_keys_shapes_and_their_order_are_those_of_the_public_weights():
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in I3DEncoder().state_dict().items()}
    theirs = json.loads(KEYS.read_text())["rgb"]
    assert list(ours.items()) == list(theirs.items())


def test_batchnorm_has_the_published_numbers():
    norms = [m for m in encoder().modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)} and len(norms) == 57
    assert {m.momentum for m in encoder(norm_momentum=0.1).modules() if isinstance(m, torch.nn.BatchNorm3d)} == {0.1}


def reference_feature_map(state, x):
    """I3D from its state dict, written down once more: TensorFlow's padding by remainders, minus infinity in pools."""

    def pad(x, kernel, stride, value):
        for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), start=2):
            rest = x.shape[axis] % s
            total = max(k - (rest or s), 0)
            sides = [0] * 2 * (4 - axis) + [total // 2, total - total // 2]
            x = F.pad(x, sides, value=value)
        return x

    def unit(name, x, stride=1):
        weight = state[f"{name}.conv3d.weight"]
        x = F.conv3d(pad(x, weight.shape[2:], (stride,) * 3, 0.0), weight, stride=stride)
        norm = (state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *norm, eps=1e-3).relu()

    def pool(x, kernel, stride):
        return F.max_pool3d(pad(x, kernel, stride, float("-inf")), kernel, stride)

    def mixed(name, x):
        return torch.cat(
            [
                unit(f"{name}.b0", x),
                unit(f"{name}.b1b", unit(f"{name}.b1a", x)),
                unit(f"{name}.b2b", unit(f"{name}.b2a", x)),
                unit(f"{name}.b3b", pool(x, (3, 3, 3), (1, 1, 1))),
            ],
            dim=1,
        )

    x = pool(unit("Conv3d_1a_7x7", x, stride=2), (1, 3, 3), (1, 2, 2))
    x = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    x = pool(mixed("Mixed_3c", mixed("Mixed_3b", x)), (3, 3, 3), (2, 2, 2))
    for letter in "bcdef":
        x = mixed(f"Mixed_4{letter}", x)
    return mixed("Mixed_5c", mixed("Mixed_5b", pool(x, (2, 2, 2), (2, 2, 2))))


@pytest.mark.parametrize("shape", [(2, 3, 16, 48, 64), (1, 3, 9, 33, 45), (1, 3, 10, 40, 40)])
@torch.no_grad()
def test_the_feature_map_is_that_of_the_network_written_down_independently(shape):
    network = encoder(norm_momentum=0.5)
    network(rand(*shape, seed=1))  # running statistics of the data, so that eval mode neither dies nor explodes
    network.eval()
    theirs = reference_feature_map(network.state_dict(), rand(*shape))
    torch.testing.assert_close(network.feature_map(rand(*shape)), theirs)
    assert theirs.std() > 0 and theirs.shape[2:] == tuple(
        -(-n // d) for n, d in zip(shape[2:], (8, 32, 32), strict=True)
    )


@pytest.mark.parametrize("in_channels", [1, 2, 3, 5])
@pytest.mark.parametrize(("width", "dim"), [(64, 1024), (8, 128), (2, 32)])
def test_any_width_and_number_of_channels_is_taken(in_channels, width, dim):
    with torch.device("meta"):
        network = I3DEncoder(in_channels=in_channels, width=width)
        assert network.feature_dim == dim
        assert network(torch.zeros(2, in_channels, 16, 32, 32)).shape == (2, dim)


@pytest.mark.parametrize(("frames", "positions"), [(64, 8), (80, 10)])
def test_a_clip_of_the_recipes_size_has_as_many_positions_as_in_the_released_network(frames, positions):
    with torch.device("meta"):
        features = I3DEncoder(in_channels=1).feature_map(torch.zeros(2, 1, frames, 224, 224))
    assert features.shape == (2, 1024, positions, 7, 7)


@torch.no_grad()
def test_the_width_of_a_sample_runs_on_a_frame_of_the_smallest_size():
    assert encoder(width=1, in_channels=2).eval()(torch.zeros(1, 2, 1, 1, 1)).shape == (1, encoder(width=1).feature_dim)


@torch.no_grad()
def test_pooling_over_the_clip_is_the_mean_of_the_feature_map_and_first_is_that_of_eight_positions(monkeypatch):
    for pooling, positions in (("clip", 10), ("first", 8)):
        network = encoder(pooling=pooling)
        features = rand(2, network.feature_dim, 10, 7, 7)
        monkeypatch.setattr(network, "feature_map", lambda clips, features=features: features)
        out = network(torch.zeros(2, 3, 80, 224, 224))
        torch.testing.assert_close(out, features[:, :, :positions].mean(dim=(2, 3, 4)))
        if pooling == "first":  # the released network: an average pool of (8, 7, 7), and the first of its outputs
            torch.testing.assert_close(out, F.avg_pool3d(features, (8, 7, 7), stride=1)[:, :, 0, 0, 0])


def test_the_gradient_reaches_every_parameter():
    network = encoder(in_channels=2)
    (network(rand(2, 2, 8, 40, 40)) * rand(network.feature_dim)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("shape", [(3, 8, 32, 32), (8, 32), (1, 1, 3, 8, 32, 32)])
def test_another_number_of_axes_is_refused_and_its_shape_named(shape):
    with pytest.raises(ValueError) as error:
        encoder()(torch.zeros(shape))
    assert str(shape) in str(error.value)


# ---- public weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [True, False])
def test_public_weights_load_without_their_classifier_and_without_step_counters(tmp_path, legacy):
    network = encoder()
    load_i3d(network, public_file(tmp_path / "rgb.pt", legacy=legacy))
    assert all((value == 0.5).all() for key, value in network.state_dict().items() if "num_batches" not in key)


def test_a_new_stem_is_left_alone_only_where_it_is_asked_for(tmp_path):
    path = public_file(tmp_path / "rgb.pt")
    depth = encoder(in_channels=1)
    before = {key: value.clone() for key, value in depth.state_dict().items()}
    with pytest.raises(DataError, match=rf"{STEM}.conv3d.weight \(4, 3, 7, 7, 7\) instead of \(4, 1, 7, 7, 7\)"):
        load_i3d(depth, path)
    assert all(torch.equal(value, before[key]) for key, value in depth.state_dict().items())
    load_i3d(depth, path, new_stem=True)
    for key, value in depth.state_dict().items():
        assert torch.equal(value, before[key]) if key.startswith(STEM) else (value == 0.5).all() or "batches" in key


def test_weights_that_do_not_fit_are_named_with_their_keys(tmp_path):
    key = "Mixed_4d.b1a.conv3d.weight"
    with pytest.raises(DataError, match=rf"rgb\.pt: not the weights of this I3D: 1 missing, first {key}$"):
        load_i3d(encoder(), public_file(tmp_path / "rgb.pt", drop={key}))
    with pytest.raises(DataError, match=r"1 unexpected, first fc\.weight"):
        load_i3d(encoder(), public_file(tmp_path / "rgb.pt", extra={"fc.weight": torch.zeros(2)}))
    with pytest.raises(DataError, match=r"\d+ of another shape, first Conv3d_1a_7x7"):
        load_i3d(encoder(width=8), public_file(tmp_path / "rgb.pt"))


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 half a file"])
def test_a_file_that_holds_no_weights_is_a_data_error_with_its_name(tmp_path, content):
    (tmp_path / "rgb.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"rgb\.pt: not a readable pt file of tensors"):
        load_i3d(encoder(), tmp_path / "rgb.pt")


def test_a_file_of_weights_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(10**6)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "rgb.pt", "w", 8) as packed:
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    with pytest.raises(DataError, match=r"rgb\.pt: refused, it unpacks to 40\d{5} bytes"):
        load_i3d(encoder(), tmp_path / "rgb.pt")


def test_code_in_a_file_of_weights_is_not_run_and_something_else_than_a_state_dict_is_refused(tmp_path):
    torch.save({"model": Path("x")}, tmp_path / "rgb.pt")
    with pytest.raises(DataError, match="not a readable pt file of tensors"):
        load_i3d(encoder(), tmp_path / "rgb.pt")
    torch.save([1, 2], tmp_path / "rgb.pt")
    with pytest.raises(DataError, match="holds no state dict"):
        load_i3d(encoder(), tmp_path / "rgb.pt")
