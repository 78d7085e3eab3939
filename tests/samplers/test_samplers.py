"""What every sampler must satisfy, then what each one is for."""

import copy
import gc
import inspect
import io
import itertools
import math
import pickle
import random
import re
import warnings
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import bss
from bss.pacing import linear_pacing, root_pacing
from bss.samplers import (
    SAMPLERS,
    ClassMatchedSampler,
    CurriculumSampler,
    OrderSampler,
    RandomPacingSampler,
    ResamplingSampler,
    SelfPacedSampler,
    UniformSampler,
)

every_sampler = pytest.mark.parametrize("kind", SAMPLERS, ids=lambda kind: kind.__name__)
every_scored_sampler = pytest.mark.parametrize(
    "kind", [kind for kind in SAMPLERS if kind.uses_scores], ids=lambda kind: kind.__name__
)
every_sampler_without_repeats = pytest.mark.parametrize(
    "kind", [kind for kind in SAMPLERS if not kind.repeats], ids=lambda kind: kind.__name__
)
GROWING = partial(root_pacing, start=0.3, grow_epochs=4)  # fractions .57, .74, .88, 1 ...
FULL = partial(root_pacing, start=1.0)


def make(kind: type[OrderSampler], n: int, *, scores: int = 0, **options) -> OrderSampler:
    """A sampler of any kind over n samples; one that needs scores gets random ones, unless it has a table."""
    options = {"pacing": GROWING} | options
    if kind is ClassMatchedSampler:
        options = {"class_of": torch.arange(n) % 3} | options
    if kind.uses_scores and options.get("table") is None and "difficulty" not in options:
        options["difficulty"] = torch.rand(n, generator=torch.Generator().manual_seed(scores)) * 2
    return kind(n, **options)


def filled(n: int, *, seed: int = 0) -> bss.ScoreTable:
    table = bss.ScoreTable(n)
    rescore(table, seed=seed)
    return table


def rescore(table: bss.ScoreTable, *, seed: int) -> None:
    similarity, loss = torch.rand(2, table.num_samples, generator=torch.Generator().manual_seed(seed))
    table.update(range(table.num_samples), similarity=similarity, loss=loss)
    table.synchronize()


def order_of(sampler: OrderSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return sampler.global_order().tolist()


def through_a_file(state: dict) -> dict:
    """What torch.save and the safe torch.load make of it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def shares(kind, n: int, world: int, *, epoch: int = 0, **options) -> list[list[int]]:
    """What each rank yields."""
    samplers = [make(kind, n, num_replicas=world, rank=rank, **options) for rank in range(world)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [list(sampler) for sampler in samplers]


def interleaved(parts: list[list[int]]) -> list[int]:
    """The ranks' shares put together again, step by step."""
    return [index for step in zip(*parts, strict=True) for index in step]


# ---- the order of an epoch ----


@every_sampler
@given(n=st.integers(1, 60), seed=st.integers(0, 2**31), epoch=st.integers(0, 8), warmup=st.integers(0, 2))
def test_an_epoch_has_as_many_members_as_size_at_says_and_repeats_none_unless_that_is_its_kind(
    kind, n, seed, epoch, warmup
):
    sampler = make(kind, n, seed=seed, warmup_epochs=warmup)
    order = order_of(sampler, epoch)
    assert len(order) == sampler.size_at(epoch)
    assert len(order) == len(set(order)) or (kind.repeats and epoch >= warmup)
    assert set(order) <= set(range(n))
    assert sampler.global_order().dtype == torch.int64


@every_sampler
@pytest.mark.parametrize("options", [{}, {"drop_last": True, "batch_size": 25}])
def test_an_epoch_takes_four_bytes_a_sample_and_its_iterator_none_where_nothing_is_padded_or_dropped(kind, options):
    sampler = make(kind, 100, **options)
    sampler.set_epoch(9)  # sees all of them
    order = sampler.state_dict()["order"]
    assert order.untyped_storage().nbytes() == 4 * len(order)
    assert np.shares_memory(iter(sampler)._indices, order.numpy())


@every_sampler
def test_a_state_with_indices_of_eight_bytes_continues_too(kind):
    sampler, resumed = make(kind, 20), make(kind, 20)
    sampler.set_epoch(1)
    state = sampler.state_dict()
    resumed.load_state_dict({**state, "order": state["order"].long(), "position": 7})
    assert list(resumed) == sampler.global_order().tolist()[7:]
    assert torch.equal(resumed.global_order(), sampler.global_order())


@every_sampler
def test_sizes_follow_the_pacing(kind):
    # floor(50 * (.2 + .8 * t / 4)) for t = 1, 2, 3, 4: 20, 30, 40, 50.
    sampler = make(kind, 50, pacing=partial(linear_pacing, start=0.2, grow_epochs=4))
    assert [len(order_of(sampler, epoch)) for epoch in range(6)] == [20, 30, 40, 50, 50, 50]


@every_sampler_without_repeats
def test_a_full_epoch_is_a_permutation(kind):
    assert sorted(order_of(make(kind, 40, pacing=FULL), 0)) == list(range(40))


@every_sampler
def test_orders_of_different_epochs_differ(kind):
    sampler = make(kind, 40, pacing=FULL)
    assert len({tuple(order_of(sampler, epoch)) for epoch in range(5)}) == 5


@every_sampler
def test_the_same_seed_and_epoch_give_the_same_order(kind):
    for epoch in (0, 3):
        assert order_of(make(kind, 40, seed=7), epoch) == order_of(make(kind, 40, seed=7), epoch)


@every_sampler
def test_another_seed_gives_another_order(kind):
    assert order_of(make(kind, 40, seed=7), 0) != order_of(make(kind, 40, seed=8), 0)


@every_sampler
def test_seed_and_epoch_are_not_added_up(kind):
    orders = [order_of(make(kind, 40, pacing=FULL, seed=seed), epoch) for seed, epoch in ((0, 1), (1, 0))]
    assert orders[0] != orders[1]


@every_sampler
def test_the_order_does_not_depend_on_which_epochs_came_before(kind):
    sampler = make(kind, 40)
    for epoch in (5, 2, 9):
        order_of(sampler, epoch)
    assert order_of(sampler, 3) == order_of(make(kind, 40), 3)


@every_sampler
def test_the_order_does_not_depend_on_the_world(kind):
    expected = order_of(make(kind, 41), 2)
    for world, rank in ((1, 0), (2, 1), (3, 0), (64, 63)):
        assert order_of(make(kind, 41, num_replicas=world, rank=rank), 2) == expected


@every_sampler
def test_the_order_does_not_depend_on_global_random_states(kind):
    orders = []
    for state in (0, 1):
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)
        orders.append([order_of(make(kind, 40, warmup_epochs=1), epoch) for epoch in range(3)])
    assert orders[0] == orders[1]


@every_sampler
def test_ordering_and_iterating_leave_the_global_random_states_alone(kind, untouched_rngs):
    sampler = make(kind, 40, warmup_epochs=1, drop_last=True, batch_size=3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler)


@every_sampler
@pytest.mark.filterwarnings("ignore:a second pass")
def test_the_order_does_not_depend_on_how_often_it_is_iterated(kind):
    sampler = make(kind, 40)
    sampler.set_epoch(1)
    passes = [list(sampler) for _ in range(3)]
    half = iter(sampler)
    next(half)
    passes.append(list(sampler))
    assert passes == [passes[0]] * 4
    assert order_of(sampler, 2) == order_of(make(kind, 40), 2)


@every_sampler
def test_two_iterators_at_once_do_not_disturb_each_other(kind):
    sampler = make(kind, 40)
    sampler.set_epoch(0)
    pairs = list(zip(sampler, sampler, strict=True))
    assert [a for a, _ in pairs] == [b for _, b in pairs] == sampler.global_order().tolist()


