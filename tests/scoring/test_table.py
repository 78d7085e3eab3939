"""The score table, and the data set wrapper that carries each sample's index to it."""

import copy
import io
import itertools
import math
import pickle
import re
import warnings

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import bss
from bss.data.indexed import INDEX_KEY
from bss.scoring.table import OPEN_ROWS

ONE = torch.tensor([0.5])


def closed(table: bss.ScoreTable, *epochs: dict[int, tuple[float, float]]) -> bss.ScoreTable:
    """The table after epochs of {index: (similarity, loss)}."""
    for epoch in epochs:
        similarity, loss = torch.tensor(list(epoch.values())).unbind(1)
        table.update(torch.tensor(list(epoch)), similarity=similarity, loss=loss)
        table.synchronize()
    return table


def same(a: bss.ScoreTable, b: bss.ScoreTable) -> bool:
    """Bit for bit, NaN where NaN."""
    return all(
        torch.equal(getattr(a, name).nan_to_num(-9), getattr(b, name).nan_to_num(-9))
        for name in ("similarity", "loss", "age")
    )


def through_a_file(state: dict) -> dict:
    """What torch.save and the safe torch.load make of it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


# ---- history ----

THREE_EPOCHS = ({0: (0.8, 4.0)}, {0: (0.4, 2.0)}, {0: (0.6, 0.0)})


@pytest.mark.parametrize(
    ("momentum", "similarities", "losses"),
    [
        (0.0, [0.8, 0.4, 0.6], [4.0, 2.0, 0.0]),
        # 3/4 * .8 + 1/4 * .4 = .7, 3/4 * .7 + 1/4 * .6 = .675; 3/4 * 4 + 1/4 * 2 = 3.5, 3/4 * 3.5 = 2.625.
        (0.75, [0.8, 0.7, 0.675], [4.0, 3.5, 2.625]),
        # Means of .8 and .4, then of all three, .6; of 4 and 2, then of 4, 2 and 0.
        (None, [0.8, 0.6, 0.6], [4.0, 3.0, 2.0]),
    ],
    ids=["newest", "blend", "cumulative mean"],
)
def test_momentum_weighs_the_past(momentum, similarities, losses):
    table = bss.ScoreTable(1, momentum=momentum)
    history = [(closed(table, epoch).similarity.item(), table.loss.item()) for epoch in THREE_EPOCHS]
    assert [s for s, _ in history] == pytest.approx(similarities)
    assert [loss for _, loss in history] == pytest.approx(losses)


# Three samples, two rounds. Scaled similarities 0, .5, 1 and then 1, .5, 0; losses 0, 1, .5 and then 1/3, 0, 1.
TWO_ROUNDS = (
    {0: (0.2, 1.0), 1: (0.6, 3.0), 2: (1.0, 2.0)},
    {0: (1.0, 2.0), 1: (0.5, 1.0), 2: (0.0, 4.0)},
)


@pytest.mark.parametrize(
    ("momentum", "balance"),
    [
        # The balance is 0, -.5, .5 and then 2/3, .5, -1. The paper's beta = .6 weighs the new one:
        # .4 * 0 + .6 * 2/3 = .4, .4 * -.5 + .6 * .5 = .1, .4 * .5 + .6 * -1 = -.4.
        (0.4, [0.4, 0.1, -0.4]),
        (0.0, [2 / 3, 0.5, -1.0]),
        (None, [1 / 3, 0.0, -0.25]),
    ],
    ids=["the paper's", "newest", "mean"],
)
def test_a_history_of_the_balance_blends_what_min_max_has_scaled(momentum, balance):
    table = closed(bss.ScoreTable(3, momentum=momentum, history_of="balance"), *TWO_ROUNDS)
    assert (1 - table.difficulty()).tolist() == pytest.approx(balance, abs=1e-6)
    assert table.similarity.tolist() == [1.0, 0.5, 0.0], "the scores themselves are the newest"
    assert table.loss.tolist() == [2.0, 1.0, 4.0]


def test_the_paper_draws_by_the_softmax_of_that_history():
    # exp(.4), exp(.1), exp(-.4) = 1.4918, 1.1052, .6703, of 3.2673.
    table = closed(bss.ScoreTable(3, momentum=0.4, history_of="balance"), *TWO_ROUNDS)
    sampler = bss.SelfPacedSampler(3, table=table, weighting="softmax", seed=0)
    weights = sampler.weights()
    assert (weights / weights.sum()).tolist() == pytest.approx([0.4566, 0.3383, 0.2052], abs=5e-5)


def test_a_history_of_the_scores_is_another_thing():
    # Similarities .4 * .2 + .6 * 1 = .68, .54, .4, scaled 1, .5, 0; losses 1.6, 1.8, 3.2, scaled 0, .125, 1.
    table = closed(bss.ScoreTable(3, momentum=0.4), *TWO_ROUNDS)
    assert (1 - table.difficulty()).tolist() == pytest.approx([1.0, 0.375, -1.0], abs=1e-6)


def test_without_a_past_both_histories_are_one():
    of_scores, of_balance = (closed(bss.ScoreTable(3, history_of=kind), *TWO_ROUNDS) for kind in ("scores", "balance"))
    for criterion in ("both", "loss", "similarity"):
        assert of_scores.difficulty(criterion=criterion).tolist() == pytest.approx(
            of_balance.difficulty(criterion=criterion).tolist(), abs=1e-6
        )
    ranks = [table.difficulty(normalize="rank").tolist() for table in (of_scores, of_balance)]
    assert ranks[0] == ranks[1]


def test_a_sample_that_a_round_leaves_out_keeps_its_balance_and_still_spans_the_scale():
    # Round 2 scores 0 and 1 alone. Newest similarities .6, .4, 1 (scaled 1/3, 0, 1), losses 4, 2, 2 (scaled 1, 0, 0):
    # balance -2/3 and 0 for the two, after 0 and -.5 in round 1; sample 2 keeps its .5.
    table = closed(bss.ScoreTable(3, momentum=0.4, history_of="balance"), TWO_ROUNDS[0], {0: (0.6, 4.0), 1: (0.4, 2.0)})
    assert (1 - table.difficulty()).tolist() == pytest.approx([-0.4, -0.2, 0.5], abs=1e-6)


def test_a_history_of_the_balance_goes_through_a_file_and_starts_anew():
    table = closed(bss.ScoreTable(3, momentum=0.4, history_of="balance"), TWO_ROUNDS[0])
    other = bss.ScoreTable(3, momentum=0.4, history_of="balance")
    other.load_state_dict(through_a_file(table.state_dict()))
    for each in (table, other):
        closed(each, TWO_ROUNDS[1])
    assert other.difficulty().equal(table.difficulty())
    with pytest.raises(ValueError, match="history_of='balance'"):
        bss.ScoreTable(3, momentum=0.4).load_state_dict(table.state_dict())
    table.reset()
    assert closed(table, TWO_ROUNDS[0]).difficulty().tolist() == pytest.approx([1.0, 1.5, 0.5])


def test_states_from_before_there_was_a_history_of_the_balance_can_be_loaded():
    table = closed(bss.ScoreTable(3, momentum=0.4), TWO_ROUNDS[0])
    older = {name: value for name, value in table.state_dict().items() if name not in ("history_of", "scaled")}
    new = bss.ScoreTable(3, momentum=0.4)
    new.load_state_dict(older)
    assert same(table, new)


def test_the_cumulative_mean_counts_only_epochs_in_which_a_sample_was_seen():
    # Sample 1 misses the second epoch: its mean is (2 + 4) / 2, not a third of anything.
    table = closed(
        bss.ScoreTable(2, momentum=None),
        {0: (0.5, 1.0), 1: (0.5, 2.0)},
        {0: (0.5, 2.0)},
        {0: (0.5, 3.0), 1: (0.5, 4.0)},
    )
    assert table.loss.tolist() == [2.0, 3.0]


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=8))
def test_without_momentum_number_the_table_holds_the_mean_of_all_epochs(losses):
    table = closed(bss.ScoreTable(1, momentum=None), *({0: (0.5, loss)} for loss in losses))
    assert table.loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5, abs=1e-30)


def test_values_change_only_when_the_epoch_is_closed():
    table = closed(bss.ScoreTable(2), {0: (0.5, 1.0)})
    before = copy.deepcopy(table)
    table.update([0, 1], similarity=torch.tensor([0.9, 0.9]), loss=torch.tensor([3.0, 3.0]))
    assert same(table, before)
    table.synchronize()
    assert table.loss.tolist() == [3.0, 3.0]


def test_a_table_that_was_handed_out_is_not_changed_by_later_epochs():
    table = closed(bss.ScoreTable(2), {0: (0.5, 1.0), 1: (0.25, 2.0)})
    similarity, loss, age = table.similarity, table.loss, table.age
    closed(table, {0: (0.9, 9.0)})
    assert (similarity.tolist(), loss.tolist(), age.tolist()) == ([0.5, 0.25], [1.0, 2.0], [0, 0])


def test_duplicates_within_an_epoch_count_as_their_mean():
    # Within one batch: (1 + 2) / 2 = 1.5; and over batches: (1 + 2 + 6) / 3 = 3.
    table = bss.ScoreTable(3)
    table.update([1, 1], similarity=torch.tensor([0.25, 0.75]), loss=torch.tensor([1.0, 2.0]))
    table.update([1], similarity=torch.tensor([0.5]), loss=torch.tensor([6.0]))
    table.synchronize()
    assert (table.similarity[1].item(), table.loss[1].item()) == (0.5, 3.0)


def test_duplicates_count_as_one_epoch_in_the_history():
    # The first epoch's two updates are one mean, 2; then (2 + 8) / 2 = 5, not (1 + 3 + 8) / 3 = 4.
    table = bss.ScoreTable(1, momentum=None)
    table.update([0, 0], similarity=torch.tensor([0.5, 0.5]), loss=torch.tensor([1.0, 3.0]))
    table.synchronize()
    assert closed(table, {0: (0.5, 8.0)}).loss.item() == 5.0


def test_age_counts_closed_epochs_since_a_sample_was_scored():
    table = bss.ScoreTable(3)
    ages = [
        closed(table, epoch).age.tolist()
        for epoch in ({0: (0.5, 1.0), 1: (0.5, 1.0)}, {0: (0.5, 1.0)}, {1: (0.5, 1.0)})
    ]
    assert ages == [[0, 0, -1], [0, 1, -1], [1, 0, -1]]


def test_closing_an_epoch_without_updates_changes_nothing():
    table = closed(bss.ScoreTable(2, momentum=None), {0: (0.5, 1.0)})
    before = copy.deepcopy(table)
    table.synchronize()
    assert same(table, before)


def test_a_table_is_empty_until_its_first_epoch_is_closed():
    table = bss.ScoreTable(2)
    table.update([0], similarity=torch.tensor([0.5]), loss=torch.tensor([1.0]))
    assert (table.is_empty, table.is_open) == (True, True)
    table.synchronize()
    assert (table.is_empty, table.is_open) == (False, False)


# ---- what samplers ask ----


def offered(table: bss.ScoreTable, mark) -> list[int] | None:
    """The samples that were offered since then."""
    scored = table.scored_since(mark)
    return None if scored is None else scored.nonzero().squeeze(1).tolist()


def test_what_was_offered_since_a_moment_is_what_later_epochs_have_scored():
    table = closed(bss.ScoreTable(4), {0: (0.5, 1.0)})
    mark = table.mark()
    assert offered(table, mark) is None
    closed(table, {1: (0.5, 1.0)})
    assert offered(table, mark) == [1]
    closed(table, {2: (0.5, 1.0)})
    assert offered(table, mark) == [1, 2] and offered(table, table.mark()) is None


def test_passes_alone_have_offered_nothing_and_beside_an_epoch_they_count():
    table = bss.ScoreTable(4)
    marks = [table.mark()]
    for index, scoring_pass in ((0, True), (1, True), (2, False), (3, True)):
        table.update([index], similarity=ONE, loss=ONE)
        table.synchronize(scoring_pass=scoring_pass)
        marks.append(table.mark())
    # Since the first moment both passes and the epoch, since the last but one a pass alone.
    assert [offered(table, mark) for mark in marks] == [[0, 1, 2, 3], [1, 2, 3], [2, 3], None, None]


def test_samples_without_a_finite_score_were_offered_in_the_newest_epoch():
    table = bss.ScoreTable(3)
    mark = table.mark()
    table.update([0, 1], similarity=torch.tensor([0.5, math.nan]), loss=torch.ones(2))
    with pytest.warns(UserWarning, match="indices 1"):
        table.synchronize()
    assert offered(table, mark) == [0, 1]
    closed(table, {2: (0.5, 1.0)})
    assert offered(table, mark) == [0, 2]


@pytest.mark.parametrize(
    "forget", [lambda table: table.reset(), lambda table: table.load_state_dict(table.state_dict())]
)
def test_after_a_reset_or_a_loaded_state_nothing_can_be_compared(forget):
    table = bss.ScoreTable(2)
    mark = table.mark()
    table.note_use(3)
    forget(table)
    closed(table, {0: (0.5, 1.0)})
    assert offered(table, mark) is None and table.used_in is None
    mark = table.mark()
    closed(table, {1: (0.5, 1.0)})
    assert offered(table, mark) == [1]


def test_a_table_was_used_in_the_latest_epoch():
    table = bss.ScoreTable(2)
    seen = [table.used_in]
    for epoch in (0, 3, 1):
        table.note_use(epoch)
        seen.append(table.used_in)
    assert seen == [None, 0, 3, 3]


@pytest.mark.parametrize(
    ("momentum", "rows", "scoring_pass", "used_in"),
    [(0.0, 2, True, None), (0.0, 1, True, 4), (0.0, 2, False, 4), (0.5, 2, True, 4), (None, 2, True, 4)],
    ids=["all of it", "a part", "an epoch", "history", "mean"],
)
def test_a_pass_over_everything_makes_a_table_without_history_new(momentum, rows, scoring_pass, used_in):
    table = bss.ScoreTable(2, momentum=momentum)
    table.note_use(4)
    table.update(range(rows), similarity=torch.rand(rows), loss=torch.rand(rows))
    table.synchronize(scoring_pass=scoring_pass)
    assert table.used_in == used_in


def test_scores_that_copies_have_closed_are_counted_apart():
    table = bss.ScoreTable(2)
    mark, copied = table.mark(), copy.deepcopy(table)
    closed(copied, {0: (0.5, 1.0)}, {1: (0.5, 1.0)})
    closed(table, {0: (0.5, 1.0)})
    copied.update([0], similarity=ONE, loss=ONE)
    copied.synchronize(scoring_pass=True)
    assert table.mark().copies - mark.copies == 2 and copied.mark().copies == 1
    assert table.mark().closed - mark.closed == 1


# ---- difficulty ----


def test_the_difficulty_of_an_empty_table_is_zeros():
    assert bss.ScoreTable(3).difficulty().tolist() == [0.0, 0.0, 0.0]


def test_the_difficulty_is_that_of_the_scores():
    # Similarity scaled 1, 0, .5, loss scaled 0, .25, 1, as in test_scoring.
    table = closed(bss.ScoreTable(3), {0: (0.9, 1.0), 1: (0.5, 2.0), 2: (0.7, 5.0)})
    assert table.difficulty().tolist() == pytest.approx([0.0, 1.25, 1.5])


def test_samples_that_were_never_seen_get_the_median_difficulty():
    # The three known ones are 0, 1.25 and 1.5 again.
    table = closed(bss.ScoreTable(5), {4: (0.9, 1.0), 0: (0.5, 2.0), 2: (0.7, 5.0)})
    assert table.difficulty().tolist() == pytest.approx([1.25, 1.25, 1.5, 1.25, 0.0])


def test_the_difficulty_can_be_taken_by_rank():
    table = closed(bss.ScoreTable(3), {0: (0.9, 1.0), 1: (0.8, 2.0), 2: (0.7, 1e6)})
    assert table.difficulty(normalize="rank").tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_the_difficulty_of_an_open_epoch_is_refused():
    table = bss.ScoreTable(2)
    table.update([0], similarity=torch.tensor([0.5]), loss=torch.tensor([1.0]))
    with pytest.raises(ValueError, match="synchronize"):
        table.difficulty()


# ---- scores that are not finite ----


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_keep_the_old_score_and_are_named(bad):
    table = closed(bss.ScoreTable(4), {i: (0.5, 1.0) for i in range(4)})
    z = torch.zeros(4, 2)
    broken = z.clone()
    broken[1] = broken[3] = bad
    table.update(range(4), unimodal=[z, broken], fused=z, target=torch.zeros(4, dtype=torch.int64))
    with pytest.warns(UserWarning, match=r"2 samples.*indices 1, 3"):
        table.synchronize()
    assert table.loss[[1, 3]].tolist() == [1.0, 1.0]
    assert table.loss[[0, 2]].tolist() == pytest.approx([3 * math.log(2)] * 2)
    assert table.age.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(("broken", "named"), [(5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4 ...")])
def test_five_samples_without_a_finite_score_are_named(broken, named):
    table = bss.ScoreTable(7)
    table.update(range(broken), similarity=torch.full((broken,), math.nan), loss=torch.ones(broken))
    with pytest.warns(UserWarning, match=rf"^{broken} samples had .* \(indices {re.escape(named)}\)$"):
        table.synchronize()


def test_one_finite_score_in_an_epoch_is_enough():
    table = bss.ScoreTable(1)
    table.update([0, 0], similarity=torch.tensor([0.5, math.nan]), loss=torch.tensor([2.0, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table.synchronize()
    assert (table.similarity.item(), table.loss.item()) == (0.5, 2.0)


def test_a_bad_score_does_not_enter_the_history():
    table = closed(bss.ScoreTable(1, momentum=None), {0: (0.5, 2.0)})
    table.update([0], similarity=torch.tensor([0.5]), loss=torch.tensor([math.nan]))
    with pytest.warns(UserWarning, match="indices 0"):
        table.synchronize()
    assert closed(table, {0: (0.5, 4.0)}).loss.item() == 3.0


# ---- what is refused ----


@pytest.mark.parametrize("index", [torch.tensor([0.0]), [1.0], torch.tensor([True]), torch.tensor([0.0]).half()])
def test_an_index_that_is_not_an_integer_is_refused(index):
    with pytest.raises(ValueError, match="index must be integers"):
        bss.ScoreTable(2).update(index, similarity=ONE, loss=ONE)


@pytest.mark.parametrize("bad", [-1, 2, 10**9])
def test_an_index_out_of_range_is_refused_by_value(bad):
    table = bss.ScoreTable(2)
    with pytest.raises(ValueError, match=rf"0\.\.1, got {bad}"):
        table.update([bad], similarity=ONE, loss=ONE)
    assert not table.is_open


@pytest.mark.parametrize("index", [[0, 1], [], torch.tensor([[0]]), torch.tensor(0)])
def test_an_index_of_another_length_is_refused(index):
    with pytest.raises(ValueError, match="index must"):
        bss.ScoreTable(2).update(index, similarity=ONE, loss=ONE)


def test_similarity_and_loss_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="same length"):
        bss.ScoreTable(2).update([0], similarity=ONE, loss=torch.zeros(2))


Z = torch.zeros(1, 2)
Y = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"similarity": ONE},
        {"loss": ONE},
        {"unimodal": [Z, Z], "fused": Z},
        {"unimodal": [Z, Z], "target": Y},
        {"fused": Z, "target": Y},
        {"unimodal": [Z, Z], "fused": Z, "target": Y, "loss": ONE},
        {"fused": Z, "similarity": ONE, "loss": ONE},
    ],
    ids=lambda scores: "+".join(scores) or "nothing",
)
def test_neither_or_both_forms_of_scores_are_refused(scores):
    with pytest.raises(ValueError, match="either"):
        bss.ScoreTable(2).update([0], **scores)


@pytest.mark.parametrize(
    "scores",
    [
        {"unimodal": [Z], "fused": Z, "target": Y},
        {"unimodal": [Z, Z[:, :1]], "fused": Z, "target": Y},
        {"unimodal": [Z, Z], "fused": torch.zeros(2, 2), "target": Y},
        {"unimodal": [Z[0], Z[0]], "fused": Z[0], "target": Y},
        {"unimodal": [Z, Z], "fused": Z, "target": torch.zeros(2, dtype=torch.int64)},
    ],
    ids=["one modality", "classes", "fused length", "no batch axis", "target length"],
)
def test_logits_that_do_not_fit_together_are_refused(scores):
    with pytest.raises(ValueError, match="two or more unimodal logits"):
        bss.ScoreTable(2).update([0], **scores)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, math.nan])
def test_a_momentum_outside_its_range_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum"):
        bss.ScoreTable(2, momentum=momentum)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="num_samples"):
        bss.ScoreTable(0)


@pytest.mark.parametrize(
    ("num_samples", "found"),
    [(torch.utils.data.TensorDataset(Z), "a TensorDataset"), ([1, 2], "a list"), (2.0, "2.0"), (-3, "-3")],
)
def test_what_is_no_number_of_rows_is_refused_with_the_way_out(num_samples, found):
    with pytest.raises(ValueError, match=rf"num_samples .* whole number >= 1, got {found}: pass len\(dataset\)"):
        bss.ScoreTable(num_samples)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_targets_of_any_integer_type_are_class_ids(dtype):
    table = bss.ScoreTable(2)
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    table.update([0, 1], unimodal=[logits, logits], fused=logits, target=torch.tensor([1, 0], dtype=dtype))
    table.synchronize()
    assert table.loss.tolist() == pytest.approx([3 * math.log(2), 3 * math.log(4 / 3)])


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (torch.tensor([1, 2]), "class ids in 0..1, of the logits' 2 classes, got 2"),
        (torch.tensor([1.0, 0.0]), "integers, class ids in 0..1, of the logits' 2 classes, got torch.float32"),
        (torch.tensor([True, False]), "got torch.bool"),
    ],
)
def test_a_target_that_is_no_class_id_is_refused_with_what_is_allowed(target, found):
    table, logits = bss.ScoreTable(2), torch.zeros(2, 2)
    with pytest.raises(ValueError, match=f"target must be .*{found}"):
        table.update([0, 1], unimodal=[logits, logits], fused=logits, target=target)
    assert not table.is_open


def test_closing_an_epoch_tells_which_samples_had_an_update():
    table = bss.ScoreTable(4)
    table.update([3, 1], similarity=torch.tensor([0.5, math.nan]), loss=torch.ones(2))
    with pytest.warns(UserWarning, match="indices 1"):
        assert table.synchronize().tolist() == [False, True, False, True]
    assert table.synchronize().tolist() == [False] * 4


# ---- update is an observer ----


def train(table: bss.ScoreTable | None) -> tuple[list[torch.Tensor], list[float]]:
    """A tiny two-modality model with dropout, four epochs; its parameters, and its losses."""
    torch.manual_seed(0)
    data = [torch.randn(24, 6), torch.randn(24, 6), torch.randint(3, (24,))]
    heads = torch.nn.ModuleList([torch.nn.Linear(6, 3), torch.nn.Linear(6, 3)])
    optimizer = torch.optim.SGD(heads.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(4):
        for batch in torch.randperm(24).split(8):
            a, b, target = (x[batch] for x in data)
            audio, image = heads[0](functional.dropout(a)), heads[1](functional.dropout(b))
            fused = audio + image
            loss = functional.cross_entropy(fused, target)
            if table is not None:
                table.update(batch, unimodal=[audio, image], fused=fused, target=target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if table is not None:
            table.synchronize()
    return [p.detach() for p in heads.parameters()], losses


def test_training_is_bit_for_bit_the_same_with_and_without_the_table():
    table = bss.ScoreTable(24)
    (with_table, losses_with), (without, losses_without) = train(table), train(None)
    assert losses_with == losses_without
    assert all(torch.equal(a, b) for a, b in zip(with_table, without, strict=True))
    assert (table.age == 0).all()


def test_update_leaves_its_inputs_their_gradients_and_the_rngs_alone(untouched_rngs):
    generator = torch.Generator().manual_seed(0)
    fused, audio, image = (torch.randn(4, 3, generator=generator).requires_grad_() for _ in range(3))
    target = torch.tensor([0, 1, 2, 0])
    (fused + audio * image).sum().backward()
    tensors = (fused, audio, image, fused.grad, audio.grad, image.grad, target)
    before = [x.detach().clone() for x in tensors]
    table = bss.ScoreTable(4)
    table.update([3, 2, 1, 0], unimodal=[audio, image], fused=fused, target=target)
    table.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
    assert not (table.similarity.requires_grad or table.loss.requires_grad)


def test_update_works_inside_inference_mode_and_training_goes_on_outside():
    table = bss.ScoreTable(1)
    with torch.inference_mode():
        table.update([0], unimodal=[Z, Z], fused=Z, target=Y)
        table.synchronize()
    assert closed(table, {0: (0.5, 2.0)}).loss.item() == 2.0


def test_loss_weights_of_the_table_are_used():
    # 0.1 log 2 + 0.9 * 2 log 2 = 1.9 log 2.
    table = bss.ScoreTable(1, fused_weight=0.1, unimodal_weight=0.9)
    table.update([0], unimodal={"audio": Z, "image": Z}, fused=Z, target=Y)
    table.synchronize()
    assert (table.similarity.item(), table.loss.item()) == pytest.approx((1.0, 1.9 * math.log(2)))


# ---- known logits: table[i] must be f(i), however the batches came about ----

SAMPLES, CLASSES = 37, 5
KNOWN = torch.randn(3, SAMPLES, CLASSES, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(SAMPLES) % CLASSES


class KnownLogits(Dataset):
    """Sample i holds the logits of row i: what a model would give for it."""

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return {"fused": KNOWN[0, index], "audio": KNOWN[1, index], "image": KNOWN[2, index], "label": TARGETS[index]}


def scored(loader, table: bss.ScoreTable) -> bss.ScoreTable:
    for batch in loader:
        unimodal = {name: batch[name] for name in ("audio", "image")}
        table.update(batch[INDEX_KEY], unimodal=unimodal, fused=batch["fused"], target=batch["label"])
    table.synchronize()
    return table


def assert_known(table: bss.ScoreTable, logits: torch.Tensor = KNOWN) -> None:
    seen = table.age == 0
    similarity = bss.prediction_similarity(list(logits[1:]))
    loss = bss.sample_loss(logits[0], list(logits[1:]), TARGETS)
    torch.testing.assert_close(table.similarity[seen], similarity[seen], rtol=0, atol=1e-6)
    torch.testing.assert_close(table.loss[seen], loss[seen], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("options", "missed"),
    [
        ({"batch_size": 8, "shuffle": True}, 0),
        ({"batch_size": 8, "shuffle": True, "drop_last": True}, 5),  # 37 = 4 * 8 + 5
        ({"batch_size": 1}, 0),
        ({"batch_size": 37}, 0),
        ({"batch_size": 4, "shuffle": True, "num_workers": 2, "in_order": False}, 0),
        ({"batch_size": 7, "sampler": [*range(SAMPLES), 3, 3, 36]}, 0),
    ],
    ids=["shuffled", "drop_last", "single", "one batch", "two workers out of order", "duplicates"],
)
def test_every_row_holds_the_score_of_its_own_sample(options, missed):
    table = scored(DataLoader(bss.IndexedDataset(KnownLogits()), **options), bss.ScoreTable(SAMPLES))
    assert (table.age != 0).sum() == missed
    assert_known(table)


def test_autocast_does_not_coarsen_the_scores():
    loader = DataLoader(bss.IndexedDataset(KnownLogits()), batch_size=8)
    with torch.autocast("cpu", torch.bfloat16):
        table = scored(loader, bss.ScoreTable(SAMPLES))
    assert_known(table)


def test_bfloat16_logits_are_scored_in_float32():
    half = KNOWN.bfloat16()
    table = bss.ScoreTable(SAMPLES)
    table.update(range(SAMPLES), unimodal=[half[1], half[2]], fused=half[0], target=TARGETS)
    table.synchronize()
    assert_known(table, half.float())


@given(st.permutations(range(12)), st.integers(1, 5))
def test_the_order_and_size_of_updates_within_an_epoch_do_not_matter(positions, batch_size):
    # Twelve updates of five samples, three of them seen more than once.
    generator = torch.Generator().manual_seed(0)
    index = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 0, 0])
    similarity, loss = torch.rand(2, 12, generator=generator)
    whole, parts = bss.ScoreTable(5), bss.ScoreTable(5)
    whole.update(index, similarity=similarity, loss=loss)
    for batch in torch.tensor(positions).split(batch_size):
        parts.update(index[batch], similarity=similarity[batch], loss=loss[batch])
    whole.synchronize()
    parts.synchronize()
    assert same(whole, parts)


# ---- state ----


def half_open(momentum: float | None = 0.5) -> bss.ScoreTable:
    """One closed epoch, and half of the next."""
    table = closed(bss.ScoreTable(4, momentum=momentum), {0: (0.5, 1.0), 1: (0.25, 2.0), 2: (0.75, 3.0)})
    table.update([0, 3], similarity=torch.tensor([0.125, 0.25]), loss=torch.tensor([4.0, 5.0]))
    return table


@pytest.mark.parametrize("momentum", [0.0, 0.5, None])
@pytest.mark.parametrize("copied", [through_a_file, copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_a_table_continues_from_its_state_in_the_middle_of_an_epoch(momentum, copied):
    original, resumed = half_open(momentum), bss.ScoreTable(4, momentum=momentum)
    resumed.load_state_dict(copied(original.state_dict()))
    assert resumed.is_open
    for table in (original, resumed):
        closed(table, {1: (0.5, 6.0), 0: (0.25, 1.0)}, {2: (0.5, 1.0)})
    assert same(original, resumed)


def test_a_loaded_table_shares_no_memory_with_the_state():
    state = half_open().state_dict()
    before = copy.deepcopy(state)
    resumed = bss.ScoreTable(4, momentum=0.5)
    resumed.load_state_dict(state)
    closed(resumed, {0: (0.9, 9.0)})
    assert all(
        torch.equal(state[name].nan_to_num(-9), before[name].nan_to_num(-9))
        for name in ("similarity", "loss", "age", "rounds", *OPEN_ROWS)
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"num_samples": 5}, "num_samples=4"),
        ({"momentum": None}, r"momentum=0\.5"),
        ({"momentum": 0.25}, r"momentum=0\.5"),
        ({"fused_weight": 0.1}, r"fused_weight=1\.0"),
        ({"unimodal_weight": 0.9}, r"unimodal_weight=1\.0"),
    ],
)
def test_the_state_of_another_table_is_refused_by_name(arguments, named):
    other = bss.ScoreTable(**{"num_samples": 4, "momentum": 0.5} | arguments)
    with pytest.raises(ValueError, match=named):
        other.load_state_dict(half_open().state_dict())


def test_the_version_of_a_state_is_the_one_that_is_in_files():
    assert half_open().state_dict()["version"] == 2


@pytest.mark.parametrize("version", [1, 99])
def test_a_state_of_another_version_is_refused(version):
    with pytest.raises(ValueError, match=f"version={version}"):
        half_open().load_state_dict(half_open().state_dict() | {"version": version})


def test_a_table_holds_forty_bytes_a_sample_whatever_was_done_with_it():
    table = bss.ScoreTable(1000, momentum=None)
    for _ in range(3):
        table.update(torch.arange(1000), similarity=torch.rand(1000), loss=torch.rand(1000))
        table.synchronize()
        tensors = [value for value in vars(table).values() if isinstance(value, torch.Tensor)]
        assert sum(value.untyped_storage().nbytes() for value in tensors) == 40 * 1000


@pytest.mark.parametrize("momentum", [0.0, 0.6, None])
def test_a_reset_table_is_as_if_new(momentum):
    weights = {"fused_weight": 0.1, "unimodal_weight": 0.9}
    table, new = bss.ScoreTable(4, momentum=momentum, **weights), bss.ScoreTable(4, momentum=momentum, **weights)
    for loss in (1.0, 2.0):
        table.update([0, 1], similarity=torch.tensor([0.2, 0.4]), loss=torch.full((2,), loss))
        table.synchronize()
    table.update([2], similarity=torch.ones(1), loss=torch.ones(1))  # and an open epoch
    table.reset()
    assert table.is_empty and not table.is_open
    assert table.difficulty().tolist() == [0.0] * 4
    assert repr(table.state_dict()) == repr(new.state_dict())
    for filled in (table, new):
        filled.update([3], similarity=torch.tensor([0.3]), loss=torch.tensor([5.0]))
        assert filled.synchronize().tolist() == [False, False, False, True]
    # The first score counts by itself, whatever the history; the forgotten ones do not age.
    assert table.loss.isnan().tolist() == [True, True, True, False] and table.loss[3] == 5.0
    assert torch.equal(table.age, new.age)


def test_after_a_reset_a_run_is_told_again_what_is_told_once():
    table, probabilities = bss.ScoreTable(2), torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    said = []
    for reset in (False, False, True):
        if reset:
            table.reset()
        table.update([0, 1], unimodal=[probabilities] * 2, fused=probabilities, target=torch.tensor([0, -100]))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            table.synchronize()
        said.append([str(warning.message).split(" (")[0].split(", ")[0] for warning in told])
    both = ["1 samples have a negative target", "the logits of the first batch: rows are non-negative and sum to 1"]
    assert said == [both, [], both]


def test_a_reset_leaves_a_state_that_was_handed_out_as_it_was():
    table = bss.ScoreTable(1)
    table.update([0], similarity=torch.tensor([0.2]), loss=torch.tensor([1.0]))
    state = table.state_dict()
    table.reset()
    table.load_state_dict(state)
    table.synchronize()
    assert table.loss.tolist() == [1.0]


def test_a_table_can_be_pickled_half_open():
    original = half_open()
    clone = pickle.loads(pickle.dumps(original))
    original.synchronize()
    clone.synchronize()
    assert same(original, clone)


# ---- several ranks ----


def shard(rank: int, world: int) -> list[int]:
    """Rank r's strided share of 7 samples, padded with the head to an even length, as samplers do."""
    padded = -(-7 // world) * world
    return list(itertools.islice(itertools.cycle(range(7)), padded))[rank::world]


def update_shard(table: bss.ScoreTable, rank: int, world: int) -> None:
    index = torch.tensor(shard(rank, world))
    fused, audio, image = KNOWN[:, index]
    table.update(index, unimodal=[audio, image], fused=fused, target=TARGETS[index])


def single_process(momentum: float | None) -> bss.ScoreTable:
    table = closed(bss.ScoreTable(7, momentum=momentum), {i: (0.5, 1.0) for i in range(6)})
    update_shard(table, 0, 1)
    table.synchronize()
    return table


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.5, None])
def test_the_summed_rows_of_several_ranks_give_the_table_of_one_process(world, momentum):
    tables = [closed(bss.ScoreTable(7, momentum=momentum), {i: (0.5, 1.0) for i in range(6)}) for _ in range(world)]
    for rank, table in enumerate(tables):
        update_shard(table, rank, world)
    states = [table.state_dict() for table in tables]
    reduced = states[0] | {name: sum(state[name] for state in states) for name in OPEN_ROWS}
    for table in tables:
        table.load_state_dict(reduced)
        table.synchronize()
        assert same(table, single_process(momentum))


