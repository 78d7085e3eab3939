import math

import pytest
import torch
from torch.nn import functional as F

from bss.models.fusion import (
    FUSIONS,
    AdapterFusion,
    ConcatFusion,
    CrossAttentionFusion,
    DeepFusion,
    FiLMFusion,
    GatedFusion,
    SumFusion,
)

NAMES = ("audio", "visual", "text")
MODALITIES = (2, 3)
D, C, B = 8, 5, 4

every_fusion = pytest.mark.parametrize("fusion", FUSIONS.values())
two_or_three = pytest.mark.parametrize("modalities", MODALITIES)


def set_linear(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))


def row(*values):
    return torch.tensor([values])


def head(fusion, modalities=2, dim=D):
    torch.manual_seed(0)
    module = fusion(dict.fromkeys(NAMES[:modalities], dim), C).eval()
    with torch.no_grad():  # biases that start at zero would hide a forgotten one
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def some_features(modalities=2, *, tokens=None, seed=1):
    random = torch.Generator().manual_seed(seed)
    shape = (B, D) if tokens is None else (B, tokens, D)
    return {name: torch.randn(shape, generator=random) for name in NAMES[:modalities]}


# ---- by hand -------------------------------------------------------------------------------------------------------


def test_concat_is_one_linear_layer_on_the_features_side_by_side():
    fusion = ConcatFusion({"audio": 2, "visual": 1}, 2)
    set_linear(fusion.classifier, [[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]], [0.5, 0.0])
    # (1, 2, 3): 1 + 3 + 0.5 = 4.5 and 2 - 3 = -1
    assert fusion({"audio": row(1.0, 2.0), "visual": row(3.0)}).tolist() == [[4.5, -1.0]]


def test_concat_takes_three_modalities_in_the_order_of_the_dimensions():
    fusion = ConcatFusion({"audio": 1, "visual": 1, "text": 1}, 1)
    set_linear(fusion.classifier, [[1.0, 10.0, 100.0]], [0.0])
    # 1*1 + 10*2 + 100*3 = 321
    assert fusion({"text": row(3.0), "audio": row(1.0), "visual": row(2.0)}).item() == 321.0


def test_sum_adds_one_linear_layer_of_each_modality():
    fusion = SumFusion({"audio": 2, "visual": 1, "text": 1}, 1)
    set_linear(fusion.classifiers["audio"], [[1.0, 2.0]], [0.5])
    set_linear(fusion.classifiers["visual"], [[3.0]], [-1.0])
    set_linear(fusion.classifiers["text"], [[-2.0]], [0.0])
    # audio (1, 2): 1 + 4 + 0.5 = 5.5; visual 3: 9 - 1 = 8; text 4: -8; together 5.5
    assert fusion({"audio": row(1.0, 2.0), "visual": row(3.0), "text": row(4.0)}).item() == 5.5


def test_film_scales_and_shifts_the_second_modality_by_the_first():
    fusion = FiLMFusion({"audio": 1, "visual": 2}, 2)
    set_linear(fusion.films["visual"], [[1.0], [0.5], [10.0], [-1.0]], [0.0, 0.0, 0.0, 0.0])
    set_linear(fusion.classifier, [[1.0, 1.0], [1.0, -1.0]], [0.0, 1.0])
    # audio 2: scale (2, 1), shift (20, -2); visual (3, 4) becomes (2*3 + 20, 1*4 - 2) = (26, 2); 26 + 2, 26 - 2 + 1
    assert fusion({"audio": row(2.0), "visual": row(3.0, 4.0)}).tolist() == [[28.0, 25.0]]