@every_sampler
def test_without_set_epoch_the_order_is_that_of_epoch_0(kind):
    assert list(make(kind, 40)) == order_of(make(kind, 40), 0)


@every_sampler
def test_indices_are_python_integers(kind):
    assert {type(index) for index in make(kind, 10)} == {int}


@every_sampler
def test_a_new_epoch_does_not_disturb_an_iterator_that_is_still_running(kind):
    sampler = make(kind, 40)
    expected = order_of(sampler, 0)
    iterator = iter(sampler)
    head = [next(iterator) for _ in range(5)]
    sampler.set_epoch(1)
    assert head + list(iterator) == expected
    assert sampler.state_dict()["position"] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the new epoch has not been passed over yet
        assert list(sampler) == order_of(make(kind, 40), 1)


# ---- many indices at once, as our own loader takes them ----


@pytest.mark.parametrize(
    ("world", "size", "taken", "positions"),
    [
        (1, 2, [[0, 1], [2, 3], [4], []], [2, 4, 5, 5]),
        (1, 9, [[0, 1, 2, 3, 4], []], [5, 5]),
        (2, 2, [[0, 2], [4], []], [4, 6, 6]),  # every second one, and positions are those of both ranks
    ],
)
def test_indices_are_taken_as_many_as_are_asked_for_or_left(world, size, taken, positions):
    sampler = UniformSampler(5, num_replicas=world, rank=0)
    order, indices = order_of(sampler, 3), iter(sampler)
    for places, position in zip(taken, positions, strict=True):
        assert indices.take(size).tolist() == [order[place] for place in places]
        assert sampler.state_dict()["position"] == position


@pytest.mark.filterwarnings("ignore:a second pass")
def test_a_pass_that_takes_many_is_over_when_less_is_left_than_was_asked_for():
    sampler = UniformSampler(5)
    order, state = order_of(sampler, 0), sampler.state_dict()
    sampler.load_state_dict(state, position=3)
    indices = iter(sampler)
    assert indices.take(2).tolist() == order[3:]  # as many as were asked for: there might be more
    assert list(iter(sampler)) == order[3:]
    sampler.load_state_dict(state, position=3)
    assert iter(sampler).take(3).tolist() == order[3:]
    assert list(iter(sampler)) == order


@pytest.mark.parametrize(("size", "taken"), [(5, 3), (1, 2)])  # a pass that was dropped, and one that came to its end
def test_a_second_pass_that_takes_many_is_warned_about(size, taken):
    sampler = UniformSampler(size)
    sampler.set_epoch(0)
    iter(sampler).take(taken)
    with pytest.warns(UserWarning, match="a second pass over epoch 0"):
        iter(sampler)