def run_rank(rank: int, folder: str) -> None:
    """One of two processes. In the first epoch rank 1 has no update, in the second each has a shard."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    table = bss.ScoreTable(7, momentum=0.5)
    if rank == 0:
        table.update(range(6), similarity=torch.full((6,), 0.5), loss=torch.full((6,), 1.0))
    table.synchronize()
    update_shard(table, rank, 2)
    table.synchronize()
    torch.save((table.similarity, table.loss, table.age), f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_two_real_processes_give_the_table_of_one(tmp_path):
    torch.multiprocessing.start_processes(run_rank, args=(str(tmp_path),), nprocs=2, start_method="fork")
    expected = single_process(0.5)
    for rank in range(2):
        similarity, loss, age = torch.load(tmp_path / f"rank{rank}.pt")
        assert torch.equal(similarity, expected.similarity)
        assert torch.equal(loss, expected.loss)
        assert torch.equal(age, expected.age)


# ---- IndexedDataset ----


class Plain(Dataset):
    """Counts how it is asked; samples are of the given kind."""

    def __init__(self, kind):
        self.kind = kind
        self.samples = [kind(i) for i in range(6)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class Batched(Plain):
    """Has its own way to fetch many samples at once."""

    def __getitem__(self, index):
        raise AssertionError("asked one by one, although it can fetch many")

    def __getitems__(self, indices):
        return [self.samples[index] for index in indices]


def dict_sample(i):
    return {"audio": float(i), "label": i % 2}


def tuple_sample(i):
    return (float(i), i % 2)


def test_a_dict_sample_gets_its_index_under_a_key():
    dataset = bss.IndexedDataset(Plain(dict_sample))
    assert dataset[4] == {"audio": 4.0, "label": 0, "bss_index": 4}
    assert len(dataset) == 6


def test_any_other_sample_becomes_a_pair():
    assert bss.IndexedDataset(Plain(tuple_sample))[3] == (3, (3.0, 1))
    assert bss.IndexedDataset(Plain(float))[3] == (3, 3.0)


def test_the_original_dict_is_not_changed():
    inner = Plain(dict_sample)
    bss.IndexedDataset(inner)[4]
    bss.IndexedDataset(inner).__getitems__([4])
    assert inner[4] == {"audio": 4.0, "label": 0}


def test_fetching_many_goes_through_the_data_sets_own_way():
    dataset = bss.IndexedDataset(Batched(tuple_sample))
    assert dataset.__getitems__([5, 1]) == [(5, (5.0, 1)), (1, (1.0, 1))]


def test_fetching_many_works_without_an_own_way():
    dataset = bss.IndexedDataset(Plain(tuple_sample))
    assert dataset.__getitems__([5, 1]) == [(5, (5.0, 1)), (1, (1.0, 1))]


@pytest.mark.parametrize("inner", [Plain, Batched])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_index_arrives_with_the_batch(inner, num_workers):
    loader = DataLoader(
        bss.IndexedDataset(inner(dict_sample)), batch_size=2, sampler=[5, 0, 3], num_workers=num_workers
    )
    batches = list(loader)
    assert [batch["bss_index"].tolist() for batch in batches] == [[5, 0], [3]]
    assert [batch["audio"].tolist() for batch in batches] == [[5.0, 0.0], [3.0]]


def test_an_indexed_data_set_can_be_pickled():
    clone = pickle.loads(pickle.dumps(bss.IndexedDataset(Plain(tuple_sample))))
    assert clone[3] == (3, (3.0, 1))


def test_reading_an_indexed_data_set_does_not_change_it():
    dataset = bss.IndexedDataset(Plain(tuple_sample))
    before = pickle.dumps(dataset)
    list(DataLoader(dataset, batch_size=4))
    assert pickle.dumps(dataset) == before


@pytest.mark.parametrize("ignored", [-100, -1])
def test_an_ignored_target_leaves_its_sample_without_a_score(ignored):
    table = bss.ScoreTable(2)
    logits, target = torch.zeros(2, 3), torch.tensor([1, ignored])
    table.update([0, 1], unimodal=[logits, logits], fused=logits, target=target)
    with pytest.warns(UserWarning, match="indices 1"):
        table.synchronize()
    assert table.loss[0] == pytest.approx(3 * math.log(3))
    assert table.age.tolist() == [0, -1]


def test_a_state_that_was_handed_out_does_not_change_any_more():
    table = bss.ScoreTable(2, momentum=None)
    table.update([0, 1], similarity=torch.tensor([0.2, 0.4]), loss=torch.ones(2))
    table.synchronize()
    state = table.state_dict()
    before = {name: value.clone() for name, value in state.items() if isinstance(value, torch.Tensor)}
    table.update([0], similarity=torch.tensor([0.9]), loss=torch.zeros(1))
    table.synchronize()
    assert all(torch.equal(state[name], value) for name, value in before.items() if name not in OPEN_ROWS)


def test_the_space_of_the_similarity_belongs_to_the_table():
    table = bss.ScoreTable(1, space="logit")
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    table.update([0], unimodal=[a, b], fused=a, target=torch.tensor([0]))
    table.synchronize()
    assert table.similarity.item() == pytest.approx(-1)


# ---- what is no logits of class ids ----

TWO = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("logits", "target", "advice"),
    [
        (torch.zeros(2, 1), torch.tensor([0, 0]), r"torch\.cat\(\[torch\.zeros_like\(z\), z\], 1\)"),
        (torch.zeros(2, 1), torch.rand(2), "scores of your own"),
        (TWO, torch.rand(2, 3), r"scores of your own: table\.update\(index, similarity=, loss=\)"),
        (TWO, torch.ones(2, 3, dtype=torch.int64), r"bss\.score_dataset\(scores=\) or bss\.attach\(loss=\)"),
        (TWO, torch.tensor([[0], [1]]), r"target\[:, 0\]"),
        (TWO, torch.rand(2), "got torch.float32: .*scores of your own"),
        (torch.zeros(2, 5, 3), torch.zeros(2, 5, dtype=torch.int64), r"index\.repeat_interleave\(T\)"),
        (torch.zeros(3), torch.tensor([0]), r"no squeeze\(\)"),
        (TWO, torch.tensor([0, 255]), r"got 255; one that is to be ignored is negative: target\.masked_fill"),
    ],
    ids=["one logit", "regression", "soft", "several", "column", "numbers", "positions", "squeezed", "ignored 255"],
)
def test_other_targets_and_outputs_are_refused_with_their_way_out(logits, target, advice):
    table = bss.ScoreTable(2)
    index = range(len(target))
    with pytest.raises(ValueError, match=advice):
        table.update(index, unimodal=[logits, logits], fused=logits, target=target)
    assert not table.is_open


@pytest.mark.parametrize("index", [["a", "b"], [None, 1]])
def test_an_index_of_names_is_refused_as_what_it_is(index):
    with pytest.raises(ValueError, match=r"index, each sample's position, must be numbers.* got a list: \["):
        bss.ScoreTable(2).update(index, similarity=torch.zeros(2), loss=torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_probabilities_are_warned_of_once(dtype):
    table, logits = bss.ScoreTable(4), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(1).to(dtype)
    with pytest.warns(UserWarning, match="non-negative and sum to 1.*pass logits") as told:
        for _ in range(2):
            table.update(range(4), unimodal=[probabilities] * 2, fused=probabilities, target=torch.zeros(4).long())
            table.synchronize()
    assert len(told) == 1


@pytest.mark.parametrize("change", [torch.log_softmax, lambda z, dim: z, lambda z, dim: z.sigmoid()])
def test_logits_are_not_taken_for_probabilities(change):
    table, logits = bss.ScoreTable(4), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table.update(range(4), unimodal=[change(logits, dim=1)] * 2, fused=logits, target=torch.zeros(4).long())
        table.synchronize()
    assert table.loss.isfinite().all()


def test_ignored_targets_are_told_once_and_others_without_a_score_every_time():
    table, logits = bss.ScoreTable(3), torch.zeros(3, 2)
    said = []
    for epoch in range(3):
        broken = logits.clone()
        broken[2] = torch.nan if epoch else 0.0
        table.update(range(3), unimodal=[logits, broken], fused=logits, target=torch.tensor([0, -100, 1]))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert table.synchronize().tolist() == [True] * 3  # it had an update, if no score
        said.append([str(warning.message).partition(" (")[2] for warning in told])
    assert said == [["indices 1)"], ["indices 2)"], ["indices 2)"]]


# ---- defaults that a script has set ----


def test_a_table_is_float32_on_the_cpu_whatever_the_script_has_set():
    torch.set_default_dtype(torch.float64)
    try:
        assert bss.ScoreTable(2).loss.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        table = bss.ScoreTable(2)
    assert table.device.type == table.age.device.type == "cpu"
