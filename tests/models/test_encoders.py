import pytest
import torch
import torchvision
from torch import nn

from bss.models.encoders import resnet18, resnet50

ENCODERS = (resnet18, resnet50)
TORCHVISION = {resnet18: torchvision.models.resnet18, resnet50: torchvision.models.resnet50}


def rand(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def torchvision_twin(encoder, in_channels):
    """torchvision's own network with running statistics that are not those of a new one."""
    twin = TORCHVISION[encoder](weights=None)
    if in_channels != 3:
        twin.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    twin(rand(2, in_channels, 64, 64))
    return twin.eval()


def without_fc(state):
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


# ---- torchvision's network -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder", "in_channels", "count"),
    # By hand for the first: the stem is 7*7*1*64 = 3,136 instead of 9,408 weights, 6,272 fewer than with 3 channels.
    [(resnet18, 1, 11_170_240), (resnet18, 3, 11_176_512), (resnet50, 3, 23_508_032)],
)
def test_the_number_of_parameters_is_that_of_the_released_backbone(encoder, in_channels, count):
    assert sum(p.numel() for p in encoder(in_channels=in_channels).parameters()) == count


@pytest.mark.parametrize(("encoder", "entries"), [(resnet18, 120), (resnet50, 318)])
def test_the_state_dict_has_torchvisions_keys_and_shapes_in_torchvisions_order(encoder, entries):
    ours = [(name, tuple(value.shape)) for name, value in encoder().state_dict().items()]
    theirs = [(name, tuple(value.shape)) for name, value in without_fc(TORCHVISION[encoder]().state_dict()).items()]
    assert ours == theirs and len(ours) == entries


@pytest.mark.parametrize(("encoder", "in_channels"), [(resnet18, 3), (resnet18, 1), (resnet50, 3)])
@torch.no_grad()
def test_torchvisions_weights_give_torchvisions_feature_map(encoder, in_channels):
    twin = torchvision_twin(encoder, in_channels)
    ours = encoder(in_channels=in_channels).eval()
    ours.load_state_dict(without_fc(twin.state_dict()), strict=True)
    images = rand(2, in_channels, 64, 96)
    theirs = nn.Sequential(*list(twin.children())[:-2])(images)  # all but the pooling and the classifier
    assert (ours.feature_map(images) - theirs).abs().max().item() == 0.0
    assert theirs.abs().max() > 0


# ---- contract ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder", "width", "dim"),
    [(resnet18, 64, 512), (resnet18, 16, 128), (resnet18, 4, 32), (resnet50, 64, 2048), (resnet50, 8, 256)],
)
@torch.no_grad()
def test_the_feature_has_the_length_that_feature_dim_says(encoder, width, dim):
    network = encoder(width=width).eval()
    assert network.feature_dim == dim and network(rand(2, 3, 32, 32)).shape == (2, dim)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("size", "cells"), [((32, 32), (1, 1)), ((33, 65), (2, 3)), ((1, 96), (1, 3))])
@torch.no_grad()
def test_the_feature_map_has_one_cell_for_every_32_pixels_begun(encoder, size, cells):
    assert encoder(width=2).eval().feature_map(rand(1, 3, *size)).shape[2:] == cells


@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_the_feature_is_the_mean_of_the_feature_map(encoder):
    network = encoder(width=4).eval()
    images = rand(2, 3, 64, 96)
    cells = network.feature_map(images).flatten(2)  # (2, D, 2 * 3)
    torch.testing.assert_close(network(images), sum(cells[:, :, i] for i in range(6)) / 6)


@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_the_feature_of_three_frames_is_the_mean_of_the_features_of_each(encoder):
    network = encoder(width=4).eval()
    clips = rand(2, 3, 3, 48, 48)  # (B, channels, T, H, W)
    single = [network(clips[:, :, t]) for t in range(3)]
    torch.testing.assert_close(network(clips), (single[0] + single[1] + single[2]) / 3)
    assert not torch.allclose(single[0], single[1])


@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_a_clip_of_one_frame_has_the_feature_of_that_frame(encoder):
    network = encoder(width=4).eval()
    image = rand(2, 3, 48, 48)
    torch.testing.assert_close(network(image.unsqueeze(2)), network(image))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("in_channels", [1, 2, 3])
@torch.no_grad()
def test_any_number_of_input_channels_is_taken(encoder, in_channels):
    network = encoder(in_channels=in_channels, width=2).eval()
    assert network(rand(1, in_channels, 32, 32)).shape == (1, network.feature_dim)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("shape", [(3,), (32, 32), (3, 32, 32), (1, 1, 3, 1, 32, 32)])
def test_another_number_of_axes_is_refused_and_its_shape_named(encoder, shape):
    with pytest.raises(ValueError) as error:
        encoder(width=2)(torch.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_gradient_reaches_every_parameter_and_every_frame(encoder):
    network = encoder(width=4)
    clips = rand(4, 3, 2, 33, 33).requires_grad_()
    (network(clips) * rand(network.feature_dim)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert clips.grad.flatten(3).any(dim=3).any(dim=1).all()