def test_taking_on_after_the_next_epoch_was_set_is_told_and_is_no_pass_over_that_one():
    sampler = UniformSampler(5)
    order, indices, whole = order_of(sampler, 0), iter(sampler), iter(sampler)
    assert indices.take(2).tolist() + whole.take(5).tolist() == order[:2] + order
    sampler.set_epoch(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert whole.take(5).tolist() == []  # there was nothing left
    with pytest.warns(UserWarning, match=r"goes on after set_epoch\(1\), in the order of epoch 0") as told:
        assert indices.take(1).tolist() == order[2:3]
    assert [warning.filename for warning in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert indices.take(9).tolist() == order[3:] and sampler.state_dict()["position"] == 0
        assert list(sampler) == order_of(UniformSampler(5), 1)


# ---- frozen at set_epoch ----


@every_scored_sampler
def test_the_order_is_frozen_even_if_the_table_changes_afterwards(kind):
    table = filled(40)
    sampler = make(kind, 40, table=table)
    before = order_of(sampler, 1)
    rescore(table, seed=1)
    sampler.set_epoch(1)
    assert sampler.global_order().tolist() == before == list(sampler)


@every_sampler
def test_set_epoch_with_the_same_epoch_keeps_order_and_position(kind):
    sampler = make(kind, 40)
    order = order_of(sampler, 1)
    iterator = iter(sampler)
    head = [next(iterator) for _ in range(3)]
    sampler.set_epoch(1)
    assert sampler.state_dict()["position"] == 3
    assert head + list(iterator) == sampler.global_order().tolist() == order


@every_scored_sampler
def test_the_order_stays_frozen_while_the_next_epoch_of_scores_is_open(kind):
    table = filled(40)
    sampler = make(kind, 40, table=table)
    before = order_of(sampler, 1)
    table.update([0], similarity=torch.tensor([0.5]), loss=torch.tensor([9.0]))
    assert order_of(sampler, 1) == before


@every_scored_sampler
def test_the_next_epoch_reads_the_table_again(kind):
    table, other = filled(40), filled(40, seed=1)
    sampler = make(kind, 40, table=table)
    sampler.set_epoch(0)
    rescore(table, seed=1)
    assert order_of(sampler, 1) == order_of(make(kind, 40, table=other), 1)


@every_scored_sampler
def test_refresh_reads_the_table_again_within_the_epoch(kind):
    table, other = filled(40), filled(40, seed=1)
    sampler = make(kind, 40, table=table)
    sampler.set_epoch(1)
    rescore(table, seed=1)
    sampler.refresh()
    assert sampler.global_order().tolist() == order_of(make(kind, 40, table=other), 1)


@pytest.fixture
def readings(monkeypatch):
    """Counts how often the difficulty of a table is computed: one entry each time."""
    seen, difficulty = [], bss.ScoreTable.difficulty

    def counted(table, **options):
        seen.append(options)
        return difficulty(table, **options)

    monkeypatch.setattr(bss.ScoreTable, "difficulty", counted)
    return seen


@every_scored_sampler
def test_the_difficulty_of_an_epoch_is_computed_once(kind, readings):
    table = filled(40)
    sampler = make(kind, 40, table=table, normalize="rank", criterion="loss")
    for epoch in range(3):
        sampler.set_epoch(epoch)
        sampler.set_epoch(epoch)
        sampler.global_order(), sampler.weights(), sampler.difficulty(), sampler.state_dict()
        list(sampler)
        rescore(table, seed=epoch)
        assert readings == [{"normalize": "rank", "criterion": "loss"}] * (epoch + 1)
    sampler.refresh()
    assert len(readings) == 4


@every_scored_sampler
def test_difficulty_and_weights_are_those_that_the_current_order_was_made_from(kind):
    table = filled(40)
    sampler, expected = make(kind, 40, table=table), table.difficulty()
    sampler.set_epoch(1)
    weights = sampler.weights()
    for change in (rescore, lambda table, seed: table.update([0], similarity=torch.ones(1), loss=torch.ones(1))):
        change(table, seed=1)  # closed, then open
        assert torch.equal(sampler.difficulty(), expected)
        assert weights is None if sampler.weights() is None else torch.equal(sampler.weights(), weights)
    table.synchronize()
    sampler.set_epoch(2)
    assert torch.equal(sampler.difficulty(), table.difficulty())
    assert not torch.equal(sampler.difficulty(), expected)


@every_scored_sampler
def test_before_set_epoch_the_difficulty_is_that_of_epoch_0(kind):
    difficulty = torch.rand(40) * 2
    sampler = make(kind, 40, difficulty=difficulty)
    assert torch.equal(sampler.difficulty(), difficulty)
    assert sampler.global_order().tolist() == order_of(make(kind, 40, difficulty=difficulty), 0)


@every_scored_sampler
def test_a_refused_epoch_leaves_order_and_difficulty_as_they_were(kind):
    table = filled(40)
    sampler = make(kind, 40, table=table)
    order, difficulty = order_of(sampler, 0), sampler.difficulty()
    table.update([0], similarity=torch.ones(1), loss=torch.ones(1))
    with pytest.raises(ValueError, match="synchronize"):
        sampler.set_epoch(1)
    assert (sampler.epoch, sampler.global_order().tolist()) == (0, order)
    assert sampler.difficulty() is difficulty


@every_sampler
def test_a_resumed_epoch_knows_what_its_order_was_made_from(kind):
    table = filled(40) if kind.uses_scores else None
    scores = {"table": table} if kind.uses_scores else {}
    sampler, resumed = make(kind, 40, **scores), make(kind, 40, **scores)
    sampler.set_epoch(1)
    state = through_a_file(sampler.state_dict())
    if table is not None:
        rescore(table, seed=1)
    resumed.load_state_dict(state)
    resumed.set_epoch(1)
    for made, expected in ((resumed.difficulty(), sampler.difficulty()), (resumed.weights(), sampler.weights())):
        assert made is None if expected is None else torch.equal(made, expected)


@every_sampler
def test_a_state_of_before_the_difficulty_was_kept_continues_too(kind):
    sampler, resumed = make(kind, 20), make(kind, 20)
    sampler.set_epoch(1)
    state = sampler.state_dict()
    del state["difficulty"]
    resumed.load_state_dict(state)
    assert torch.equal(resumed.global_order(), sampler.global_order())
    assert resumed.difficulty() is None and resumed.weights() is None


@pytest.mark.parametrize("kind", [kind for kind in SAMPLERS if not kind.uses_scores], ids=lambda kind: kind.__name__)
def test_a_sampler_that_uses_no_scores_has_neither_difficulty_nor_weights(kind):
    sampler = make(kind, 4)
    sampler.set_epoch(0)
    assert sampler.difficulty() is None and sampler.weights() is None


@every_scored_sampler
def test_a_warm_up_epoch_keeps_the_scores_of_its_beginning_and_was_drawn_by_none(kind):
    table = bss.ScoreTable(40)
    sampler = make(kind, 40, table=table, warmup_epochs=3)
    sampler.set_epoch(0)
    assert sampler.difficulty() is None  # the table is empty
    rescore(table, seed=0)
    sampler.set_epoch(1)
    assert torch.equal(sampler.difficulty(), table.difficulty()) and sampler.weights() is None
    table.update([0], similarity=torch.ones(1), loss=torch.ones(1))
    sampler.set_epoch(2)
    assert sampler.difficulty() is None  # the table is open, and a warm-up does not ask for it to be closed


# ---- the direction ----


@every_scored_sampler
def test_every_sampler_that_uses_scores_can_take_the_imbalanced_samples_first(kind):
    ramp = torch.linspace(0, 2, 40)
    if kind is ClassMatchedSampler:  # its members are drawn: the classes alone follow the difficulty
        options = {"class_of": (ramp > 1).long(), "shuffle": False, "pacing": FULL}
    else:
        options = {"pacing": partial(linear_pacing, start=0.5, grow_epochs=10**9)}
    mean = {}
    for order in ("balanced_first", "imbalanced_first"):
        sampler = make(kind, 40, difficulty=ramp, order=order, **options)
        orders = torch.tensor([order_of(sampler, epoch)[:20] for epoch in range(30)])
        mean[order] = ramp[orders].mean().item()
    assert mean["balanced_first"] + 0.2 < mean["imbalanced_first"]


@every_sampler
def test_an_unknown_direction_is_refused_with_the_choices(kind):
    with pytest.raises(ValueError, match="order must be one of 'balanced_first', 'imbalanced_first', got 'up'"):
        make(kind, 4, order="up")


@pytest.mark.parametrize("kind", [kind for kind in SAMPLERS if not kind.uses_scores], ids=lambda kind: kind.__name__)
def test_a_direction_is_refused_where_no_sample_is_more_balanced_than_another(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} looks at no scores, so order='imbalanced_first' means"):
        make(kind, 4, order="imbalanced_first")


@every_scored_sampler
def test_a_table_and_its_difficulty_give_the_same_order(kind):
    table = filled(40)
    assert order_of(make(kind, 40, table=table), 1) == order_of(make(kind, 40, difficulty=table.difficulty()), 1)


@every_scored_sampler
def test_the_table_is_read_with_the_chosen_normalisation(kind):
    table = filled(40)
    by_rank = make(kind, 40, difficulty=table.difficulty(normalize="rank"))
    assert order_of(make(kind, 40, table=table, normalize="rank"), 1) == order_of(by_rank, 1)


@every_scored_sampler
def test_an_open_table_is_refused_with_the_way_out(kind):
    table = filled(4)
    table.update([0], similarity=torch.tensor([0.5]), loss=torch.tensor([1.0]))
    with pytest.raises(ValueError, match="synchronize"):
        make(kind, 4, table=table).set_epoch(0)


@every_scored_sampler
def test_missing_scores_are_refused_with_the_way_out(kind):
    with pytest.raises(ValueError, match=r"table= or difficulty="):
        make(kind, 4, difficulty=None).set_epoch(0)


@every_scored_sampler
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_difficulty_that_is_not_finite_is_refused_with_its_index(kind, bad):
    with pytest.raises(ValueError, match="indices: 2"):
        make(kind, 4, difficulty=torch.tensor([0.0, 1.0, bad, 1.0])).set_epoch(0)


# ---- warm-up and smallest size ----


@every_sampler
def test_warm_up_epochs_see_the_full_set_and_the_pacing_starts_after_them(kind):
    sampler, plain = make(kind, 40, warmup_epochs=2), make(kind, 40)
    assert sorted(order_of(sampler, 0)) == sorted(order_of(sampler, 1)) == list(range(40))
    assert [sampler.size_at(epoch) for epoch in range(8)] == [40, 40] + [plain.size_at(epoch) for epoch in range(6)]


@every_scored_sampler
def test_warm_up_epochs_do_not_look_at_the_scores(kind):
    first, second = (make(kind, 40, warmup_epochs=1, scores=scores) for scores in (0, 1))
    assert order_of(first, 0) == order_of(second, 0)
    assert order_of(first, 1) != order_of(second, 1)


@every_scored_sampler
def test_warm_up_epochs_need_no_scores_yet(kind):
    assert sorted(order_of(make(kind, 6, table=bss.ScoreTable(6), warmup_epochs=1), 0)) == list(range(6))


@every_sampler
def test_warm_up_orders_are_uniform(kind):
    # Each of five samples is first in 1/5 of 1000 epochs: 200, standard deviation 12.6; five of them are 63.
    sampler = make(kind, 5, warmup_epochs=1000)
    first = torch.tensor([order_of(sampler, epoch)[0] for epoch in range(1000)])
    assert ((first.bincount(minlength=5) - 200).abs() < 63).all()


@every_sampler
def test_min_size_holds_whatever_the_pacing_says(kind):
    sampler = make(kind, 50, min_size=8, pacing=partial(linear_pacing, start=0.01, grow_epochs=10))
    # floor(50 * (.01 + .99 * t / 10)): 5, 10, 15, ...; the first one is below 8.
    assert [len(order_of(sampler, epoch)) for epoch in range(3)] == [8, 10, 15]


@every_sampler
def test_min_size_is_capped_by_the_whole_set(kind):
    assert len(order_of(make(kind, 5, min_size=100), 0)) == 5


@every_sampler
def test_the_smallest_subset_is_one_sample(kind):
    assert len(order_of(make(kind, 5, pacing=partial(linear_pacing, start=0.01, grow_epochs=1000)), 0)) == 1


# ---- ranks ----


@every_sampler
@given(n=st.integers(1, 50), world=st.integers(1, 9), epoch=st.integers(0, 5))
def test_each_rank_gets_every_wth_sample_and_the_padding_repeats_the_head(kind, n, world, epoch):
    order = order_of(make(kind, n), epoch)
    padded = (order * world)[: math.ceil(len(order) / world) * world]
    assert shares(kind, n, world, epoch=epoch) == [padded[rank::world] for rank in range(world)]


@every_sampler_without_repeats
@given(n=st.integers(1, 60), world=st.integers(1, 5), batch_size=st.integers(1, 5), epoch=st.integers(0, 5))
def test_with_drop_last_ranks_get_whole_batches_without_repeats(kind, n, world, batch_size, epoch):
    n += world * batch_size  # at least one batch each
    options = {"drop_last": True, "batch_size": batch_size}
    parts = shares(kind, n, world, epoch=epoch, **options)
    together = interleaved(parts)
    order = order_of(make(kind, n, num_replicas=world, rank=0, **options), epoch)
    kept = set(together)
    assert len(together) == len(kept) == len(order) // (world * batch_size) * world * batch_size
    assert len(parts[0]) % batch_size == 0 and len(parts[0]) > 0
    assert together == [index for index in order if index in kept]  # in the order of the epoch


@every_sampler_without_repeats
def test_the_ranks_cover_the_epoch(kind):
    for world in (1, 2, 3, 7):
        together = interleaved(shares(kind, 41, world, epoch=9))
        assert set(together) == set(range(41))
        assert len(together) == math.ceil(41 / world) * world


@every_sampler
@pytest.mark.parametrize("options", [{}, {"drop_last": True, "batch_size": 4}], ids=["padded", "dropped"])
def test_step_k_over_all_ranks_is_one_window_of_the_order(kind, options):
    # 3 ranks, batches of 4: step k is positions 12 k to 12 k + 11. Of 48 samples none is padded or dropped.
    order = order_of(make(kind, 48, pacing=FULL), 0)
    loaders = []
    for rank in range(3):
        sampler = make(kind, 48, pacing=FULL, num_replicas=3, rank=rank, **options)
        sampler.set_epoch(0)
        loaders.append(DataLoader(range(48), batch_size=4, sampler=sampler))
    windows = [sorted(torch.cat(batches).tolist()) for batches in zip(*loaders, strict=True)]
    assert windows == [sorted(order[start : start + 12]) for start in (0, 12, 24, 36)]


@every_sampler_without_repeats
def test_drop_last_drops_every_sample_about_equally_often(kind):
    # Batches of 4: two of ten are dropped, each in 1/5 of 600 epochs: 120, deviation 9.8; five are 49.
    sampler = make(kind, 10, pacing=FULL, drop_last=True, batch_size=4)
    dropped = torch.zeros(10)
    for epoch in range(600):
        sampler.set_epoch(epoch)
        dropped[sorted(set(range(10)) - set(sampler))] += 1
    assert dropped.sum() == 1200
    assert ((dropped - 120).abs() < 49).all()


def test_the_tail_of_a_weighted_order_is_no_fair_draw():
    # Why drop_last must not cut the tail: there, the most imbalanced sample would be lost most of the time.
    sampler = make(SelfPacedSampler, 10, pacing=None, difficulty=torch.tensor([0.0] * 9 + [2.0]))
    tails = [9 in order_of(sampler, epoch)[-2:] for epoch in range(600)]
    assert sum(tails) > 500


@every_sampler
def test_a_single_sample_is_an_epoch_on_every_rank(kind):
    assert shares(kind, 1, 1) == [[0]]
    assert shares(kind, 1, 3) == [[0], [0], [0]]


@every_sampler
def test_fewer_samples_than_ranks_repeat(kind):
    parts = shares(kind, 3, 8, epoch=9)
    order = order_of(make(kind, 3), 9)
    assert interleaved(parts) == (order * 3)[:8]


@every_sampler
def test_fewer_samples_than_a_batch_are_one_short_batch(kind):
    sampler = make(kind, 3, pacing=FULL)
    sampler.set_epoch(0)
    batches = list(DataLoader(range(3), batch_size=8, sampler=sampler))
    assert [sorted(batch.tolist()) for batch in batches] == [[0, 1, 2]]


@every_sampler
def test_a_set_that_cannot_fill_a_batch_on_each_rank_is_refused_with_drop_last(kind):
    with pytest.raises(ValueError, match="do not fill one batch of 4 on each of 2 ranks"):
        make(kind, 7, drop_last=True, batch_size=4, num_replicas=2, rank=0)


@every_sampler
def test_with_drop_last_the_smallest_epoch_is_one_batch_per_rank(kind):
    tiny = partial(linear_pacing, start=0.01, grow_epochs=1000)
    sampler = make(kind, 100, pacing=tiny, drop_last=True, batch_size=4, num_replicas=2, rank=1)
    sampler.set_epoch(0)
    assert len(list(sampler)) == 4


# ---- lengths ----


@every_sampler
@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("options", [{}, {"drop_last": True, "batch_size": 5}], ids=["padded", "dropped"])
def test_len_is_what_is_yielded_in_every_epoch(kind, world, options):
    sampler = make(kind, 41, num_replicas=world, rank=0, **options)
    lengths = []
    for epoch in range(6):
        sampler.set_epoch(epoch)
        lengths.append(len(sampler))
        assert len(list(sampler)) == lengths[-1] == sampler.num_samples == sampler.total_size // world
    assert lengths[0] < lengths[-1]


@every_sampler
@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("loader_drops", [False, True])
@pytest.mark.parametrize("options", [{}, {"drop_last": True, "batch_size": 5}], ids=["padded", "dropped"])
def test_predicted_steps_are_those_of_real_loaders(kind, world, loader_drops, options):
    sampler = make(kind, 41, num_replicas=world, rank=0, warmup_epochs=1, **options)
    loader = DataLoader(range(41), batch_size=5, sampler=sampler, drop_last=loader_drops)
    predicted = [sampler.steps_at(epoch, 5, drop_last=loader_drops) for epoch in range(7)]
    total = sampler.total_steps(7, 5, drop_last=loader_drops)
    counted = []
    for epoch in range(7):
        sampler.set_epoch(epoch)
        assert len(loader) == predicted[epoch]
        counted.append(sum(1 for _ in loader))
    assert counted == predicted
    assert sum(counted) == total


@every_sampler
def test_predicting_does_not_move_the_epoch(kind):
    sampler = make(kind, 41)
    sampler.set_epoch(1)
    before = len(sampler), sampler.global_order().tolist()
    sampler.size_at(7)
    sampler.total_steps(9, 4)
    assert (len(sampler), sampler.global_order().tolist()) == before


# ---- resume ----


@every_sampler
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("options", [{}, {"drop_last": True, "batch_size": 2}], ids=["padded", "dropped"])
def test_an_epoch_resumes_in_every_position(kind, world, options):
    for rank in range(world):
        arguments = {"num_replicas": world, "rank": rank} | options
        whole = make(kind, 11, **arguments)
        whole.set_epoch(1)
        expected = list(whole)
        for position in range(len(expected) + 1):
            original = make(kind, 11, **arguments)
            original.set_epoch(1)
            iterator = iter(original)
            head = [next(iterator) for _ in range(position)]
            resumed = make(kind, 11, scores=5, **arguments)  # whose own scores would give another order
            resumed.load_state_dict(through_a_file(original.state_dict()))
            assert head + list(resumed) == expected


@every_sampler
@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_that_was_interrupted_sees_what_it_would_have_seen(kind, num_workers):
    def batches(sampler, epochs):
        loader = DataLoader(range(24), batch_size=4, sampler=sampler, num_workers=num_workers)
        for epoch in epochs:
            sampler.set_epoch(epoch)
            yield from (batch.tolist() for batch in loader)

    expected = list(batches(make(kind, 24), range(4)))
    original, resumed = make(kind, 24), make(kind, 24)
    first_epoch, done = original.steps_at(0, 4), 2  # interrupted after two batches of epoch 1
    running = batches(original, range(4))
    seen = [next(running) for _ in range(first_epoch + done)]
    resumed.load_state_dict(through_a_file(original.state_dict()), position=done * 4)
    running.close()
    assert seen + list(batches(resumed, range(1, 4))) == expected


@every_sampler
@pytest.mark.parametrize(("saved", "loaded"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_an_epoch_resumes_in_a_world_of_another_size(kind, saved, loaded):
    # Six of twelve samples are done: a whole number of steps in both worlds.
    originals = [make(kind, 12, pacing=FULL, num_replicas=saved, rank=rank) for rank in range(saved)]
    order = order_of(originals[0], 3)
    states = []
    for original in originals:
        original.set_epoch(3)
        iterator = iter(original)
        for _ in range(6 // saved):
            next(iterator)
        states.append(original.state_dict())
    parts = []
    for rank in range(loaded):
        resumed = make(kind, 12, pacing=FULL, num_replicas=loaded, rank=rank)
        resumed.load_state_dict(states[0])
        parts.append(list(resumed))
    assert [state["position"] for state in states] == [6] * saved
    assert interleaved(parts) == order[6:]


@every_sampler
@pytest.mark.parametrize("position", range(13))
def test_no_sample_is_lost_when_the_position_does_not_divide_by_the_new_world(kind, position):
    original = make(kind, 12, pacing=FULL)
    order = order_of(original, 0)
    iterator = iter(original)
    head = [next(iterator) for _ in range(position)]
    parts = []
    for rank in range(5):
        resumed = make(kind, 12, pacing=FULL, num_replicas=5, rank=rank)
        resumed.load_state_dict(original.state_dict())
        parts.append(list(resumed))
    assert set(head) | set(interleaved(parts)) == set(order)


@every_sampler
def test_extra_iterators_after_loading_do_not_move_the_position(kind):
    original = make(kind, 20, pacing=FULL)
    order = order_of(original, 1)
    iterator = iter(original)
    for _ in range(7):
        next(iterator)
    resumed = make(kind, 20, pacing=FULL)
    resumed.load_state_dict(original.state_dict())
    next(iter(resumed))
    iter(resumed)
    assert resumed.state_dict()["position"] == 7
    assert list(resumed) == order[7:]


@every_sampler
def test_a_state_survives_a_second_save_before_any_step(kind):
    original = make(kind, 20)
    iterator = iter(original)
    for _ in range(4):
        next(iterator)
    resumed, again = make(kind, 20), make(kind, 20)
    resumed.load_state_dict(original.state_dict())
    again.load_state_dict(through_a_file(resumed.state_dict()))
    assert list(again) == list(iterator)


@every_sampler
def test_the_state_before_the_first_iterator_is_the_start_of_the_epoch(kind):
    resumed = make(kind, 20)
    resumed.load_state_dict(through_a_file(make(kind, 20).state_dict()))
    assert list(resumed) == order_of(make(kind, 20), 0)


@every_sampler
def test_the_state_at_the_end_of_an_epoch_does_not_replay_it(kind):
    original = make(kind, 20)
    original.set_epoch(2)
    list(original)
    resumed = make(kind, 20)
    resumed.load_state_dict(original.state_dict())
    resumed.set_epoch(2)
    assert list(resumed) == []
    resumed.set_epoch(3)
    assert list(resumed) == order_of(make(kind, 20), 3)


@every_sampler
@pytest.mark.filterwarnings("ignore:a second pass")
def test_after_the_rest_of_a_resumed_epoch_the_next_pass_is_a_whole_one(kind):
    original = make(kind, 20)
    next(iter(original))
    resumed = make(kind, 20)
    resumed.load_state_dict(original.state_dict())
    order = resumed.global_order().tolist()
    assert list(resumed) == order[1:]
    assert list(resumed) == order


@every_sampler
def test_set_epoch_with_the_saved_epoch_keeps_the_loaded_position(kind):
    original = make(kind, 20)
    order = order_of(original, 2)
    next(iter(original))
    before, after = make(kind, 20, scores=5), make(kind, 20, scores=5)
    before.set_epoch(2)
    before.load_state_dict(original.state_dict())
    after.load_state_dict(original.state_dict())
    after.set_epoch(2)
    assert list(before) == list(after) == order[1:]


@every_sampler
def test_set_epoch_with_another_epoch_wins_before_and_after_loading(kind):
    original = make(kind, 20)
    original.set_epoch(2)
    next(iter(original))
    before, after = make(kind, 20), make(kind, 20)
    before.set_epoch(3)
    before.load_state_dict(original.state_dict())
    after.load_state_dict(original.state_dict())
    after.set_epoch(3)
    assert list(before) == list(after) == order_of(make(kind, 20), 3)


@every_sampler
def test_the_caller_can_say_how_many_samples_were_trained_on(kind):
    # A loader with workers has fetched far ahead when two batches of three are done.
    original = make(kind, 30, pacing=FULL)
    order = order_of(original, 1)
    batches = iter(DataLoader(range(30), batch_size=3, sampler=original, num_workers=2))
    done = [index for _ in range(2) for index in next(batches).tolist()]
    state = original.state_dict()
    resumed = make(kind, 30, pacing=FULL)
    resumed.load_state_dict(state, position=6)
    assert state["position"] > 6
    assert done + list(resumed) == order


@every_sampler
@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"n": 21}, "size=20"), ({"n": 20, "seed": 4}, "seed=3")],
    ids=["size", "seed"],
)
def test_the_state_of_another_sampler_is_refused_by_name(kind, arguments, named):
    with pytest.raises(ValueError, match=named):
        make(kind, **arguments).load_state_dict(make(kind, 20, seed=3).state_dict())


@every_sampler
def test_the_state_of_another_kind_or_version_is_refused_by_name(kind):
    sampler = make(kind, 20)
    with pytest.raises(ValueError, match=r"sampler='OtherSampler'"):
        sampler.load_state_dict(sampler.state_dict() | {"sampler": "OtherSampler"})
    with pytest.raises(ValueError, match="version=99"):
        sampler.load_state_dict(sampler.state_dict() | {"version": 99})


@every_sampler
@pytest.mark.parametrize("saved", [True, False])
def test_a_negative_position_is_refused(kind, saved):
    sampler = make(kind, 20)
    state = sampler.state_dict()
    with pytest.raises(ValueError, match="position"):
        if saved:
            sampler.load_state_dict(state | {"position": -3})
        else:
            sampler.load_state_dict(state, position=-3)


@every_sampler
def test_a_refused_state_changes_nothing(kind):
    sampler = make(kind, 20)
    before = order_of(sampler, 1)
    with pytest.raises(ValueError, match="seed"):
        sampler.load_state_dict(make(kind, 20, seed=3).state_dict())
    assert list(sampler) == before


# ---- pickle, copy, frameworks ----


@every_sampler
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda sampler: pickle.loads(pickle.dumps(sampler))])
def test_a_copy_continues_like_the_original(kind, copied):
    original = make(kind, 20)
    original.set_epoch(1)
    clone = copied(original)
    assert list(clone) == list(original)
    assert order_of(clone, 2) == order_of(original, 2)