def test_film_averages_the_modulated_features_of_two_modalities():
    fusion = FiLMFusion({"audio": 1, "visual": 2, "text": 2}, 2)
    set_linear(fusion.films["visual"], [[1.0], [0.5], [10.0], [-1.0]], [0.0, 0.0, 0.0, 0.0])
    set_linear(fusion.films["text"], [[0.0]] * 4, [0.0, 1.0, 4.0, 7.0])
    set_linear(fusion.classifier, [[1.0, 1.0], [1.0, -1.0]], [0.0, 1.0])
    # visual (26, 2) as above; text (9, 1): (0*9 + 4, 1*1 + 7) = (4, 8); mean (15, 5); 15 + 5, 15 - 5 + 1
    features = {"audio": row(2.0), "visual": row(3.0, 4.0), "text": row(9.0, 1.0)}
    assert fusion(features).tolist() == [[20.0, 11.0]]


def test_gated_multiplies_the_second_modality_by_the_sigmoid_of_the_first():
    fusion = GatedFusion({"audio": 1, "visual": 1}, 1, hidden_dim=2)
    set_linear(fusion.projections["audio"], [[0.0], [0.0]], [0.0, math.log(3.0)])
    set_linear(fusion.projections["visual"], [[2.0], [4.0]], [0.0, 0.0])
    set_linear(fusion.classifier, [[1.0, 1.0]], [0.0])
    # the gate is (1/2, 3/4); visual 3 projects to (6, 12); gated (3, 9); 3 + 9
    assert fusion({"audio": row(1.0), "visual": row(3.0)}).item() == pytest.approx(12.0, abs=1e-5)


def test_gated_averages_the_gated_projections_of_two_modalities():
    fusion = GatedFusion({"audio": 1, "visual": 1, "text": 1}, 1, hidden_dim=2)
    set_linear(fusion.projections["audio"], [[0.0], [0.0]], [0.0, math.log(3.0)])
    set_linear(fusion.projections["visual"], [[2.0], [4.0]], [0.0, 0.0])
    set_linear(fusion.projections["text"], [[0.0], [0.0]], [2.0, 4.0])
    set_linear(fusion.classifier, [[1.0, 1.0]], [0.0])
    # visual (3, 9) as above; text (2, 4) gated is (1, 3); mean (2, 6); 2 + 6
    features = {"audio": row(1.0), "visual": row(3.0), "text": row(7.0)}
    assert fusion(features).item() == pytest.approx(8.0, abs=1e-5)


@pytest.mark.parametrize(
    ("fusion", "count"),
    [
        (ConcatFusion, 6_150),  # 1024*6 + 6
        (SumFusion, 6_156),  # 2 * (512*6 + 6)
        (FiLMFusion, 528_390),  # film 512*1024 + 1024 = 525,312; classifier 512*6 + 6 = 3,078
        (GatedFusion, 528_390),  # 2 * (512*512 + 512) = 525,312; classifier 3,078
        # a layer: query, key and value 3 * 262,656, output 262,656, linear 262,656, norm 2*512 = 1,314,304; two layers
        # 2,628,608; classifier 3,078 (512*512 + 512 = 262,656)
        (CrossAttentionFusion, 2_631_686),
        (DeepFusion, 3_154_950),  # 2 * (512*1024 + 1024) = 1,050,624; 2048*1024 + 1024 = 2,098,176; 1024*6 + 6 = 6,150
        (AdapterFusion, 1_056_262),  # 1024*512 + 512 = 524,800; 512*1024 + 1024 = 525,312; 6,150
    ],
)
def test_two_modalities_of_512_and_six_classes_take_this_many_parameters(fusion, count):
    module = fusion({"audio": 512, "visual": 512}, 6)
    assert sum(p.numel() for p in module.parameters()) == count


# ---- against an independent computation ----------------------------------------------------------------------------


def linear(x, state, name):
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def attend(query, context, state, name, heads=4):
    """norm(linear(attention) + query) with each head written out."""
    weight, bias = state[f"{name}.attention.in_proj_weight"], state[f"{name}.attention.in_proj_bias"]
    q, k, v = (
        F.linear(x, w, b) for x, w, b in zip((query, context, context), weight.chunk(3), bias.chunk(3), strict=True)
    )
    size = q.shape[-1] // heads
    parts = []
    for h in range(heads):
        own = slice(h * size, (h + 1) * size)
        share = (q[..., own] @ k[..., own].transpose(1, 2) / math.sqrt(size)).softmax(dim=-1)
        parts.append(share @ v[..., own])
    mixed = linear(linear(torch.cat(parts, dim=-1), state, f"{name}.attention.out_proj"), state, f"{name}.linear")
    return F.layer_norm(mixed + query, query.shape[-1:], state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])


