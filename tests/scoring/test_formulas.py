"""The formulas: hand numbers, properties, the law of the weighted order, the released scripts' results."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

import bss
from bss.scoring.formulas import gradient_of, log_weights, rank_fraction, seem_probabilities, similarity_of, tensors_of
from bss.scoring.orders import class_balanced, class_matched, race_order, resampled_order

LOG2, LOG3, LOG9 = math.log(2), math.log(3), math.log(9)
finite = st.floats(-1e6, 1e6, width=32)


def log_probability(*rows: tuple[float, ...]) -> torch.Tensor:
    """Logits whose softmax is the given rows."""
    return torch.tensor(rows, dtype=torch.float64).log()


def random_logits(modalities: int, samples: int, classes: int, *, scale: float = 3.0, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(samples, classes, generator=generator, dtype=torch.float64) * scale for _ in range(modalities)]


# ---- prediction_similarity ----


def test_similarity_of_two_modalities_is_the_cosine_of_their_probabilities():
    # (.5, .5) and (.8, .2): dot .5; norms sqrt(.5) and sqrt(.68); .5 / sqrt(.34) = .857493.
    similarity = bss.prediction_similarity([log_probability((0.5, 0.5)), log_probability((0.8, 0.2))])
    assert similarity.tolist() == pytest.approx([0.857493], abs=1e-6)


def test_similarity_of_three_modalities_is_the_mean_over_all_pairs():
    # Two certain of class 0, one of class 1: the three pairs agree 1, 0 and 0.
    certain = [torch.tensor([[100.0, 0.0]]), torch.tensor([[100.0, 0.0]]), torch.tensor([[0.0, 100.0]])]
    assert bss.prediction_similarity(certain).item() == pytest.approx(1 / 3)


def test_similarity_accepts_a_mapping_and_a_sequence_alike():
    audio, image = random_logits(2, 5, 3)
    named = bss.prediction_similarity({"audio": audio, "image": image})
    assert torch.equal(named, bss.prediction_similarity([audio, image]))


def test_similarity_in_logit_space_compares_the_raw_logits():
    # (3, 4) and (4, 3): 24 / 25. (1, 0) and (-2, 0): opposite.
    similarity = bss.prediction_similarity(
        [torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [-2.0, 0.0]])], space="logit"
    )
    assert similarity.tolist() == pytest.approx([0.96, -1.0])


def test_opposite_logits_are_not_opposite_probabilities():
    # Softmax of (1, 0) is (.7311, .2689), of (0, 1) its mirror.
    # The cosine is 2 * .7311 * .2689 / (.7311^2 + .2689^2) = .6480.
    pair = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    assert bss.prediction_similarity(pair).item() == pytest.approx(0.6480, abs=1e-4)
    assert bss.prediction_similarity(pair, space="logit").item() == pytest.approx(0.0)


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-4, 1.0, 100.0]), modalities=st.integers(2, 4))
def test_similarity_stays_within_its_bounds(seed, scale, modalities):
    logits = [z.float() for z in random_logits(modalities, 16, 5, scale=scale, seed=seed)]
    probability = bss.prediction_similarity(logits)
    logit = bss.prediction_similarity(logits, space="logit")
    assert ((probability >= 0) & (probability <= 1)).all()
    assert ((logit >= -1) & (logit <= 1)).all()


@given(seed=st.integers(0, 10**6))
def test_similarity_does_not_depend_on_the_order_of_the_modalities(seed):
    logits = random_logits(3, 8, 4, seed=seed)
    torch.testing.assert_close(bss.prediction_similarity(logits), bss.prediction_similarity(logits[::-1]))


@given(seed=st.integers(0, 10**6))
def test_a_modality_that_agrees_with_itself_has_similarity_one(seed):
    (z,) = random_logits(1, 8, 4, seed=seed)
    shifted = z + 7.0  # which softmax ignores
    assert bss.prediction_similarity([z, shifted]).tolist() == pytest.approx([1.0] * 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_compared_in_float32(dtype):
    # Logits of a fresh network: small, so that all similarities lie close to 1.
    logits = [z.float() for z in random_logits(2, 256, 10, scale=0.1)]
    half = [z.to(dtype) for z in logits]
    kept = len(bss.prediction_similarity(half).unique())
    naive = len(functional.cosine_similarity(half[0].softmax(1), half[1].softmax(1)).unique())
    assert kept >= 0.9 * len(bss.prediction_similarity(logits).unique())
    assert naive < 64 < kept  # what computing in the given type would leave


def test_scores_keep_float64():
    audio, image = random_logits(2, 4, 3)
    target = torch.zeros(4, dtype=torch.int64)
    assert bss.prediction_similarity([audio, image]).dtype == torch.float64
    assert bss.sample_loss(audio, [audio, image], target).dtype == torch.float64
    assert bss.difficulty(torch.rand(4).double(), torch.rand(4).double()).dtype == torch.float64


def test_fewer_than_two_modalities_are_refused():
    for unimodal in ({}, {"audio": torch.zeros(3, 2)}, [torch.zeros(3, 2)]):
        with pytest.raises(ValueError, match="two modalities"):
            bss.prediction_similarity(unimodal)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused_with_modality_and_indices(bad):
    image = torch.zeros(6, 3)
    image[4, 1] = image[2, 0] = bad
    with pytest.raises(ValueError, match=r"'image'.*indices: 2, 4$"):
        bss.prediction_similarity({"audio": torch.zeros(6, 3), "image": image})


@pytest.mark.parametrize("shape", [(5, 3), (6, 4), (6,), (6, 3, 1), (0, 3)])
def test_logits_of_another_shape_are_refused_by_name(shape):
    with pytest.raises(ValueError, match="'image'"):
        bss.prediction_similarity({"audio": torch.zeros(6, 3), "image": torch.zeros(shape)})


def test_an_unknown_space_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'probability', 'logit'.*'cosine'"):
        bss.prediction_similarity([torch.zeros(1, 2)] * 2, space="cosine")


# ---- sample_loss ----


def test_loss_of_undecided_heads_is_log_2_each():
    undecided = torch.zeros(1, 2)
    loss = bss.sample_loss(undecided, [undecided, undecided], torch.tensor([0]))
    assert loss.tolist() == pytest.approx([3 * LOG2])


def test_loss_weighs_the_fused_head_and_each_unimodal_head():
    # Probability of the target: fused 1/2, audio 1/3, image 1/9: 0.1 log 2 + 0.9 (log 3 + log 9).
    fused, audio = log_probability((0.5, 0.5)), log_probability((1 / 3, 2 / 3))
    image = log_probability((1 / 9, 8 / 9))
    loss = bss.sample_loss(
        fused, {"audio": audio, "image": image}, torch.tensor([0]), fused_weight=0.1, unimodal_weight=0.9
    )
    assert loss.tolist() == pytest.approx([0.1 * LOG2 + 0.9 * (LOG3 + LOG9)])


def test_loss_belongs_to_the_target_of_its_own_row():
    z = log_probability((0.5, 0.5), (1 / 3, 2 / 3), (1 / 3, 2 / 3))
    loss = bss.sample_loss(z, [z, z], torch.tensor([1, 0, 1]), unimodal_weight=0.0)
    assert loss.tolist() == pytest.approx([LOG2, LOG3, math.log(1.5)])


def test_loss_accepts_a_mapping_and_a_sequence_alike():
    fused, audio, image = random_logits(3, 5, 3)
    target = torch.tensor([0, 1, 2, 0, 1])
    named = bss.sample_loss(fused, {"audio": audio, "image": image}, target)
    assert torch.equal(named, bss.sample_loss(fused, [audio, image], target))


def test_a_modality_called_fused_is_not_mistaken_for_the_fused_head():
    # Weight 0 for the unimodal heads: only the fused one, probability 1/2 of the target, counts.
    fused, other = log_probability((0.5, 0.5)), log_probability((1 / 3, 2 / 3))
    loss = bss.sample_loss(fused, {"fused": other, "image": other}, torch.tensor([0]), unimodal_weight=0.0)
    assert loss.tolist() == pytest.approx([LOG2])


def test_half_precision_logits_give_a_float32_loss():
    z = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16)
    loss = bss.sample_loss(z, [z, z], torch.tensor([0]))
    assert loss.dtype == torch.float32
    # Per head: 2 + log(1 + 1 / e) - 1 = log(1 + e).
    assert loss.item() == pytest.approx(3 * math.log(1 + math.e), rel=1e-6)


@pytest.mark.parametrize("bad", [-1, 3, 250])
def test_a_target_that_is_no_class_is_refused_with_its_index(bad):
    z = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=rf"target.*indices: 2 \({bad}\)"):
        bss.sample_loss(z, [z, z], torch.tensor([0, 1, bad, 2]))


@pytest.mark.parametrize(
    "target", [torch.zeros(3, dtype=torch.int64), torch.zeros(4, 1, dtype=torch.int64), torch.zeros(4)]
)
def test_a_target_that_does_not_fit_is_refused(target):
    z = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="target must be 4 integers"):
        bss.sample_loss(z, [z, z], target)


def test_fused_logits_that_are_not_finite_are_refused_with_indices():
    z, fused = torch.zeros(4, 3), torch.zeros(4, 3)
    fused[3] = math.nan
    with pytest.raises(ValueError, match=r"'fused'.*indices: 3$"):
        bss.sample_loss(fused, [z, z], torch.zeros(4, dtype=torch.int64))


def test_fused_logits_of_another_length_are_refused():
    z = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(5, 3\)"):
        bss.sample_loss(torch.zeros(5, 3), [z, z], torch.zeros(4, dtype=torch.int64))


# ---- min_max, rank_fraction, difficulty, order_weights ----


def test_min_max_by_hand():
    assert bss.min_max(torch.tensor([2.0, 4.0, 3.0, 6.0])).tolist() == [0.0, 0.5, 0.25, 1.0]


@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [7.0], [0.0, -0.0]])
def test_min_max_of_a_constant_is_zeros(values):
    assert bss.min_max(torch.tensor(values)).tolist() == [0.0] * len(values)


def test_min_max_of_extremes_further_apart_than_the_type_reaches_is_still_right():
    assert bss.min_max(torch.tensor([-3e38, 0.0, 3e38])).tolist() == [0.0, 0.5, 1.0]
    assert bss.min_max(torch.tensor([-1.7e308, 1.7e308], dtype=torch.float64)).tolist() == [0.0, 1.0]


def test_min_max_adds_no_epsilon_to_a_small_spread():
    assert bss.min_max(torch.tensor([0.0, 1e-30, 2e-30])).tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_min_max_keeps_float64_apart_where_float32_could_not():
    values = torch.tensor([1.0, 1.0 + 1e-12, 1.0 + 2e-12], dtype=torch.float64)
    assert bss.min_max(values).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-3)


@given(st.lists(finite, min_size=1, max_size=30))
def test_min_max_lies_between_zero_and_one_and_keeps_the_order(values):
    values = torch.tensor(values)
    scaled = bss.min_max(values)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert (scaled[values.argsort()].diff() >= 0).all()


@given(st.lists(finite, min_size=2, max_size=30).filter(lambda values: len(set(values)) > 1))
def test_min_max_reaches_both_ends_unless_constant(values):
    scaled = bss.min_max(torch.tensor(values))
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_rank_fraction_is_the_share_of_the_others_that_are_smaller():
    # Of the four others: none is below 5, one below each 6, three below 7, and four below the outlier.
    fractions = rank_fraction(torch.tensor([1e9, 6.0, 5.0, 6.0, 7.0]))
    assert fractions.tolist() == [1.0, 0.25, 0.0, 0.25, 0.75]


@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [7.0]])
def test_rank_fraction_of_a_constant_is_zeros(values):
    assert rank_fraction(torch.tensor(values)).tolist() == [0.0] * len(values)


def test_difficulty_by_hand():
    # Similarity scaled: 1, 0, .5. Loss scaled: 0, .25, 1. (1 - 1) + 0, (1 - 0) + .25, (1 - .5) + 1.
    difficulty = bss.difficulty(torch.tensor([0.9, 0.5, 0.7]), torch.tensor([1.0, 2.0, 5.0]))
    assert difficulty.tolist() == pytest.approx([0.0, 1.25, 1.5])


def test_difficulty_by_rank_ignores_how_far_an_outlier_lies():
    # Ranks of the loss: 0, .5, 1, whatever the last one is.
    similarity = torch.tensor([0.9, 0.8, 0.7])
    by_rank = bss.difficulty(similarity, torch.tensor([1.0, 2.0, 1e6]), normalize="rank")
    assert by_rank.tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_one_criterion_alone_counts_twice():
    # The numbers of the test by hand: 1 - scaled similarity is 0, 1, .5 and scaled loss 0, .25, 1; ranks 0, .5, 1.
    scores = torch.tensor([0.9, 0.5, 0.7]), torch.tensor([1.0, 2.0, 5.0])
    assert bss.difficulty(*scores, criterion="similarity").tolist() == pytest.approx([0.0, 2.0, 1.0])
    assert bss.difficulty(*scores, criterion="loss").tolist() == pytest.approx([0.0, 0.5, 2.0])
    assert bss.difficulty(*scores, criterion="loss", normalize="rank").tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_an_unknown_criterion_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"criterion must be one of 'both', 'loss', 'similarity', got 'margin'"):
        bss.difficulty(torch.zeros(3), torch.zeros(3), criterion="margin")


def test_a_constant_score_drops_out_of_the_difficulty():
    loss = torch.tensor([0.0, 1.0, 2.0])
    assert bss.difficulty(torch.full((3,), 0.4), loss).tolist() == pytest.approx([1.0, 1.5, 2.0])


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1e6, width=32)), min_size=1, max_size=30),
    st.sampled_from(["minmax", "rank"]),
    st.sampled_from(["both", "loss", "similarity"]),
)
def test_difficulty_lies_between_zero_and_two(rows, normalize, criterion):
    similarity, loss = torch.tensor(rows).unbind(1)
    difficulty = bss.difficulty(similarity, loss, normalize=normalize, criterion=criterion)
    assert ((difficulty >= 0) & (difficulty <= 2)).all()


def test_difficulty_is_refused_where_the_lengths_differ():
    with pytest.raises(ValueError, match="same length"):
        bss.difficulty(torch.zeros(3), torch.zeros(4))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused_with_name_and_index(bad):
    good, wrong = torch.zeros(3), torch.tensor([0.0, bad, 0.0])
    with pytest.raises(ValueError, match=rf"similarity.*indices: 1 \({bad:g}\)"):
        bss.difficulty(wrong, good)
    with pytest.raises(ValueError, match=rf"loss.*indices: 1 \({bad:g}\)"):
        bss.difficulty(good, wrong)


def test_an_unknown_normalisation_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'minmax', 'rank'.*'zscore'"):
        bss.difficulty(torch.zeros(3), torch.zeros(3), normalize="zscore")


def test_order_weights_by_hand():
    difficulty = torch.tensor([0.0, 0.5, 2.0])
    assert bss.order_weights(difficulty).tolist() == pytest.approx([2.01, 1.51, 0.01])
    assert bss.order_weights(difficulty, order="imbalanced_first").tolist() == pytest.approx([0.01, 0.51, 2.01])


def test_without_a_floor_the_most_imbalanced_sample_has_weight_zero():
    assert bss.order_weights(torch.tensor([0.0, 2.0]), floor=0.0).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("bad", [-0.1, 2.1, math.nan])
def test_a_difficulty_outside_its_range_is_refused_with_its_index(bad):
    with pytest.raises(ValueError, match=rf"difficulty.*indices: 1 \({bad:g}\)"):
        bss.order_weights(torch.tensor([0.0, bad, 1.0]))


@pytest.mark.parametrize("floor", [-1e-9, math.nan, math.inf])
def test_a_bad_floor_is_refused(floor):
    with pytest.raises(ValueError, match="floor"):
        bss.order_weights(torch.zeros(2), floor=floor)


# ---- log_weights ----

EVERY_KIND = ["linear", "softmax"]
difficulties = st.lists(st.floats(0, 2, width=32), min_size=1, max_size=20)


def shares_of(difficulty, **options):
    """What part of a draw each sample has."""
    return log_weights(torch.tensor(difficulty), **options).softmax(dim=0).tolist()


def test_linear_weights_by_hand():
    # 2 - d + floor is 2, 1 and .5; at temperature .5 their squares, 4, 1 and .25, at 2 their roots.
    difficulty = torch.tensor([0.0, 1.0, 1.5])
    assert log_weights(difficulty, floor=0.0).exp().tolist() == pytest.approx([2, 1, 0.5])
    assert log_weights(difficulty, floor=0.5).exp().tolist() == pytest.approx([2.5, 1.5, 1])
    assert log_weights(difficulty, floor=0.0, temperature=0.5).exp().tolist() == pytest.approx([4, 1, 0.25])
    assert log_weights(difficulty, floor=0.0, temperature=2.0).exp().tolist() == pytest.approx([2**0.5, 1, 0.5**0.5])
    hard = log_weights(difficulty, floor=0.0, order="imbalanced_first")
    assert hard.exp().tolist() == [0, 1, 1.5]


def test_softmax_weights_by_hand():
    # Balance scores 1 - d are 1, 0 and -1: weights e, 1 and 1 / e; at temperature .5 their squares.
    difficulty = torch.tensor([0.0, 1.0, 2.0])
    assert log_weights(difficulty, kind="softmax").tolist() == [1, 0, -1]
    assert log_weights(difficulty, kind="softmax").exp().tolist() == pytest.approx([math.e, 1, 1 / math.e])
    assert log_weights(difficulty, kind="softmax", temperature=0.5).tolist() == [2, 0, -2]
    assert log_weights(difficulty, kind="softmax", order="imbalanced_first").tolist() == [-1, 0, 1]


def test_softmax_weights_are_made_of_the_difference_of_the_scaled_scores():
    # Scaled similarity 1, 0, .5 less scaled loss 0, .25, 1: balance scores 1, -.25 and -.5.
    difficulty = bss.difficulty(torch.tensor([0.9, 0.5, 0.7]), torch.tensor([1.0, 2.0, 5.0]))
    weights = log_weights(difficulty, kind="softmax").exp()
    assert weights.tolist() == pytest.approx([math.exp(1), math.exp(-0.25), math.exp(-0.5)])


def test_the_shares_of_softmax_weights_are_those_of_the_paper():
    # exp(b) over its sum, of b = 1 and -1: 1 / (1 + exp(-2)) = .880797 and the rest. Linear: 2.01 and .01 of 2.02.
    assert shares_of([0.0, 2.0], kind="softmax") == pytest.approx([0.880797, 0.119203], abs=1e-6)
    assert shares_of([0.0, 2.0]) == pytest.approx([2.01 / 2.02, 0.01 / 2.02])


def test_linear_is_the_kind_unless_another_is_named_and_has_the_public_weights():
    difficulty = torch.rand(50) * 2
    assert torch.equal(log_weights(difficulty), log_weights(difficulty, kind="linear"))
    assert torch.equal(log_weights(difficulty), bss.order_weights(difficulty).double().log())


@pytest.mark.parametrize("kind", EVERY_KIND)
@given(difficulty=difficulties, temperature=st.floats(0.01, 100), floor=st.floats(1e-3, 1))
def test_weights_fall_with_the_difficulty_and_rise_with_it_where_imbalanced_samples_come_first(
    kind, difficulty, temperature, floor
):
    ascending = torch.tensor(sorted(difficulty))
    options = {"floor": floor, "temperature": temperature, "kind": kind}
    falling, rising = (log_weights(ascending, order=way, **options) for way in ("balanced_first", "imbalanced_first"))
    assert (falling.diff() <= 0).all() and (rising.diff() >= 0).all()
    assert falling.dtype == torch.float64 and falling.isfinite().all() and rising.isfinite().all()


@pytest.mark.parametrize("kind", EVERY_KIND)
@given(difficulty=difficulties, temperature=st.floats(0.01, 100))
def test_a_temperature_divides_the_logarithm(kind, difficulty, temperature):
    difficulty = torch.tensor(difficulty)
    expected = log_weights(difficulty, kind=kind) / temperature
    assert torch.allclose(log_weights(difficulty, kind=kind, temperature=temperature), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", EVERY_KIND)
@given(difficulty=difficulties, seed=st.integers(0, 2**31))
def test_a_weight_does_not_depend_on_the_other_samples(kind, difficulty, seed):
    difficulty = torch.tensor(difficulty)
    mixed = torch.randperm(len(difficulty), generator=torch.Generator().manual_seed(seed))
    weights = log_weights(difficulty, kind=kind)
    assert torch.allclose(log_weights(difficulty[mixed], kind=kind), weights[mixed], rtol=1e-14)
    assert torch.allclose(log_weights(difficulty[:1], kind=kind), weights[:1], rtol=1e-14)


@given(difficulty=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), shift=st.floats(0, 1, width=32))
def test_softmax_shares_do_not_change_when_all_samples_become_harder_by_as_much(difficulty, shift):
    harder = [d + shift for d in difficulty]
    assert shares_of(harder, kind="softmax") == pytest.approx(shares_of(difficulty, kind="softmax"), abs=1e-6)


@given(difficulty=difficulties, temperature=st.floats(0.1, 10))
def test_the_two_orders_of_softmax_weights_are_each_others_inverse(difficulty, temperature):
    difficulty, options = torch.tensor(difficulty), {"kind": "softmax", "temperature": temperature}
    both = log_weights(difficulty, **options) + log_weights(difficulty, order="imbalanced_first", **options)
    assert (both == 0).all()


@given(difficulty=difficulties, floor=st.floats(0, 10))
def test_softmax_weights_need_no_floor(difficulty, floor):
    difficulty = torch.tensor(difficulty)
    weights = log_weights(difficulty, kind="softmax")
    assert torch.equal(log_weights(difficulty, kind="softmax", floor=floor), weights)
    assert (weights.abs() <= 1).all()  # e and 1 / e are the largest weight and the smallest


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"floor": -1e-9}, "floor must be a number >= 0"),
        ({"floor": math.nan}, "floor must be a number >= 0"),
        ({"temperature": 0.0}, "temperature must be a number > 0"),
        ({"temperature": math.inf}, "temperature must be a number > 0"),
        ({"temperature": math.nan}, "temperature must be a number > 0"),
        ({"order": "up"}, "order must be one of 'balanced_first', 'imbalanced_first', got 'up'"),
    ],
    ids=str,
)
def test_bad_numbers_of_weights_are_refused_whatever_their_kind(kind, options, said):
    with pytest.raises(ValueError, match=said):
        log_weights(torch.zeros(2), kind=kind, **options)


def test_an_unknown_kind_of_weights_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="weighting must be one of 'linear', 'softmax', got 'power'"):
        log_weights(torch.zeros(2), kind="power")


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("bad", [-0.1, 2.1, math.nan])
def test_weights_of_a_difficulty_outside_its_range_are_refused_with_its_index(kind, bad):
    with pytest.raises(ValueError, match=rf"difficulty.*indices: 1 \({bad:g}\)"):
        log_weights(torch.tensor([0.0, bad, 1.0]), kind=kind)


@pytest.mark.parametrize(
    "function",
    [bss.min_max, rank_fraction, bss.order_weights, log_weights, bss.curriculum_order],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 1)])
def test_what_is_no_vector_is_refused(function, shape):
    with pytest.raises(ValueError, match="vector"):
        function(torch.zeros(shape))


@pytest.mark.parametrize(("count", "rest"), [(5, ""), (6, " and 1 more"), (8, " and 3 more")])
def test_an_error_names_five_indices_and_counts_the_rest(count, rest):
    with pytest.raises(ValueError, match=rf"indices: 0 \(nan\), 1 .*, 2 .*, 3 .*, 4 \(nan\){rest}$"):
        bss.min_max(torch.full((count,), math.nan))


# ---- curriculum_order ----


def test_curriculum_order_sorts_and_leaves_ties_in_index_order():
    assert bss.curriculum_order(torch.tensor([0.5, 0.1, 0.5, 0.0, 0.1])).tolist() == [3, 1, 4, 0, 2]


def test_the_anti_curriculum_sorts_downwards_and_leaves_ties_in_index_order():
    difficulty = torch.tensor([0.5, 0.1, 0.5, 0.0, 0.1])
    assert bss.curriculum_order(difficulty, order="imbalanced_first").tolist() == [0, 2, 1, 4, 3]


@pytest.mark.parametrize("order", ["balanced_first", "imbalanced_first"])
def test_thousands_of_ties_stay_in_index_order(order):
    # Large enough for a sort that is not stable to show it.
    difficulty = torch.arange(5000) % 3 / 2
    expected = sorted(range(5000), key=lambda i: difficulty[i].item() * (1 if order == "balanced_first" else -1))
    assert bss.curriculum_order(difficulty, order=order).tolist() == expected


def test_with_labels_the_easiest_of_each_class_comes_first():
    # Class 0 is easier throughout, yet both classes take turns: 0 and 1 first, then 2 and 3.
    difficulty, labels = torch.tensor([0.0, 1.0, 0.1, 1.1]), torch.tensor([0, 1, 0, 1])
    assert bss.curriculum_order(difficulty, labels=labels).tolist() == [0, 1, 2, 3]
    assert bss.curriculum_order(difficulty).tolist() == [0, 2, 1, 3]


def worst_excess(labels: torch.Tensor, order: torch.Tensor) -> float:
    """By how many samples the worst class misses its proportional share, over all prefixes of the order."""
    ranked = labels[order]
    sizes = torch.arange(1, len(labels) + 1)
    classes = labels.unique()
    counts = torch.stack([(ranked == c).cumsum(0) for c in classes]).double()
    shares = torch.stack([(labels == c).double().mean() * sizes for c in classes])
    return (counts - shares).abs().max().item()


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12))
def test_with_labels_every_prefix_keeps_the_mix_of_equal_classes(seed, per_class, classes):
    labels = torch.arange(classes).repeat(per_class)
    difficulty = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed))
    assert worst_excess(labels, bss.curriculum_order(difficulty, labels=labels)) <= 1 + 1e-9


@given(st.lists(st.sampled_from([1, 2, 5, 9, 30]), min_size=1, max_size=12), st.integers(0, 10**6))
def test_with_labels_every_prefix_keeps_the_mix_of_unequal_classes(sizes, seed):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    difficulty = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed))
    assert worst_excess(labels, bss.curriculum_order(difficulty, labels=labels)) <= 1 + 1e-9


def test_with_labels_one_large_class_is_not_crowded_out_by_many_small_ones():
    # Nine samples of class 0, nine classes of one: half of every prefix should be class 0, give or take one.
    labels = torch.tensor([0] * 9 + list(range(1, 10)))
    order = bss.curriculum_order(torch.linspace(0, 2, 18), labels=labels)
    assert worst_excess(labels, order) <= 1 + 1e-9


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 3)), min_size=1, max_size=40))
def test_with_labels_each_class_is_still_sorted_and_nothing_is_lost(rows):
    difficulty, labels = torch.tensor(rows).unbind(1)
    order = bss.curriculum_order(difficulty, labels=labels.long())
    assert sorted(order.tolist()) == list(range(len(rows)))
    for label in labels.unique():
        of_class = [i for i in order.tolist() if labels[i] == label]
        assert of_class == sorted(of_class, key=lambda i: (difficulty[i].item(), i))


@pytest.mark.parametrize("labels", [torch.zeros(3, dtype=torch.int64), torch.zeros(4)])
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be 4 integers"):
        bss.curriculum_order(torch.zeros(4), labels=labels)


def test_an_unknown_order_is_refused_with_the_choices():
    for function in (bss.curriculum_order, bss.order_weights):
        with pytest.raises(ValueError, match=r"'balanced_first', 'imbalanced_first'.*'easy'"):
            function(torch.zeros(3), order="easy")


def test_classes_of_any_order_are_interleaved_with_repeats_kept():
    # Two of class 0 and four of class 1, whose members keep their order 5, 3, 5, 4.
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert class_balanced(torch.tensor([5, 3, 5, 2, 0, 4]), labels).tolist() == [5, 2, 3, 5, 0, 4]


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        # The second of two among three may come from place ceil(3 / 2) - 1 = 1 on. There it must come before place 3,
        # as the one of the other class must: of those the first class is taken.
        ([0, 0, 1], [0, 1, 2]),
        # The first of class 1 must come before ceil(3 / 2), the one of class 0 before 3, as the second of class 1 must.
        ([0, 1, 1], [1, 0, 2]),
        # The three of class 0 may come from 0, ceil(4 / 3) - 1 = 1 and ceil(8 / 3) - 1 = 2 on, before 2, 3 and 4.
        ([0, 0, 0, 1], [0, 1, 2, 3]),
    ],
)
def test_a_sample_may_come_one_place_before_its_share_is_reached(labels, order):
    assert class_balanced(range(len(labels)), labels).tolist() == order


def test_other_members_in_the_same_sequence_of_classes():
    # The order's classes are 0 1 0 1 0; class 0 has the members 2, 0, 4 in their sequence, class 1 has 3, 1.
    labels = torch.tensor([0, 1, 0, 1, 0])
    matched = class_matched(torch.tensor([4, 1, 0, 3, 2]), torch.tensor([3, 2, 0, 1, 4]), labels)
    assert matched.tolist() == [2, 3, 0, 1, 4]


@given(labels=st.lists(st.integers(-2, 3), min_size=1, max_size=40), seed=st.integers(0, 2**31))
def test_a_class_matched_order_has_the_classes_of_one_and_the_members_of_the_other(labels, seed):
    labels, count = torch.tensor(labels), len(labels)
    order, members = (torch.randperm(count, generator=torch.Generator().manual_seed(seed + i)) for i in range(2))
    matched = class_matched(order, members, labels)
    assert sorted(matched.tolist()) == list(range(count))
    assert torch.equal(labels[matched], labels[order])
    for label in labels.unique():
        assert torch.equal(matched[labels[matched] == label], members[labels[members] == label])


# ---- similarity of features, and the length of a gradient ----


def test_feature_similarity_is_the_mean_cosine_over_all_pairs():
    # (3, 4) and (4, 3): 24 / 25; with (1, 0): 3 / 5 and 4 / 5.
    features = {"a": torch.tensor([[3.0, 4.0]]), "b": torch.tensor([[4.0, 3.0]]), "c": torch.tensor([[1.0, 0.0]])}
    assert similarity_of(tensors_of(features), space="logit").item() == pytest.approx((0.96 + 0.6 + 0.8) / 3)
    del features["c"]
    assert similarity_of(tensors_of(features), space="logit").item() == pytest.approx(0.96)


def test_opposite_features_have_similarity_minus_one_and_a_dead_one_zero():
    features = {"a": torch.tensor([[1.0, 2.0], [0.0, 0.0]]), "b": torch.tensor([[-2.0, -4.0], [1.0, 1.0]])}
    assert similarity_of(tensors_of(features), space="logit").tolist() == pytest.approx([-1.0, 0.0])


def test_gradient_magnitude_by_hand():
    # Softmax (.2, .8) of class 1: error (.2, -.2), length .2 sqrt 2; feature (3, 4): length 5.
    logits = log_probability((0.2, 0.8))
    magnitude = gradient_of(logits, torch.tensor([1]), torch.tensor([[3.0, 4.0]]))
    assert magnitude.item() == pytest.approx(math.sqrt(2))


def test_a_certain_and_right_prediction_has_no_gradient():
    magnitude = gradient_of(torch.tensor([[100.0, 0.0]]), torch.tensor([0]), torch.ones(1, 4))
    assert magnitude.item() == 0


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(2, 5), st.integers(1, 5))
def test_gradient_magnitude_is_the_norm_that_backward_finds(seed, samples, classes, dim):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(samples, dim, generator=generator, dtype=torch.float64)
    weight = torch.randn(classes, dim, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(classes, (samples,), generator=generator)
    magnitude = gradient_of((features @ weight.T).detach(), target, features)
    for i in range(samples):
        loss = functional.cross_entropy(features[i : i + 1] @ weight.T, target[i : i + 1])
        assert magnitude[i].item() == pytest.approx(torch.autograd.grad(loss, weight)[0].norm().item(), abs=1e-9)


# ---- resampled_order ----


def test_draws_follow_the_weights_with_replacement():
    # Shares .1, .6, .3 of 20,000 draws; the largest deviation is that of .6: 69.3.
    counts = resampled_order(torch.tensor([1.0, 6.0, 3.0]).log(), seed=0, epoch=0, k=20_000).bincount().double()
    assert (counts - torch.tensor([2000, 12_000, 6000])).abs().max() < 5 * 69.3


def test_draws_are_a_function_of_seed_and_epoch():
    log_weights = torch.zeros(50)
    again, once = (resampled_order(log_weights, seed=1, epoch=2) for _ in range(2))
    assert torch.equal(again, once) and len(once) == 50 and once.dtype == torch.int64
    assert not torch.equal(once, resampled_order(log_weights, seed=2, epoch=1))


@given(st.lists(st.sampled_from([0.0, 1e-30, 1.0, 1e30]), min_size=1, max_size=20).filter(any), st.integers(0, 2**31))
def test_a_sample_of_weight_zero_is_never_drawn(weights, seed):
    weights = torch.tensor(weights)
    assert (weights[resampled_order(weights.double().log(), seed=seed, epoch=0, k=40)] > 0).all()


def test_draws_from_logarithms_too_small_to_exponentiate_follow_their_difference():
    drawn = resampled_order(torch.tensor([-2000.0, -2000.0 + math.log(3)]), seed=0, epoch=0, k=4000)
    assert abs(drawn.sum().item() - 3000) < 5 * 27.4


@pytest.mark.parametrize(
    ("log_weights", "k", "said"),
    [([-math.inf, -math.inf], None, "all weights are 0"), ([0.0], 0, "k must be >= 1")],
)
def test_weights_that_nothing_can_be_drawn_by_are_refused(log_weights, k, said):
    with pytest.raises(ValueError, match=said):
        resampled_order(torch.tensor(log_weights), seed=0, epoch=0, k=k)


# ---- weighted_order: shape and edges ----


@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=30),
    st.integers(0, 2**31),
    st.integers(0, 1000),
    st.data(),
)
def test_weighted_order_draws_k_different_samples(weights, seed, epoch, data):
    count = len(weights)
    k = data.draw(st.none() | st.integers(1, count))
    order = bss.weighted_order(torch.tensor(weights), seed=seed, epoch=epoch, k=k)
    assert order.dtype == torch.int64
    assert len(order) == len(set(order.tolist())) == (k or count)
    assert set(order.tolist()) <= set(range(count))


def test_the_first_k_of_a_draw_do_not_depend_on_k():
    weights = torch.rand(50)
    whole = bss.weighted_order(weights, seed=3, epoch=4)
    assert bss.weighted_order(weights, seed=3, epoch=4, k=7).tolist() == whole[:7].tolist()


def test_samples_of_weight_zero_come_last():
    weights = torch.ones(20)
    weights[5:12] = 0
    for epoch in range(50):
        order = bss.weighted_order(weights, seed=0, epoch=epoch)
        assert sorted(order[-7:].tolist()) == list(range(5, 12))


def test_samples_of_weight_zero_are_in_random_order_among_themselves():
    # Each of the six is their first in 1/6 of 1200 epochs: 200, standard deviation 12.9; five are 65.
    weights = torch.tensor([1.0, 0, 0, 0, 0, 0, 0])
    first = torch.stack([bss.weighted_order(weights, seed=0, epoch=epoch)[1] for epoch in range(1200)])
    assert ((first.bincount(minlength=7)[1:] - 200).abs() < 65).all()


def test_all_zero_weights_give_a_uniform_order():
    # Each of five is first in 1/5 of 1000 epochs: 200, standard deviation 12.6; five of them are 63.
    first = torch.stack([bss.weighted_order(torch.zeros(5), seed=0, epoch=epoch)[0] for epoch in range(1000)])
    assert ((first.bincount(minlength=5) - 200).abs() < 63).all()


def test_weights_of_every_magnitude_are_told_apart():
    # Factors of 1e60 between them: any other order has a probability below 1e-59.
    weights = torch.tensor([1e-300, 1e-60, 1e-180, 1e300, 1.0], dtype=torch.float64)
    for epoch in range(20):
        assert bss.weighted_order(weights, seed=0, epoch=epoch).tolist() == [3, 4, 1, 2, 0]


def test_logarithms_of_weights_may_lie_outside_what_can_be_exponentiated():
    log_weights = torch.tensor([-1e5, 1e5, 0.0, -torch.inf], dtype=torch.float64)
    assert race_order(log_weights, seed=0, epoch=0).tolist() == [1, 2, 0, 3]


def test_weighted_order_of_logarithms_is_that_of_the_weights():
    weights = torch.rand(100, dtype=torch.float64)
    expected = bss.weighted_order(weights, seed=1, epoch=2).tolist()
    assert race_order(weights.log() + 50, seed=1, epoch=2).tolist() == expected  # only ratios matter


def test_weighted_order_is_a_function_of_its_arguments(untouched_rngs):
    weights = torch.linspace(0.1, 2, 100)
    torch.rand(0)
    first = bss.weighted_order(weights, seed=5, epoch=6)
    assert torch.equal(first, bss.weighted_order(weights, seed=5, epoch=6))


def test_seed_and_epoch_are_not_added_up():
    weights = torch.ones(100)
    pairs = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 1), (0, 0)]
    orders = {tuple(bss.weighted_order(weights, seed=seed, epoch=epoch).tolist()) for seed, epoch in pairs}
    assert len(orders) == len(pairs)


def test_weighted_order_does_not_depend_on_the_number_of_threads():
    weights = torch.linspace(0.1, 2, 200_000)  # enough for torch to split the work
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = bss.weighted_order(weights, seed=0, epoch=0)
        torch.set_num_threads(4)
        several = bss.weighted_order(weights, seed=0, epoch=0)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(single, several)


def test_one_sample_is_an_order():
    assert bss.weighted_order(torch.tensor([0.3]), seed=0, epoch=0).tolist() == [0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_weights_are_refused_with_their_indices(bad):
    with pytest.raises(ValueError, match=rf"weights.*indices: 1 \({bad:g}\), 3 \({bad:g}\)"):
        bss.weighted_order(torch.tensor([1.0, bad, 1.0, bad]), seed=0, epoch=0)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_a_k_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match=r"1\.\.3"):
        bss.weighted_order(torch.ones(3), seed=0, epoch=0, k=k)


@pytest.mark.parametrize(("seed", "epoch"), [(-1, 0), (0, -1)])
def test_a_negative_seed_or_epoch_is_refused(seed, epoch):
    with pytest.raises(ValueError, match="must lie in 0"):
        bss.weighted_order(torch.ones(3), seed=seed, epoch=epoch)


@pytest.mark.slow
def test_more_than_two_to_the_24_weights_are_drawn_once_each():
    # torch.multinomial stops at 2**24. The one weight beyond it dominates: it must come first, as itself.
    count = 2**24 + 2
    weights = torch.full((count,), 1e-12)
    weights[-1] = 1e12
    order = bss.weighted_order(weights, seed=0, epoch=0)
    assert order[0] == count - 1
    assert (torch.bincount(order, minlength=count) == 1).all()


# ---- weighted_order: the Plackett-Luce law ----

WEIGHTS = torch.tensor([4.0, 3.0, 2.0, 1.0])
DRAWS = 20_000
PERMUTATIONS = list(itertools.permutations(range(4)))


@pytest.fixture(scope="module")
def draws() -> torch.Tensor:
    """(DRAWS, 4): the order of each epoch."""
    return torch.stack([bss.weighted_order(WEIGHTS, seed=0, epoch=epoch) for epoch in range(DRAWS)])


@pytest.fixture(scope="module")
def ranks(draws) -> torch.Tensor:
    """(DRAWS, 4): the 0-based position of each sample in each epoch."""
    return draws.argsort(dim=1)


def chi_square(draws: torch.Tensor) -> float:
    """Of the 24 permutations against their exact probabilities: products of w_i over what is left to draw."""
    seen = dict.fromkeys(PERMUTATIONS, 0)
    for order in draws.tolist():
        seen[tuple(order)] += 1
    statistic = 0.0
    for order in PERMUTATIONS:
        w = [WEIGHTS[i].item() for i in order]
        expected = len(draws) * math.prod(w[i] / sum(w[i:]) for i in range(4))
        statistic += (seen[order] - expected) ** 2 / expected
    return statistic


CHI_SQUARE_23 = 49.7  # exceeded with probability 0.001 at 24 - 1 degrees of freedom


def test_permutations_follow_the_exact_plackett_luce_law(draws):
    assert chi_square(draws) < CHI_SQUARE_23


def test_the_same_statistic_rejects_wrong_laws():
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(DRAWS, 4, generator=generator).argsort(1)
    squared = torch.multinomial((WEIGHTS**2).expand(DRAWS, 4), 4, generator=generator)
    additive = (torch.rand(DRAWS, 4, generator=generator) * WEIGHTS).argsort(1, descending=True)
    assert min(chi_square(wrong) for wrong in (uniform, squared, additive)) > 10 * CHI_SQUARE_23


def test_the_same_statistic_accepts_multinomial():
    generator = torch.Generator().manual_seed(0)
    assert chi_square(torch.multinomial(WEIGHTS.expand(DRAWS, 4), 4, generator=generator)) < CHI_SQUARE_23


def test_one_sample_precedes_another_in_proportion_to_their_weights(draws, ranks):
    # Standard deviation at most sqrt(1/4 / 20000) = .0035; five of them are .018.
    for i, j in itertools.combinations(range(4), 2):
        expected = (WEIGHTS[i] / (WEIGHTS[i] + WEIGHTS[j])).item()
        assert (ranks[:, i] < ranks[:, j]).double().mean().item() == pytest.approx(expected, abs=0.018)


def test_the_first_sample_is_drawn_in_proportion_to_its_weight(draws):
    share = draws[:, 0].bincount(minlength=4) / DRAWS
    assert share.tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.018)


def test_the_mean_rank_of_a_sample_is_the_sum_of_its_precedences(ranks):
    # Sample 0: 3/7 + 2/6 + 1/5 = .9619; sample 3: 4/5 + 3/4 + 2/3 = 2.2167. Five standard errors are .04.
    assert ranks[:, 0].double().mean().item() == pytest.approx(0.9619, abs=0.04)
    assert ranks[:, 3].double().mean().item() == pytest.approx(2.2167, abs=0.04)


def test_orders_of_consecutive_epochs_are_uncorrelated(ranks):
    # Standard error 1 / sqrt(20000) = .007; five of them are .035.
    for sample in range(4):
        before, after = ranks[:-1, sample].double(), ranks[1:, sample].double()
        assert abs(torch.corrcoef(torch.stack((before, after)))[0, 1].item()) < 0.035


# ---- golden: the released scripts' formulas, written out in plain Python ----


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(z) for z in row]
    return [e / sum(exponentials) for e in exponentials]


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def scaled(values: list[float]) -> list[float]:
    return [(value - min(values)) / (max(values) - min(values)) for value in values]


class Released:
    """200 samples of two modalities, scored as the released scripts do, and the same through the library."""

    def __init__(self, *, space: str = "probability", fused_weight: float = 1.0, unimodal_weight: float = 1.0):
        fused, audio, image = random_logits(3, 200, 6, seed=1)
        target = torch.randint(6, (200,), generator=torch.Generator().manual_seed(2))
        view = softmax if space == "probability" else list
        similarities, losses = [], []
        for f, a, v, y in zip(fused.tolist(), audio.tolist(), image.tolist(), target.tolist(), strict=True):
            similarities.append(cosine(view(a), view(v)))
            unimodal = -math.log(softmax(a)[y]) - math.log(softmax(v)[y])
            losses.append(-fused_weight * math.log(softmax(f)[y]) + unimodal_weight * unimodal)
        self.similarity, self.loss = scaled(similarities), scaled(losses)
        self.difficulty = bss.difficulty(
            bss.prediction_similarity({"audio": audio, "image": image}, space=space),
            bss.sample_loss(fused, [audio, image], target, fused_weight=fused_weight, unimodal_weight=unimodal_weight),
        )

    def rows(self):
        return zip(self.similarity, self.loss, strict=True)


@pytest.mark.parametrize(
    "options",
    [{}, {"fused_weight": 0.1, "unimodal_weight": 0.9}, {"space": "logit"}],
    ids=["Kinetics-Sounds", "CREMA-D", "NVGesture"],
)
def test_the_curriculum_is_that_of_the_released_script(options):
    released = Released(**options)
    scores = [(1 - s) + loss for s, loss in released.rows()]
    expected = [index for index, _ in sorted(enumerate(scores), key=lambda pair: pair[1])]
    assert bss.curriculum_order(released.difficulty).tolist() == expected


@pytest.mark.parametrize(
    ("order", "floor", "released_weight"),
    [
        ("balanced_first", 1e-2, lambda s, loss: 1 - (loss - s) + 1e-2),
        ("imbalanced_first", 1e-2, lambda s, loss: 1 - (s - loss) + 1e-2),
        ("balanced_first", 0.0, lambda s, loss: 1 - (loss - s)),
    ],
    ids=["Kinetics-Sounds", "Twitter15 (sign flipped)", "NVGesture (no floor)"],
)
def test_the_weights_are_those_of_the_released_script(order, floor, released_weight):
    released = Released()
    weights = bss.order_weights(released.difficulty, floor=floor, order=order)
    expected = [released_weight(s, loss) for s, loss in released.rows()]
    assert weights.tolist() == pytest.approx(expected, abs=1e-12)


# ---- outputs that are no logits of two or more classes ----


def test_one_logit_and_targets_that_are_no_class_ids_are_refused_with_the_way_out():
    one, z = torch.zeros(2, 1), torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    for call in (lambda: bss.prediction_similarity([one, one]), lambda: bss.sample_loss(one, [one, one], TARGET_ZERO)):
        with pytest.raises(ValueError, match=r"one logit for each class: torch\.cat"):
            call()
    for target in (torch.rand(2), torch.rand(2, 2)):
        with pytest.raises(ValueError, match=r"scores of your own: table\.update"):
            bss.sample_loss(z, [z, z], target)
    assert bss.prediction_similarity([one, one], space="logit").tolist() == [0, 0]  # features may have any length


TARGET_ZERO = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("second", "dtype", "seem"),
    [
        (0.5, torch.float32, True),
        (0.5005, torch.float32, True),  # a sum of 1.0005: rounding
        (0.5015, torch.float32, False),
        (0.484375, torch.bfloat16, True),  # .984375: eight bits are no more exact
        (0.46875, torch.bfloat16, False),
        (0.484375, torch.float32, False),
    ],
)
def test_what_sums_to_one_within_the_rounding_of_its_type_seems_to_be_probabilities(second, dtype, seem):
    rows = torch.tensor([[0.5, second], [0.0, 1.0]]).to(dtype)  # a probability may be 0
    assert bool(seem_probabilities([rows, rows])) is seem
    assert not seem_probabilities([rows, torch.tensor([[1.5, -0.5]])])  # the sum alone says nothing


def test_probabilities_in_place_of_logits_are_warned_of():
    p = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    with pytest.warns(UserWarning, match="as probabilities do") as told:
        bss.prediction_similarity([p, p])
        bss.sample_loss(p, [p, p], TARGET_ZERO)
    assert [warning.filename for warning in told] == [__file__] * 2