@every_sampler
def test_a_sampler_is_a_distributed_sampler(kind):
    assert isinstance(make(kind, 4), DistributedSampler)


def join_group(monkeypatch, *, rank: int, world: int) -> None:
    """As if a process group had been initialised."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)


@every_sampler
def test_without_a_process_group_the_world_is_one_process(kind):
    sampler = make(kind, 4)
    assert (sampler.num_replicas, sampler.rank) == (1, 0)


@every_sampler
def test_the_world_is_looked_up_when_it_is_needed(kind, monkeypatch):
    # Frameworks build loaders before they have a process group.
    sampler = make(kind, 40, pacing=FULL)
    join_group(monkeypatch, rank=3, world=4)
    assert list(sampler) == sampler.global_order().tolist()[3::4]


@every_sampler
def test_a_rank_that_is_not_given_is_the_groups_when_its_world_is_given(kind, monkeypatch):
    # Rank 0 on all ranks would train four times on the same quarter.
    join_group(monkeypatch, rank=3, world=4)
    assert make(kind, 40, num_replicas=4).rank == 3


@every_sampler
def test_a_rank_outside_a_world_that_is_looked_up_is_refused(kind):
    with pytest.raises(ValueError, match="rank"):
        list(make(kind, 40, rank=1))


@every_sampler
def test_a_world_that_turns_out_too_large_for_drop_last_is_refused(kind, monkeypatch):
    # Seven samples are a batch of four for one rank; two ranks would get none, and train on nothing.
    sampler = make(kind, 7, drop_last=True, batch_size=4)
    join_group(monkeypatch, rank=0, world=2)
    with pytest.raises(ValueError, match="do not fill one batch of 4 on each of 2 ranks"):
        list(sampler)


@every_sampler
def test_given_num_replicas_win_over_the_process_group(kind, monkeypatch):
    # Accelerate and the HF Trainer shard batches themselves.
    join_group(monkeypatch, rank=3, world=4)
    sampler = make(kind, 40, num_replicas=1, rank=0)
    with pytest.warns(UserWarning, match="every rank iterates over all samples"):  # nobody shards batches here
        assert list(sampler) == sampler.global_order().tolist()


@every_sampler
def test_a_second_pass_without_set_epoch_is_warned_about(kind):
    sampler = make(kind, 20)
    sampler.set_epoch(0)
    list(sampler)
    with pytest.warns(UserWarning, match="set_epoch"):
        iter(sampler)


@every_sampler
def test_the_usual_loop_warns_about_nothing(kind):
    sampler = make(kind, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch in range(3):
            sampler.set_epoch(epoch)
            list(sampler)


@every_sampler
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"min_size": 0}, "min_size"),
        ({"warmup_epochs": -1}, "warmup_epochs"),
        ({"seed": -1}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"num_replicas": 0}, "num_replicas"),
        ({"rank": -1}, "rank"),
        ({"num_replicas": 2, "rank": 2}, "rank"),
        ({"n": 0}, "num_samples"),
        ({"pacing": 0.3}, r"pacing must be a function of the epoch, .*start=.* got 0\.3"),
    ],
)
def test_bad_arguments_are_refused_by_name(kind, options, named):
    with pytest.raises(ValueError, match=named):
        make(kind, **({"n": 4} | options))


@every_sampler
def test_a_negative_epoch_is_refused(kind):
    with pytest.raises(ValueError, match="epoch must be >= 0"):
        make(kind, 4).set_epoch(-1)


@every_scored_sampler
def test_scores_that_do_not_fit_are_refused(kind):
    with pytest.raises(ValueError, match="5 rows"):
        make(kind, 4, table=bss.ScoreTable(5))
    with pytest.raises(ValueError, match="difficulty"):
        make(kind, 4, difficulty=torch.zeros(5))
    with pytest.raises(ValueError, match="not both"):
        make(kind, 4, table=bss.ScoreTable(4), difficulty=torch.zeros(4))


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (OrderSampler, {"min_size": 1, "warmup_epochs": 0, "seed": 0, "drop_last": False, "batch_size": 1}),
        (OrderSampler.steps_at, {"drop_last": False}),
        (OrderSampler.total_steps, {"drop_last": False}),
        (CurriculumSampler, {"shuffle": True}),
        (SelfPacedSampler, {"floor": 0.01, "temperature": 1.0}),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_the_numbers_that_need_not_be_given(kind, numbers):
    defaults = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    assert {name: value for name, value in defaults.items() if isinstance(value, int | float)} == numbers


# ---- real loaders ----


def windows(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


@every_sampler
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_that_lives_on_sees_each_epochs_own_order_and_length(kind, num_workers):
    sampler = make(kind, 24)
    dataset = bss.IndexedDataset(range(100, 124))
    loader = DataLoader(
        dataset, batch_size=4, sampler=sampler, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    lengths = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        batches = list(loader)
        lengths.append(len(batches))
        assert [index.tolist() for index, _ in batches] == windows(order_of(make(kind, 24), epoch), 4)
        assert all(((sample - 100) == index).all() for index, sample in batches)
    assert lengths[0] < lengths[-1] == 6


@every_sampler
@pytest.mark.parametrize("batches", [1, 2, 99])
def test_a_loader_that_is_dropped_goes_at_once_with_its_processes(kind, batches):
    # It held itself through the frames that the sampler had looked at, until the garbage was collected; by then the
    # queues of its processes were closed, and PyTorch 2.11 waited 5 s for each of them.
    sampler = make(kind, 24)
    loader = DataLoader(bss.IndexedDataset(range(24)), batch_size=4, sampler=sampler)
    sampler.set_epoch(0)
    gc.collect()
    gc.disable()
    try:
        iterator = iter(loader)
        for _ in itertools.islice(iterator, batches):
            pass
        dropped = weakref.ref(iterator)
        del iterator
        assert dropped() is None
    finally:
        gc.enable()


@every_sampler
def test_a_loader_that_returns_batches_out_of_order_loses_none(kind):
    sampler = make(kind, 24)
    loader = DataLoader(
        bss.IndexedDataset(range(100, 124)), batch_size=4, sampler=sampler, num_workers=2, in_order=False
    )
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches = list(loader)
        assert sorted(index.tolist() for index, _ in batches) == sorted(windows(order_of(make(kind, 24), epoch), 4))
        assert all(((sample - 100) == index).all() for index, sample in batches)


def test_a_loader_with_spawned_workers_sees_the_order():
    sampler = make(CurriculumSampler, 8, pacing=FULL)
    dataset = bss.IndexedDataset(range(100, 108))
    loader = DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=1, multiprocessing_context="spawn")
    sampler.set_epoch(1)
    assert [index.tolist() for index, _ in loader] == windows(order_of(make(CurriculumSampler, 8, pacing=FULL), 1), 4)


# ---- CL ----

EASY_FIRST = torch.arange(50) / 25  # sample 0 is the easiest, sample 49 the hardest
LINEAR = partial(linear_pacing, start=0.2, grow_epochs=4)  # 20, 30, 40, 50 of 50


def curriculum(**options) -> CurriculumSampler:
    return CurriculumSampler(50, **({"difficulty": EASY_FIRST, "pacing": LINEAR} | options))


def test_by_default_a_curriculum_grows_as_published():
    # floor(6698 * (.1864, .2439, .5074, .9875, 1)) at epochs 0, 1, 9, 38 and 39; fractions to six digits:
    # .186414, .243926, .507445, .987548.
    sampler = CurriculumSampler(6698, difficulty=torch.zeros(6698))
    assert [sampler.size_at(epoch) for epoch in (0, 1, 9, 38, 39)] == [1248, 1633, 3398, 6614, 6698]


def test_an_epoch_of_a_curriculum_is_its_easiest_part():
    sampler = curriculum()
    for epoch, size in enumerate([20, 30, 40, 50, 50]):
        assert sorted(order_of(sampler, epoch)) == list(range(size))


def test_the_subsets_of_a_curriculum_are_nested():
    sampler = make(CurriculumSampler, 60)
    subsets = [set(order_of(sampler, epoch)) for epoch in range(5)]
    assert all(a <= b for a, b in itertools.pairwise(subsets))
    assert len(subsets[0]) < len(subsets[-1])


def test_a_subset_is_shuffled_differently_every_epoch():
    half = partial(linear_pacing, start=0.5, grow_epochs=10**9)  # the same 25 every time
    sampler = curriculum(pacing=half)
    orders = [order_of(sampler, epoch) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(25))}


def test_the_shuffle_is_uniform():
    # Each of five samples is first in 1/5 of 1000 epochs: 200, standard deviation 12.6; five of those are 63.
    sampler = CurriculumSampler(5, difficulty=torch.arange(5) / 4, pacing=FULL)
    first = torch.tensor([order_of(sampler, epoch)[0] for epoch in range(1000)])
    assert ((first.bincount(minlength=5) - 200).abs() < 63).all()


def test_without_shuffling_a_subset_comes_in_order_of_difficulty():
    assert order_of(curriculum(shuffle=False, difficulty=EASY_FIRST.flip(0)), 0) == list(range(49, 29, -1))


def test_the_anti_curriculum_takes_the_hardest_part():
    assert sorted(order_of(curriculum(order="imbalanced_first"), 0)) == list(range(30, 50))


def test_with_labels_a_subset_keeps_the_class_mix():
    # Two classes of 25, the first all easier than the second: 10 of each among the first 20.
    labels = torch.arange(50) // 25
    subset = torch.tensor(order_of(curriculum(labels=labels), 0))
    assert labels[subset].bincount().tolist() == [10, 10]
    assert sorted(subset.tolist()) == [*range(10), *range(25, 35)]


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="labels"):
        curriculum(labels=torch.zeros(49, dtype=torch.int64))


def test_an_empty_table_is_an_error_that_names_the_ways_out():
    with pytest.raises(ValueError, match=r"score_dataset.*warmup_epochs"):
        CurriculumSampler(4, table=bss.ScoreTable(4)).set_epoch(0)


def test_after_the_warm_up_a_table_that_is_still_empty_is_an_error():
    sampler = CurriculumSampler(4, table=bss.ScoreTable(4), warmup_epochs=1)
    sampler.set_epoch(0)
    with pytest.raises(ValueError, match="empty"):
        sampler.set_epoch(1)


def test_a_refused_epoch_leaves_the_sampler_where_it_was():
    sampler = CurriculumSampler(4, table=bss.ScoreTable(4), warmup_epochs=1)
    before = order_of(sampler, 0)
    with pytest.raises(ValueError, match="empty"):
        sampler.set_epoch(1)
    assert (sampler.epoch, list(sampler)) == (0, before)


# ---- SPL ----


def told_in_a_loop(sampler: OrderSampler, *, epochs=range(3), update: bool) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for epoch in epochs:
            sampler.set_epoch(epoch)
            list(sampler)
            if update:
                rescore(sampler.table, seed=epoch)
    return told


@pytest.mark.parametrize("kind", [SelfPacedSampler, ResamplingSampler])
@pytest.mark.parametrize(("warmup", "first"), [(0, 1), (2, 2)])
def test_epochs_that_leave_no_score_are_warned_about_once_with_the_way_out(kind, warmup, first):
    (told,) = told_in_a_loop(kind(4, table=bss.ScoreTable(4), warmup_epochs=warmup), epochs=range(4), update=False)
    said = rf"still empty, so the order of epoch {first} is uniform: call table\.update\(batch\['bss_index'\]"
    assert re.search(said, str(told.message)) and told.filename == __file__


@pytest.mark.parametrize(
    ("epochs", "update", "options"),
    [
        (range(3), True, {}),
        (range(3), True, {"warmup_epochs": 1}),
        (range(1), False, {}),  # nothing can be there yet
        (range(7, 8), False, {}),  # nor in the first epoch of a loop that counts otherwise
        (range(3), False, {"warmup_epochs": 3}),
        (range(3), False, {"table": None, "difficulty": torch.tensor([0.0, 1, 1, 2])}),
    ],
)
def test_an_empty_table_is_no_matter_before_an_epoch_was_trained(epochs, update, options):
    sampler = SelfPacedSampler(4, **{"table": bss.ScoreTable(4)} | options)
    assert told_in_a_loop(sampler, epochs=epochs, update=update) == []


def test_orders_that_are_only_looked_at_are_no_epochs():
    sampler = SelfPacedSampler(4, table=bss.ScoreTable(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(order_of(sampler, 0)) == sorted(order_of(sampler, 1)) == [0, 1, 2, 3]


def mean_positions(sampler: SelfPacedSampler, epochs: int) -> torch.Tensor:
    orders = torch.stack([torch.tensor(order_of(sampler, epoch)) for epoch in range(epochs)])
    return orders.argsort(dim=1).double().mean(dim=0)


def expected_positions(weights: torch.Tensor) -> torch.Tensor:
    """Of the weighted order, 0-based: the sum over the others of w_j / (w_i + w_j)."""
    return (weights / (weights + weights[:, None])).sum(1) - 0.5


TEN = torch.arange(10) / 4.5  # 0 to 2
STANDARD_ERROR = math.sqrt(99 / 12 / 2000)  # of a mean position among ten, over 2000 epochs


def test_spl_visits_every_sample_once_in_every_epoch():
    sampler = SelfPacedSampler(40, difficulty=torch.linspace(0, 2, 40))
    for epoch in (0, 1, 50):
        assert sorted(order_of(sampler, epoch)) == list(range(40))


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, 2.01 - TEN),
        ({"floor": 0.5}, 2.5 - TEN),
        ({"order": "imbalanced_first"}, TEN + 0.01),
        ({"temperature": 0.5}, (2.01 - TEN) ** 2),
        ({"temperature": 4.0}, (2.01 - TEN) ** 0.25),
        ({"weighting": "softmax"}, (1 - TEN).exp()),
        ({"weighting": "softmax", "temperature": 0.25}, (4 * (1 - TEN)).exp()),
        ({"weighting": "softmax", "order": "imbalanced_first"}, (TEN - 1).exp()),
    ],
    ids=["default", "floor", "imbalanced first", "cold", "warm", "softmax", "cold softmax", "softmax, imbalanced"],
)
def test_mean_positions_under_spl_are_those_of_its_weights(options, weights):
    positions = mean_positions(SelfPacedSampler(10, difficulty=TEN, **options), 2000)
    assert (positions - expected_positions(weights.double())).abs().max() < 5 * STANDARD_ERROR


def test_balanced_samples_tend_to_come_earlier():
    positions = mean_positions(SelfPacedSampler(10, difficulty=TEN), 300)
    assert positions[:3].mean() + 2 < positions[-3:].mean()


def test_imbalanced_first_turns_the_bias_around():
    positions = mean_positions(SelfPacedSampler(10, difficulty=TEN, order="imbalanced_first"), 300)
    assert positions[:3].mean() > positions[-3:].mean() + 2


def test_a_small_temperature_sorts():
    sampler = SelfPacedSampler(10, difficulty=TEN, temperature=1e-4)
    assert [order_of(sampler, epoch) for epoch in range(20)] == [list(range(10))] * 20


@pytest.mark.parametrize("weighting", ["linear", "softmax"])
def test_the_smallest_temperature_is_no_overflow(weighting):
    sampler = SelfPacedSampler(10, difficulty=TEN, temperature=1e-300, floor=0.0, weighting=weighting)
    assert sorted(order_of(sampler, 0)) == list(range(10))


@pytest.mark.parametrize("kind", [SelfPacedSampler, ResamplingSampler])
def test_the_weights_are_those_of_the_formula_relative_to_the_largest(kind):
    difficulty = torch.tensor([0.0, 1.0, 2.0])
    sampler = kind(3, difficulty=difficulty, weighting="softmax")
    assert sampler.weights().tolist() == pytest.approx([1, math.exp(-1), math.exp(-2)])
    assert kind(3, difficulty=difficulty, floor=0.0).weights().tolist() == pytest.approx([1, 0.5, 0])


def test_weights_that_are_all_zero_are_drawn_as_equal_ones_and_said_to_be():
    sampler = SelfPacedSampler(4, difficulty=torch.full((4,), 2.0), floor=0.0)
    assert sorted(order_of(sampler, 0)) == [0, 1, 2, 3] and sampler.weights().tolist() == [1.0] * 4


def test_a_large_temperature_is_nearly_uniform():
    positions = mean_positions(SelfPacedSampler(10, difficulty=TEN, temperature=1e4), 2000)
    assert (positions - 4.5).abs().max() < 5 * STANDARD_ERROR


def test_an_empty_table_is_a_uniform_order():
    positions = mean_positions(SelfPacedSampler(10, table=bss.ScoreTable(10)), 2000)
    assert (positions - 4.5).abs().max() < 5 * STANDARD_ERROR


def test_without_a_floor_the_most_imbalanced_sample_is_always_last():
    sampler = SelfPacedSampler(10, difficulty=TEN, floor=0.0)
    assert {order_of(sampler, epoch)[-1] for epoch in range(50)} == {9}


def test_with_a_pacing_spl_visits_the_head_of_its_draw():
    whole, paced = (SelfPacedSampler(50, difficulty=EASY_FIRST, pacing=pacing) for pacing in (None, LINEAR))
    assert order_of(paced, 1) == order_of(whole, 1)[:30]


def test_spl_draws_the_order_of_weighted_order():
    sampler = SelfPacedSampler(10, difficulty=TEN, seed=3)
    expected = bss.weighted_order(bss.order_weights(TEN), seed=3, epoch=4)
    assert order_of(sampler, 4) == expected.tolist()


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {"temperature": -1.0}, {"temperature": math.inf}, {"floor": -0.1}, {"weighting": "power"}],
    ids=str,
)
def test_a_bad_temperature_floor_or_weighting_is_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SelfPacedSampler(4, difficulty=torch.zeros(4), **options)


def test_a_difficulty_outside_its_range_is_refused_with_its_index():
    with pytest.raises(ValueError, match=r"indices: 1 \(2\.5\)"):
        SelfPacedSampler(3, difficulty=torch.tensor([0.0, 2.5, 1.0])).set_epoch(0)


# ---- random pacing ----


@settings(max_examples=20)
@given(n=st.integers(1, 200), start=st.floats(0.01, 1), grow_epochs=st.integers(0, 10), epoch=st.integers(0, 12))
def test_random_pacing_has_the_sizes_of_the_curriculum(n, start, grow_epochs, epoch):
    pacing = partial(root_pacing, start=start, grow_epochs=grow_epochs)
    control, method = RandomPacingSampler(n, pacing=pacing), make(CurriculumSampler, n, pacing=pacing)
    assert len(order_of(control, epoch)) == len(order_of(method, epoch))


def test_the_subsets_of_random_pacing_are_nested():
    sampler = RandomPacingSampler(60, pacing=GROWING)
    subsets = [set(order_of(sampler, epoch)) for epoch in range(5)]
    assert all(a <= b for a, b in itertools.pairwise(subsets))
    assert len(subsets[0]) < len(subsets[-1])


def test_every_sample_is_as_likely_a_first_member():
    # 3 of 10 over 1000 seeds: 300 each, standard deviation 14.5; five of them are 73.
    third = partial(linear_pacing, start=0.3, grow_epochs=10**9)
    counts = torch.zeros(10)
    for seed in range(1000):
        counts[order_of(RandomPacingSampler(10, pacing=third, seed=seed), 0)] += 1
    assert counts.sum() == 3000
    assert ((counts - 300).abs() < 73).all()


def test_the_members_of_random_pacing_depend_on_the_seed():
    members = [frozenset(order_of(RandomPacingSampler(50, pacing=LINEAR, seed=seed), 0)) for seed in range(3)]
    assert len(set(members)) == 3


def test_random_pacing_can_keep_the_class_mix():
    labels = torch.arange(50) // 25
    subset = order_of(RandomPacingSampler(50, pacing=LINEAR, labels=labels), 0)
    assert labels[subset].bincount().tolist() == [10, 10]


@pytest.mark.parametrize(
    "scores", [{"table": bss.ScoreTable(4)}, {"difficulty": torch.zeros(4)}], ids=["table", "difficulty"]
)
def test_random_pacing_refuses_scores(scores):
    with pytest.raises(ValueError, match="no table= or difficulty="):
        RandomPacingSampler(4, pacing=GROWING, **scores)


# ---- the class-matched control ----


def test_class_matched_subsets_have_the_classes_of_the_curriculum_and_other_members():
    # By difficulty come the 30 samples of class 0, then those of class 1; epoch 0 has 36 samples.
    class_of = torch.arange(90) // 30
    difficulty = torch.arange(90) / 90
    control = ClassMatchedSampler(90, class_of=class_of, difficulty=difficulty, pacing=LINEAR)
    method = CurriculumSampler(90, difficulty=difficulty, pacing=LINEAR)
    for epoch in range(5):
        subset, of_method = order_of(control, epoch), order_of(method, epoch)
        assert class_of[subset].bincount(minlength=3).tolist() == class_of[of_method].bincount(minlength=3).tolist()
    assert set(order_of(method, 0)) == set(range(36))
    assert set(range(30)) < set(order_of(control, 0)) < set(range(60))
    assert set(order_of(control, 0)) != set(range(36))


def test_class_matched_subsets_are_nested_while_the_scores_stay():
    sampler = make(ClassMatchedSampler, 60)
    subsets = [set(order_of(sampler, epoch)) for epoch in range(5)]
    assert all(a <= b for a, b in itertools.pairwise(subsets))
    assert len(subsets[0]) < len(subsets[-1])


def test_every_sample_of_a_class_is_as_likely_a_first_class_matched_member():
    # 3 of 10, all of class 0, whose six samples have 500 each over 1000 seeds; five standard deviations are 79.
    third = partial(linear_pacing, start=0.3, grow_epochs=10**9)
    counts = torch.zeros(10)
    for seed in range(1000):
        options = {"class_of": torch.arange(10) // 6, "difficulty": torch.arange(10) / 10, "pacing": third}
        counts[order_of(ClassMatchedSampler(10, seed=seed, **options), 0)] += 1
    assert counts.sum() == 3000 == counts[:6].sum()
    assert ((counts[:6] - 500).abs() < 79).all()


def test_with_labels_class_matched_subsets_keep_the_class_mix_of_the_whole():
    labels = torch.arange(50) // 25
    options = {"class_of": labels, "difficulty": torch.arange(50) / 50, "pacing": LINEAR}
    subset = order_of(ClassMatchedSampler(50, labels=labels, **options), 0)
    assert labels[subset].bincount().tolist() == [10, 10]


@pytest.mark.parametrize("class_of", [torch.zeros(3, dtype=torch.int64), torch.zeros(4)], ids=["length", "dtype"])
def test_classes_that_do_not_fit_are_refused(class_of):
    with pytest.raises(ValueError, match="class_of must be 4 integers"):
        ClassMatchedSampler(4, class_of=class_of, difficulty=torch.zeros(4))


@every_sampler
def test_a_world_without_a_rank_outside_of_a_process_group_is_refused(kind):
    sampler = make(kind, 12, num_replicas=3)
    with pytest.raises(ValueError, match="pass rank= as well"):
        list(sampler)


def test_a_sampler_that_reads_scores_must_be_given_some():
    for sampler_class in (bss.CurriculumSampler, bss.SelfPacedSampler):
        with pytest.raises(ValueError, match="needs scores: pass table= or difficulty="):
            sampler_class(10)


@pytest.mark.parametrize(("largest", "dtype"), [(2**31 - 1, torch.int32), (2**31, torch.int64)])
def test_an_order_is_kept_in_half_the_memory_where_its_numbers_fit(largest, dtype):
    sampler = bss.UniformSampler(2, seed=0)
    sampler.set_epoch(0)
    sampler.rearrange(torch.tensor([largest, 0]))
    assert sampler.state_dict()["order"].dtype == dtype and sampler.global_order().tolist() == [largest, 0]


def test_a_dataset_in_place_of_its_length_is_refused():
    with pytest.raises(ValueError, match=r"pass len\(dataset\)"):
        bss.SelfPacedSampler([1, 2, 3], difficulty=torch.rand(3))
