import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from bss.models.fusion import FUSIONS, ConcatFusion
from bss.models.late_fusion import LateFusion
from bss.models.weights import initialize
from bss.tasks import cremad
from tests.released import renamed


def set_linear(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))


def late_fusion(dims, num_classes=2):
    encoders = {name: nn.Identity() for name in dims}
    return LateFusion(encoders, ConcatFusion(dims, num_classes), num_classes, feature_dims=dims)


def two_modalities():
    """Audio (2 numbers) and visual (1 number) with weights that a person can multiply."""
    model = late_fusion({"audio": 2, "visual": 1})
    set_linear(model.heads["audio"], [[1.0, 2.0], [0.0, -1.0]], [0.0, 10.0])
    set_linear(model.heads["visual"], [[3.0], [-3.0]], [1.0, 0.0])
    set_linear(model.fusion.classifier, [[1.0, 1.0, 1.0], [1.0, 0.0, -1.0]], [0.5, 0.0])
    return model


BATCH = {"audio": torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "visual": torch.tensor([[3.0], [5.0]])}


def small_network():
    return nn.Sequential(nn.Conv2d(64, 128, 3, bias=False), nn.BatchNorm2d(128), nn.Flatten(), nn.Linear(1000, 600))


# ---- LateFusion, by hand -------------------------------------------------------------------------------------------


def test_each_head_of_two_modalities_gives_the_logits_computed_by_hand():
    logits = two_modalities()(BATCH)
    # sample 0: audio (1, 2): 1*1 + 2*2 = 5, -2 + 10 = 8;  sample 1: audio (0, 1): 2, 9
    assert logits.unimodal["audio"].tolist() == [[5.0, 8.0], [2.0, 9.0]]
    # visual 3: 3*3 + 1 = 10, -9;  visual 5: 16, -15
    assert logits.unimodal["visual"].tolist() == [[10.0, -9.0], [16.0, -15.0]]
    # (1, 2, 3): 1 + 2 + 3 + 0.5 = 6.5, 1 - 3 = -2;  (0, 1, 5): 6.5, -5
    assert logits.fused.tolist() == [[6.5, -2.0], [6.5, -5.0]]


def test_each_head_of_three_modalities_gives_the_logits_computed_by_hand():
    model = late_fusion({"rgb": 1, "flow": 1, "depth": 1}, num_classes=1)
    for name, weight in (("rgb", 2.0), ("flow", 3.0), ("depth", 4.0)):
        set_linear(model.heads[name], [[weight]], [0.0])
    set_linear(model.fusion.classifier, [[1.0, 10.0, 100.0]], [0.0])
    logits = model({"rgb": torch.tensor([[1.0]]), "flow": torch.tensor([[2.0]]), "depth": torch.tensor([[3.0]])})
    # 2*1, 3*2, 4*3; 1*1 + 10*2 + 100*3 = 321
    assert {name: value.item() for name, value in logits.unimodal.items()} == {"rgb": 2.0, "flow": 6.0, "depth": 12.0}
    assert logits.fused.item() == 321.0


def test_a_modality_goes_through_its_own_encoder():
    dims = {"audio": 1, "visual": 1}
    model = LateFusion({"audio": nn.ReLU(), "visual": nn.Identity()}, ConcatFusion(dims, 1), 1, feature_dims=dims)
    for head in model.heads.values():
        set_linear(head, [[1.0]], [0.0])
    set_linear(model.fusion.classifier, [[1.0, 1.0]], [0.0])
    logits = model({"audio": torch.tensor([[-4.0]]), "visual": torch.tensor([[-4.0]])})
    # relu(-4) = 0 for audio only, and the fused head sees the encoded features: 0 + -4
    assert (logits.unimodal["audio"].item(), logits.unimodal["visual"].item(), logits.fused.item()) == (0.0, -4.0, -4.0)


def test_the_order_of_modalities_in_the_batch_does_not_matter():
    model = two_modalities()
    one, other = model(BATCH), model(dict(reversed(BATCH.items())))
    assert torch.equal(one.fused, other.fused)
    assert all(torch.equal(one.unimodal[name], other.unimodal[name]) for name in BATCH)


def test_names_beside_the_modalities_are_left_alone():
    model = two_modalities()
    batch = {"label": torch.tensor([1, 0]), **BATCH, "bss_index": torch.tensor([7, 8]), "name": ["a", "b"]}
    logits = model(batch)
    assert torch.equal(logits.fused, model(BATCH).fused) and set(logits.unimodal) == {"audio", "visual"}
    assert set(batch) == {"label", "audio", "visual", "bss_index", "name"}