@two_or_three
@torch.no_grad()
def test_deep_is_a_perceptron_on_the_projections_of_each_modality(modalities):
    fusion, features = head(DeepFusion, modalities), some_features(modalities)
    state = fusion.state_dict()
    projected = torch.cat([linear(features[n], state, f"projections.{n}") for n in NAMES[:modalities]], dim=1)
    expected = linear(F.relu(linear(F.relu(projected), state, "hidden")), state, "classifier")
    torch.testing.assert_close(fusion(features), expected)


@two_or_three
@torch.no_grad()
def test_adapter_adds_a_bottleneck_to_the_features_side_by_side(modalities):
    fusion, features = head(AdapterFusion, modalities), some_features(modalities)
    state = fusion.state_dict()
    joined = torch.cat([features[n] for n in NAMES[:modalities]], dim=1)
    expected = linear(joined + linear(F.relu(linear(joined, state, "down")), state, "up"), state, "classifier")
    torch.testing.assert_close(fusion(features), expected)


@torch.no_grad()
def test_adapter_drops_half_of_the_bottleneck_in_training_only():
    fusion, features = head(AdapterFusion), some_features()
    assert torch.equal(fusion(features), fusion(features))
    fusion.train()
    assert not torch.equal(fusion(features), fusion(features))
    assert fusion.dropout.p == 0.5


@pytest.mark.parametrize("tokens", [1, 3])
@torch.no_grad()
def test_cross_attention_of_two_modalities_is_the_two_released_layers(tokens):
    fusion, features = head(CrossAttentionFusion), some_features(tokens=tokens)
    state = fusion.state_dict()
    audio = attend(features["audio"], features["visual"], state, "layers.0")
    visual = attend(features["visual"], audio, state, "layers.1")
    torch.testing.assert_close(fusion(features), linear(visual.mean(dim=1), state, "classifier"))


@torch.no_grad()
def test_cross_attention_of_three_modalities_hands_the_state_on():
    fusion, features = head(CrossAttentionFusion, 3), some_features(3, tokens=2)
    state = fusion.state_dict()
    audio = attend(features["audio"], features["visual"], state, "layers.0")
    visual = attend(features["visual"], audio, state, "layers.1")
    text = attend(features["text"], visual, state, "layers.2")
    torch.testing.assert_close(fusion(features), linear(text.mean(dim=1), state, "classifier"))


@torch.no_grad()
def test_cross_attention_counts_a_feature_vector_as_one_token():
    fusion, features = head(CrossAttentionFusion), some_features()
    tokens = {name: value.reshape(B, 1, D) for name, value in features.items()}
    assert torch.equal(fusion(features), fusion(tokens))


@torch.no_grad()
def test_cross_attention_takes_modalities_with_different_numbers_of_tokens():
    audio, visual = some_features(tokens=5)["audio"], some_features(tokens=2)["visual"]
    assert head(CrossAttentionFusion)({"audio": audio, "visual": visual}).shape == (B, C)


def test_cross_attention_learns_where_to_look_once_there_are_several_tokens():
    fusion = head(CrossAttentionFusion)
    fusion(some_features(tokens=3)).pow(2).sum().backward()
    for layer in fusion.layers:
        assert all(block.any() for block in layer.attention.in_proj_weight.grad.chunk(3))  # query, key, value


def test_cross_attention_to_a_single_token_has_nowhere_else_to_look():
    fusion = head(CrossAttentionFusion)
    fusion(some_features(tokens=1)).pow(2).sum().backward()
    for layer in fusion.layers:
        query, key, value = layer.attention.in_proj_weight.grad.chunk(3)
        assert not query.any() and not key.any() and value.any()  # the softmax over one key is 1 whatever they are


