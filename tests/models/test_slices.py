"""Unimodal logits out of one linear head: by hand, their sum, gradients, and what is refused."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import bss


def linear(weight, bias):
    head = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weight))
        if bias is not None:
            head.bias.copy_(torch.tensor(bias))
    return head


def test_by_hand():
    head = linear([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]], [0.5, -2.0])
    unimodal = bss.slices(head, {"audio": 2, "visual": 1})(
        {"visual": torch.tensor([[3.0]]), "audio": torch.tensor([[1.0, 2.0]])}
    )
    # audio: (1 + 0.25, 2 - 1); visual: (3 + 0.25, -3 - 1); the fused ones are 4.5 and -3
    assert list(unimodal) == ["audio", "visual"]
    assert unimodal["audio"].tolist() == [[1.25, 1.0]]
    assert unimodal["visual"].tolist() == [[3.25, -4.0]]


@settings(deadline=None, max_examples=40)
@given(
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    classes=st.integers(1, 4),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_sum_is_what_the_head_makes_of_all(widths, classes, bias, seed):
    random = torch.Generator().manual_seed(seed)
    head = nn.Linear(sum(widths), classes, bias=bias).double()
    dims = {f"m{place}": width for place, width in enumerate(widths)}
    features = {name: torch.randn(3, width, generator=random, dtype=torch.float64) for name, width in dims.items()}
    joined = torch.cat(list(features.values()), dim=1)
    logits_of = bss.slices(head, dims)
    for unimodal in (logits_of(features), logits_of.of_joined(joined)):
        torch.testing.assert_close(sum(unimodal.values()), head(joined))


def test_a_zero_modality_leaves_its_share_of_the_bias():
    head = linear([[1.0, 2.0, 3.0]], [6.0])
    unimodal = bss.slices(head, {"a": 1, "b": 1, "c": 1})({name: torch.zeros(2, 1) for name in "abc"})
    assert [logits.tolist() for logits in unimodal.values()] == 3 * [[[2.0], [2.0]]]


def test_the_weights_are_those_of_the_training_as_it_goes_on():
    head = linear([[1.0, 1.0], [0.0, 0.0]], [0.0, 0.0])
    logits_of, features = bss.slices(head, {"a": 1, "b": 1}), {"a": torch.ones(1, 1), "b": torch.ones(1, 1)}
    before = logits_of(features)["a"]
    cross_entropy(head(torch.ones(1, 2)), torch.tensor([1])).backward()
    torch.optim.SGD(head.parameters(), lr=1.0).step()
    assert logits_of(features)["a"].tolist() != before.tolist()
    cross_entropy(logits_of(features)["a"], torch.tensor([1])).backward()  # a loss of its own may be made of them
    assert head.weight.grad[:, 0].abs().sum() > 0


def test_half_precision_features_of_autocast_are_taken():
    head = nn.Linear(4, 3)
    logits_of = bss.slices(head, {"a": 2, "b": 2})
    logits = logits_of({"a": torch.ones(2, 2, dtype=torch.bfloat16), "b": torch.ones(2, 2)})
    assert {z.dtype for z in logits.values()} == {torch.float32}


def test_wrapped_heads_are_seen_through_and_the_function_can_be_pickled():
    head = nn.Linear(4, 3)
    logits_of = pickle.loads(pickle.dumps(bss.slices(torch.compile(head), {"a": 2, "b": 2})))
    features = {"a": torch.ones(1, 2), "b": torch.ones(1, 2)}
    torch.testing.assert_close(sum(logits_of(features).values()), head(torch.ones(1, 4)))


class Cosine(nn.Linear):
    def forward(self, features):
        return nn.functional.normalize(features) @ nn.functional.normalize(self.weight).T


@pytest.mark.parametrize(
    ("head", "dims", "said"),
    [
        (nn.Linear(4, 2), {"a": 2, "b": 3}, "add up to 5, and the head takes 4"),
        (nn.LazyLinear(2), {"a": 2, "b": 2}, "no weights before its first forward"),
        (nn.Linear(4, 2), {"a": 4}, "two modalities or more"),
        (nn.Linear(4, 2), {"a": 2.0, "b": 2.0}, "whole number >= 1"),
        (nn.Linear(4, 2), {"a": 4, "b": 0}, "whole number >= 1"),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), {"a": 2, "b": 2}, r"one nn\.Linear, got a Seq"),
        (Cosine(4, 2), {"a": 2, "b": 2}, r"one nn\.Linear, got a Cosine"),
        (nn.Bilinear(2, 2, 2), {"a": 2, "b": 2}, r"one nn\.Linear, got a Bilinear"),
    ],
    ids=["sum", "lazy", "one", "float", "zero", "deep", "cosine", "bilinear"],
)
def test_what_is_no_sum_of_slices_is_refused(head, dims, said):
    with pytest.raises(ValueError, match=said):
        bss.slices(head, dims)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"a": torch.ones(2, 2)}, r"features of \['a', 'b'\] are needed, got \['a'\]"),
        (torch.ones(2, 4), r"features of .* by name, got a Tensor: of_joined takes joined ones"),
        ({"a": torch.ones(2, 2), "b": torch.ones(2, 1), "c": torch.ones(2, 1)}, "are needed"),
        ({"a": torch.ones(2, 1), "b": torch.ones(2, 2)}, r"features of 'a' must be \(N, 2\), as dims= says, got"),
        ({"a": torch.ones(2, 2, 7, 7), "b": torch.ones(2, 2)}, "after its pooling"),
    ],
    ids=["missing", "joined", "unknown", "swapped", "maps"],
)
def test_features_that_do_not_fit_are_named(features, said):
    with pytest.raises(ValueError, match=said):
        bss.slices(nn.Linear(4, 2), {"a": 2, "b": 2})(features)
