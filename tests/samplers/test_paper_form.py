"""The paper's form of the learning-based sampler: the law of its draws, with and without replacement."""

import itertools
import math
from collections import Counter

import pytest
import torch

import bss
from bss.samplers import BY_NAME
from bss.scoring.formulas import log_weights
from bss.scoring.orders import race_order, resampled_order

BALANCE = torch.tensor([0.4, 0.1, -0.4])  # of tests/scoring/test_table.py, after two rounds
SHARES = [0.4566, 0.3383, 0.2052]  # exp(.4), exp(.1), exp(-.4) over their sum, 3.2673


def weights() -> torch.Tensor:
    return log_weights(1 - BALANCE, kind="softmax")


def chi_square(counts: list[int], shares: list[float]) -> float:
    total = sum(counts)
    return sum((count - total * share) ** 2 / (total * share) for count, share in zip(counts, shares, strict=True))


def test_with_replacement_every_draw_follows_the_shares():
    drawn = resampled_order(weights(), seed=0, epoch=0, k=60_000)
    assert chi_square(drawn.bincount(minlength=3).tolist(), SHARES) < 13.8  # 0.001 at 2 degrees of freedom
    assert chi_square(drawn.bincount(minlength=3).tolist(), [1 / 3] * 3) > 1000, "the check can fail"


def test_a_draw_that_keeps_the_class_mix_follows_the_shares_within_a_class():
    # 3 to 1 in the first class, 1 to 1 in the second, which is as large and weighs next to nothing.
    log_weights, labels = torch.tensor([3.0, 1.0, 0.01, 0.01]).log(), torch.tensor([0, 0, 1, 1])
    counts = resampled_order(log_weights, seed=0, epoch=0, k=8000, labels=labels).bincount(minlength=4).tolist()
    assert sum(counts[:2]) == sum(counts[2:]) == 4000
    assert chi_square(counts, [3 / 8, 1 / 8, 1 / 4, 1 / 4]) < 13.8  # 0.001 at 2 degrees of freedom
    nothing = torch.tensor([3.0, 1.0, 0.0, 0.0]).log()
    assert resampled_order(nothing, seed=0, epoch=0, k=8000, labels=labels).bincount(minlength=4).tolist() == counts


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2, 3], [[0, 1, 0]]])
def test_a_draw_refuses_labels_that_are_not_one_for_each_weight(labels):
    with pytest.raises(ValueError, match="labels must be one for each of the 3 weights, got"):
        resampled_order(weights(), seed=0, epoch=0, labels=labels)


def test_without_replacement_the_orders_follow_plackett_and_luce():
    # The first by its share, the second by its share of what is left.
    orders = list(itertools.permutations(range(3)))
    law = [SHARES[a] * SHARES[b] / (1 - SHARES[a]) for a, b, _ in orders]
    counts = Counter(tuple(race_order(weights(), seed=0, epoch=epoch).tolist()) for epoch in range(4000))
    assert chi_square([counts[order] for order in orders], law) < 20.5  # 0.001 at 5 degrees of freedom
    assert chi_square([counts[order] for order in orders], [1 / 6] * 6) > 100, "the check can fail"


def test_linear_and_softmax_weights_coincide_where_the_balance_is_one_value():
    same = torch.full((4,), 0.7)
    assert log_weights(same, kind="softmax").softmax(0).tolist() == log_weights(same).softmax(0).tolist() == [0.25] * 4


def test_linear_and_softmax_weights_coincide_where_the_balance_has_two_values_a_step_apart():
    """The odds of b = 1 to b = 0 are 2 to 1 linearly (1 + b), and e ** (1 / T) to 1: equal at T = 1 / ln 2."""
    difficulty = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    temperature = 1 / math.log(2)
    softmax = log_weights(difficulty, kind="softmax", temperature=temperature)
    linear = log_weights(difficulty, floor=0.0)
    assert softmax.softmax(0).tolist() == pytest.approx([each / 11 for each in (2, 1, 1, 2, 1, 2, 1, 1)])
    assert linear.softmax(0).tolist() == pytest.approx(softmax.softmax(0).tolist())
    how = {"difficulty": difficulty, "seed": 5}
    for kind in (bss.SelfPacedSampler, bss.ResamplingSampler):
        ours = kind(8, weighting="softmax", temperature=temperature, **how)
        released = kind(8, weighting="linear", floor=0.0, **how)
        for epoch in range(20):
            ours.set_epoch(epoch), released.set_epoch(epoch)
            assert ours.global_order().equal(released.global_order()), (kind.__name__, epoch)


def test_uniform_draws_with_replacement_are_those_of_equal_scores():
    uniform = BY_NAME["uniform_resampling"](50, seed=3)
    weighted = bss.ResamplingSampler(50, difficulty=torch.ones(50), weighting="softmax", seed=3)
    for epoch in range(3):
        for sampler in (uniform, weighted):
            sampler.set_epoch(epoch)
        assert uniform.global_order().equal(weighted.global_order())
    assert len(uniform.global_order().unique()) == pytest.approx(50 * 0.632, abs=8)