def test_a_batch_without_a_modality_is_refused_and_both_lists_are_named():
    with pytest.raises(ValueError, match=r"audio.*label.*visual"):
        two_modalities()({"audio": BATCH["audio"], "label": torch.tensor([0, 1])})


@pytest.mark.parametrize("names", [[], ["audio"]])
def test_fewer_than_two_modalities_are_refused(names):
    dims = dict.fromkeys(names, 1)
    with pytest.raises(ValueError, match="two modalities"):
        LateFusion({name: nn.Identity() for name in names}, nn.Identity(), 2, feature_dims=dims)


@pytest.mark.parametrize("dims", [{"audio": 1, "video": 1}, {"audio": 1}, {"audio": 1, "visual": 1, "text": 1}])
def test_names_that_differ_between_encoders_and_feature_dims_are_refused(dims):
    with pytest.raises(ValueError, match="feature_dims"):
        LateFusion({"audio": nn.Identity(), "visual": nn.Identity()}, nn.Identity(), 2, feature_dims=dims)


def test_the_loss_of_one_head_reaches_that_modality_alone():
    model = two_modalities()
    batch = {name: value.clone().requires_grad_() for name, value in BATCH.items()}
    model(batch).unimodal["audio"].sum().backward()
    assert batch["audio"].grad.any() and batch["visual"].grad is None


# ---- initialize ----------------------------------------------------------------------------------------------------


