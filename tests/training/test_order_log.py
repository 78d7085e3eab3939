"""What the log says of an epoch's order: numbers by hand, on four samples."""

from types import SimpleNamespace

import pytest
import torch

from bss.samplers import SAMPLERS, ClassMatchedSampler
from bss.scoring.table import ScoreTable
from bss.training.order_log import OrderLog

FOLDER = SimpleNamespace(append_scores=lambda epoch, table, difficulty: None)


def epoch_of(order, *, epoch=0, table=None):
    """A sampler that is in this epoch, with this order of the samples 0 to 3, made by the scores of the table."""
    difficulty = None if table is None else table.difficulty()
    return SimpleNamespace(
        size=4,
        epoch=epoch,
        global_order=lambda: torch.tensor(order),
        weights=lambda: None,
        difficulty=lambda: difficulty,
    )


def scored(loss):
    """A table whose samples differ in their loss, and so in the same order in their difficulty."""
    table = ScoreTable(4)
    table.update(torch.arange(4), similarity=torch.zeros(4), loss=torch.tensor(loss))
    table.synchronize()
    return table


def described(log, orders):
    table = ScoreTable(4)
    return [log.describe(epoch_of(order), table, FOLDER, rescored=False) for order in orders]


def test_an_order_is_compared_with_the_last_one_on_the_samples_of_both():
    orders = [[0, 1, 2, 3], [3, 2, 1, 0], [3, 1], [2, 1, 3]]
    rows = described(OrderLog(torch.tensor([0, 0, 1, 1])), orders)
    # Nothing before; reversed; 3 before 1 as before; 1 before 3, which was the other way round.
    assert rows[0]["order_to_last"] is None
    assert [row["order_to_last"] for row in rows[1:]] == pytest.approx([-1.0, 1.0, -1.0])
    assert [row["distinct"] for row in rows] == [4, 4, 2, 3]


def test_of_a_sample_that_is_drawn_twice_the_first_place_counts():
    rows = described(OrderLog(torch.tensor([0, 0, 1, 1])), [[0, 1, 2], [0, 2, 1, 0]])
    # Places 0, 2, 1 of the samples 0, 1, 2 against 0, 1, 2: 1 - 6 (0 + 1 + 1) / (3 (9 - 1)) = 1/2
    assert rows[1]["order_to_last"] == pytest.approx(0.5)
    assert rows[1]["distinct"] == 3


def test_an_order_is_compared_with_the_difficulty_behind_it_and_that_with_the_last_one():
    log = OrderLog(torch.tensor([0, 0, 1, 1]))
    rising, falling = scored([1.0, 2.0, 3.0, 4.0]), scored([4.0, 3.0, 2.0, 1.0])
    first = log.describe(epoch_of([0, 1, 2, 3], table=rising), rising, FOLDER, rescored=True)
    assert first["order_to_difficulty"] == pytest.approx(1.0) and first["age"] == 0.0
    assert first["difficulty_to_last"] is None
    second = log.describe(epoch_of([0, 1, 2, 3], epoch=1, table=falling), falling, FOLDER, rescored=True)
    assert second["order_to_difficulty"] == pytest.approx(-1.0) and second["age"] == 0.0
    assert second["difficulty_to_last"] == pytest.approx(-1.0)
    kept = log.describe(epoch_of([3, 2, 1, 0], epoch=4, table=falling), falling, FOLDER, rescored=False)
    assert kept["order_to_difficulty"] == pytest.approx(1.0) and kept["age"] == 3.0
    assert kept["difficulty_to_last"] is None


def test_the_first_tenth_of_the_order_is_one_sample_at_least():
    (row,) = described(OrderLog(torch.tensor([0, 0, 0, 1])), [[3, 0, 1, 2]])
    # All samples have the mix of the set, 3/4 and 1/4. The first is of the second class: (|0 - 3/4| + |1 - 1/4|) / 2
    assert (row["class_distance"], row["class_distance_start"]) == (0.0, 0.75)


def test_a_stopped_log_goes_on():
    log, other = (OrderLog(torch.tensor([0, 0, 1, 1])) for _ in range(2))
    before, after = scored([1.0, 2.0, 3.0, 4.0]), scored([2.0, 1.0, 3.0, 4.0])
    log.describe(epoch_of([0, 1, 2, 3], table=before), before, FOLDER, rescored=True)
    other.load_state_dict(log.state_dict())
    now = epoch_of([1, 0, 3, 2], epoch=2, table=after), after, FOLDER
    assert log.describe(*now, rescored=True) == other.describe(*now, rescored=True)


@pytest.mark.parametrize("rescored", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in SAMPLERS if kind.uses_scores], ids=lambda kind: kind.__name__)
def test_the_log_reads_the_difficulty_that_the_order_was_made_from_and_computes_none(kind, rescored, monkeypatch):
    table, kept, computed = scored([1.0, 2.0, 3.0, 4.0]), [], []
    difficulty = ScoreTable.difficulty
    monkeypatch.setattr(ScoreTable, "difficulty", lambda *a, **options: computed.append(1) or difficulty(*a, **options))
    options = {"class_of": torch.tensor([0, 0, 1, 1])} if kind is ClassMatchedSampler else {}
    sampler = kind(4, table=table, **options)
    sampler.set_epoch(3)
    folder = SimpleNamespace(append_scores=lambda epoch, table, difficulty: kept.append(difficulty))
    OrderLog(torch.tensor([0, 0, 1, 1])).describe(sampler, table, folder, rescored=rescored)
    assert len(computed) == 1  # by set_epoch
    assert [values is sampler.difficulty() for values in kept] == [True] * rescored