# ---- contract ------------------------------------------------------------------------------------------------------


@every_fusion
@two_or_three
@torch.no_grad()
def test_features_by_name_become_one_row_of_logits_a_sample(fusion, modalities):
    logits = head(fusion, modalities)(some_features(modalities))
    assert logits.shape == (B, C) and logits.isfinite().all()


@every_fusion
@two_or_three
def test_the_gradient_reaches_every_modality_of_every_sample(fusion, modalities):
    features = {name: value.requires_grad_() for name, value in some_features(modalities).items()}
    head(fusion, modalities)(features).pow(2).sum().backward()
    assert [name for name, value in features.items() if not value.grad.any(dim=1).all()] == []


@every_fusion
@two_or_three
def test_the_gradient_reaches_every_parameter(fusion, modalities):
    module = head(fusion, modalities)
    # One token would leave queries and keys of the attention without a gradient.
    features = some_features(modalities, tokens=3 if fusion is CrossAttentionFusion else None)
    module(features).pow(2).sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@every_fusion
@two_or_three
@torch.no_grad()
def test_the_order_of_the_mapping_does_not_matter(fusion, modalities):
    module, features = head(fusion, modalities), some_features(modalities)
    assert torch.equal(module(features), module(dict(reversed(features.items()))))


@every_fusion
@torch.no_grad()
def test_names_that_the_head_does_not_know_are_left_alone(fusion):
    module, features = head(fusion), some_features()
    assert torch.equal(module(features), module({"depth": torch.ones(B, 99), **features}))


@every_fusion
@two_or_three
@torch.no_grad()
def test_the_logits_of_a_sample_do_not_depend_on_its_batch_mates(fusion, modalities):
    module, features = head(fusion, modalities), some_features(modalities)
    alone = module({name: value[2:3] for name, value in features.items()})
    torch.testing.assert_close(module(features)[2:3], alone)


@every_fusion
@torch.no_grad()
def test_the_features_are_not_changed(fusion):
    features = some_features()
    head(fusion)(features)
    assert all(torch.equal(features[name], value) for name, value in some_features().items())


@every_fusion
@pytest.mark.parametrize("dims", [{}, {"audio": D}])
def test_a_head_refuses_fewer_than_two_modalities(fusion, dims):
    with pytest.raises(ValueError, match="two modalities"):
        fusion(dims, C)


@pytest.mark.parametrize("fusion", [ConcatFusion, SumFusion, GatedFusion, DeepFusion, AdapterFusion])
@torch.no_grad()
def test_modalities_may_have_different_dimensions(fusion):
    module = fusion({"audio": 3, "visual": 5, "text": 7}, C)
    assert module({"audio": torch.ones(B, 3), "visual": torch.ones(B, 5), "text": torch.ones(B, 7)}).shape == (B, C)


@torch.no_grad()
def test_film_takes_a_first_modality_of_another_dimension():
    module = FiLMFusion({"audio": 3, "visual": D, "text": D}, C)
    assert module({**some_features(3), "audio": torch.ones(B, 3)}).shape == (B, C)


@pytest.mark.parametrize(
    ("fusion", "dims"),
    [
        (FiLMFusion, {"audio": D, "visual": D, "text": 4}),
        (CrossAttentionFusion, {"audio": D, "visual": 4}),
        (CrossAttentionFusion, {"audio": D, "visual": D, "text": 4}),
    ],
)
def test_unequal_dimensions_are_refused_where_one_is_needed(fusion, dims):
    with pytest.raises(ValueError, match="one dimension"):
        fusion(dims, C)


def test_cross_attention_refuses_a_dimension_that_its_heads_cannot_share():
    with pytest.raises(ValueError, match=r"6.*num_heads=4"):
        CrossAttentionFusion({"audio": 6, "visual": 6}, C)