def test_initialize_is_a_function_of_the_seed_alone():
    models = []
    for before in (1, 2):
        torch.manual_seed(before)
        models.append(initialize(small_network(), seed=0).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_the_bias_of_a_convolution_is_a_function_of_the_seed_alone_too():
    biases = []
    for before in (1, 2):
        torch.manual_seed(before)
        biases.append(initialize(nn.Conv2d(3, 4, 3), seed=0).bias)
    assert torch.equal(*biases)


def test_initialize_gives_other_weights_for_another_seed():
    one, other = (initialize(small_network(), seed=seed) for seed in (0, 1))
    assert not torch.equal(one[0].weight, other[0].weight) and not torch.equal(one[3].weight, other[3].weight)


def test_initialize_leaves_the_global_random_numbers_as_they_were():
    model = small_network()
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    initialize(model, seed=0)
    assert torch.equal(torch.rand(4), expected)


def test_initialize_returns_the_model_that_it_was_given():
    model = small_network()
    assert initialize(model, seed=0) is model


def test_linear_layers_get_xavier_normal_weights_and_zero_bias():
    layer = initialize(small_network(), seed=0)[3]
    # std = sqrt(2 / (1000 + 600)) = 0.035355; of 600,000 draws it is known to 0.1 %
    assert layer.weight.std().item() == pytest.approx(0.035355, rel=0.01)
    assert abs(layer.weight.mean().item()) < 0.0005
    assert layer.weight.abs().max() > 3.5 * 0.035355  # a normal distribution; a uniform one would end at sqrt(3) std
    assert not layer.bias.any()


def test_convolutions_get_kaiming_normal_weights_by_fan_out():
    layer = initialize(small_network(), seed=0)[0]
    # fan out = 128 * 3 * 3 = 1152 (fan in would be 576); std = sqrt(2 / 1152) = 1/24; 73,728 draws: known to 0.3 %
    assert layer.weight.std().item() == pytest.approx(1 / 24, rel=0.02)
    assert layer.weight.abs().max() > 3.5 / 24


def test_batch_norms_start_as_the_identity():
    norm = small_network()[1]
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    initialize(norm, seed=0)
    assert torch.equal(norm.weight, torch.ones(128)) and not norm.bias.any()


def test_linear_layers_without_bias_are_initialized_too():
    layer = nn.Linear(100, 100, bias=False)
    nn.init.zeros_(layer.weight)
    assert initialize(layer, seed=0).weight.std().item() == pytest.approx(math.sqrt(2 / 200), rel=0.05)


# ---- a shared head, released names ---------------------------------------------------------------------------------


def test_a_shared_head_serves_every_modality_with_the_same_weights():
    encoders = {"image": nn.Identity(), "text": nn.Identity()}
    dims = {"image": 1, "text": 1}
    model = LateFusion(encoders, ConcatFusion(dims, 2), 2, feature_dims=dims, shared_head=True)
    set_linear(model.heads["shared"], [[2.0], [-1.0]], [0.0, 5.0])
    logits = model({"image": torch.tensor([[1.0]]), "text": torch.tensor([[3.0]])})
    assert logits.unimodal["image"].tolist() == [[2.0, 4.0]]
    assert logits.unimodal["text"].tolist() == [[6.0, 2.0]]
    assert [key for key in model.state_dict() if key.startswith("heads.")] == [
        "heads.shared.weight",
        "heads.shared.bias",
    ]


def test_a_shared_head_needs_features_of_one_length():
    encoders = {"image": nn.Identity(), "text": nn.Identity()}
    dims = {"image": 1, "text": 2}
    with pytest.raises(ValueError, match=r"a shared head needs features of one length, got \{'image': 1, 'text': 2\}"):
        LateFusion(encoders, ConcatFusion(dims, 2), 2, feature_dims=dims, shared_head=True)


def test_keys_are_renamed_by_their_longest_prefix():
    one, two = torch.zeros(1), torch.ones(1)
    state = {"encoders.rgb.stem.weight": one, "encoders.rgb.bias": two}
    prefixes = {"encoders.rgb.": "rgb_encoder.rgbmodel.", "encoders.rgb.stem.": "rgb_encoder.rgbmodel.Conv3d_1a_7x7."}
    after = renamed(state, prefixes)
    assert list(after) == ["rgb_encoder.rgbmodel.Conv3d_1a_7x7.weight", "rgb_encoder.rgbmodel.bias"]
    assert after["rgb_encoder.rgbmodel.bias"] is two


@pytest.mark.parametrize(
    ("prefixes", "words"),
    [({"a.": "x."}, "no prefix of .* matches the key 'b.weight'"), ({"a.": "x.", "b.": "x."}, "become 'x.weight'")],
)
def test_keys_without_a_prefix_and_keys_that_meet_are_refused(prefixes, words):
    with pytest.raises(ValueError, match=words):
        renamed({"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}, prefixes)


# ---- the model of CREMA-D ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return cremad.build_model(cremad.CL, Path()).eval()


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_cremad_model_has_the_released_number_of_parameters(model):
    # 11,170,240 (audio) + 11,176,512 (visual) + 2 * 3,078 + 6,150 = 22,359,058
    assert parameters(model) == 22_359_058


def test_the_cremad_heads_have_the_released_numbers_of_parameters(model):
    # 512 * 6 + 6 = 3,078 for each modality; 2 * 512 * 6 + 6 = 6,150
    assert [parameters(head) for head in (*model.heads.values(), model.fusion)] == [3_078, 3_078, 6_150]


def test_the_cremad_checkpoint_has_the_released_number_of_entries(model):
    assert len(model.state_dict()) == 246  # 2 * 120 of the encoders and 3 * (weight, bias)


@torch.no_grad()
def test_the_cremad_model_gives_six_logits_for_a_second_of_sound_and_small_frames(model):
    logits = model({"audio": torch.zeros(2, 22050), "visual": torch.zeros(2, 3, 1, 64, 64)})
    assert logits.fused.shape == (2, 6)
    assert {name: tuple(value.shape) for name, value in logits.unimodal.items()} == {"audio": (2, 6), "visual": (2, 6)}


@torch.no_grad()
def test_the_audio_map_of_twenty_seconds_has_the_released_shape(model):
    assert model.encoders["audio"].resnet.feature_map(torch.zeros(1, 1, 257, 1250)).shape == (1, 512, 9, 40)


@torch.no_grad()
def test_twenty_seconds_of_sound_become_the_released_spectrogram(model):
    assert model.encoders["audio"].spectrogram(torch.zeros(1, 441_000)).shape == (1, 1, 257, 1250)


@torch.no_grad()
def test_the_visual_map_of_a_released_frame_has_the_released_shape(model):
    assert model.encoders["visual"].resnet.feature_map(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 7, 7)


@torch.no_grad()
def test_a_finished_spectrogram_gives_the_same_logits_as_its_sound(model):
    sound = torch.randn(1, 22050, generator=torch.Generator().manual_seed(0)) * 0.1
    frames = torch.zeros(1, 3, 1, 64, 64)
    spectrogram = model.encoders["audio"].spectrogram(sound).squeeze(1)
    one, other = (model({"audio": audio, "visual": frames}).fused for audio in (sound, spectrogram))
    assert torch.equal(one, other)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_initial_weights_depend_on_the_seed_alone_with_every_fusion(fusion):
    recipe = dataclasses.replace(cremad.CL, width=2, fusion=fusion)
    states = []
    for before in (1, 2):
        torch.manual_seed(before)
        states.append(cremad.build_model(recipe, Path()).state_dict())
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
