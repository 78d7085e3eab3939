"""What a sampler notices when an epoch begins: samples without scores, an order that nobody followed, another run's
table, a data set that is not the one that it orders. And everything that is as it should be, which it must not notice.
"""

import contextlib
import copy
import itertools
import re
import warnings

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, SubsetRandomSampler, random_split

import bss
from bss.samplers import SAMPLERS, ClassMatchedSampler, ResamplingSampler, SelfPacedSampler
from bss.scoring.table import ScoreTable

N = 24
scored_kinds = pytest.mark.parametrize(
    "kind", [kind for kind in SAMPLERS if kind.uses_scores], ids=lambda kind: kind.__name__
)


class Numbers(Dataset):
    """Samples that are their own number; the list may grow."""

    def __init__(self, count=N, first=0):
        self.items = list(range(first, first + count))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return {"number": self.items[index]}


def filled(n=N, **options):
    table = ScoreTable(n, **options)
    update(table, torch.arange(n))
    table.synchronize()
    return table


def update(table, index, rows=None):
    rows = slice(None) if rows is None else rows
    values = torch.rand(2, table.num_samples, generator=torch.Generator().manual_seed(len(index)))[:, index[rows]]
    table.update(index[rows], similarity=values[0], loss=values[1])


def make(kind=SelfPacedSampler, table=None, n=N, **options):
    if kind is ClassMatchedSampler:
        options["class_of"] = torch.arange(n) % 3
    return kind(n, table=filled(n) if table is None else table, **options)


def epochs(sampler, which, *, data=None, keep=lambda step: True, loader=None, stop=None, **options):
    """The usual loop; gives the warnings."""
    if loader is None:
        data = bss.IndexedDataset(Numbers(sampler.size)) if data is None else data
        loader = DataLoader(data, batch_size=4, sampler=sampler, **options)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for epoch in which:
            sampler.set_epoch(epoch)
            for step, batch in enumerate(loader):
                if step == stop:
                    break
                if keep(step):
                    update(sampler.table, batch["bss_index"])
            sampler.table.synchronize()
    return [warning for warning in told if issubclass(warning.category, UserWarning)]


@contextlib.contextmanager
def warned():
    """The texts of the warnings that come from inside; Python 3.12 has one of its own at every fork beside threads."""
    texts = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield texts
    texts += [str(warning.message) for warning in told if warning.category is not DeprecationWarning]


def scoring_pass(table, *, network=0):
    """What bss.score_dataset does with the table."""
    update(table, torch.arange(table.num_samples))
    table.synchronize(scoring_pass=True)


# ---- samples that were shown and got no score ----


@scored_kinds
def test_updates_in_some_steps_only_are_counted_and_named_once(kind):
    sampler = make(kind, warmup_epochs=4)  # whole epochs: 6 batches of 4
    (told,) = epochs(sampler, range(4), keep=lambda step: step % 2 == 1)
    order = make(kind, warmup_epochs=4).global_order().tolist()
    unscored = [index for step in (0, 2, 4) for index in order[4 * step : 4 * step + 4]]
    text = str(told.message)
    assert (
        f"epoch 0 has shown 24 samples, and 12 of them got no score (indices {', '.join(map(str, unscored[:5]))}"
        in text
    )
    assert "if step % k == 0" in text and told.filename == __file__


@pytest.mark.parametrize(("batch", "named"), [(5, r"(\d+, ){4}\d+"), (6, r"(\d+, ){4}\d+ \.\.\.")])
def test_five_of_them_are_named(batch, named):
    sampler = make(n=5 * batch)
    data = bss.IndexedDataset(Numbers(5 * batch))
    loader = DataLoader(data, batch_size=batch, sampler=sampler)
    (told,) = epochs(sampler, range(2), loader=loader, keep=lambda step: step != 2)
    assert re.search(rf"and {batch} of them got no score \(indices {named}\)", str(told.message))


@pytest.mark.parametrize(("step", "told"), [(0, 0), (1, 1), (6, 1), (7, 0)])
def test_one_sample_between_two_with_scores_is_told_and_the_first_or_last_is_not(step, told):
    sampler = make(n=8)
    loader = DataLoader(bss.IndexedDataset(Numbers(8)), batch_size=1, sampler=sampler)
    texts = [str(warning.message) for warning in epochs(sampler, range(2), loader=loader, keep=lambda at: at != step)]
    assert ["8 samples, and 1 of them got no score" in text for text in texts] == [True] * told


def test_more_of_them_are_told_again():
    sampler = make()
    assert len(epochs(sampler, range(2), keep=lambda step: step != 2)) == 1
    assert len(epochs(sampler, range(2, 4), keep=lambda step: step % 2 == 1)) == 1


def test_foreign_numbers_are_noticed_where_no_wrapper_shows_them():
    class Parts(Dataset):
        """A concatenation of one's own, which nothing can see into."""

        def __init__(self):
            self.parts = [bss.IndexedDataset(Numbers(N // 2)), bss.IndexedDataset(Numbers(N // 2, first=N // 2))]

        def __len__(self):
            return N

        def __getitem__(self, index):
            return self.parts[index // (N // 2)][index % (N // 2)]

    (told,) = epochs(make(), range(3), data=Parts())
    assert f"{N // 2} of them got no score" in str(told.message)
    assert "numbered from 0 each" in str(told.message)


def test_an_order_that_nobody_iterates_is_noticed_once():
    sampler = make()
    (told,) = epochs(sampler, range(4), loader=DataLoader(bss.IndexedDataset(Numbers()), batch_size=4, shuffle=True))
    assert "in epoch 0, and nobody has iterated over the sampler" in str(told.message)
    assert "without shuffle=True" in str(told.message) and told.filename == __file__


def test_samples_that_a_collate_function_leaves_out_are_noticed_once():
    class Holes(Numbers):
        def __getitem__(self, index):
            return None if index % 6 == 1 else super().__getitem__(index)

    def whole(samples):
        return torch.utils.data.default_collate([sample for sample in samples if sample is not None])

    (told,) = epochs(make(), range(4), data=bss.IndexedDataset(Holes()), collate_fn=whole)
    assert "4 of them got no score" in str(told.message) and "collate_fn leaves out" in str(told.message)


# ---- and what is no alarm ----


@scored_kinds
@pytest.mark.parametrize("workers", [0, 2])
def test_the_usual_loop_raises_no_alarm(kind, workers):
    assert epochs(make(kind), range(4), num_workers=workers) == []


def test_one_scoring_before_the_first_epoch_raises_no_alarm():
    table = ScoreTable(N)
    scoring_pass(table)
    sampler = bss.CurriculumSampler(N, table=table)
    assert epochs(sampler, range(4), keep=lambda step: False) == []


def test_rescoring_every_k_epochs_raises_no_alarm():
    table = ScoreTable(N)
    sampler = bss.CurriculumSampler(N, table=table)
    for epoch in range(6):
        if epoch % 2 == 0:
            scoring_pass(table)
        assert epochs(sampler, [epoch], keep=lambda step: False) == []


def test_a_partial_scoring_pass_raises_no_alarm_of_the_epoch():
    table = filled()
    sampler = make(table=table)
    assert epochs(sampler, [0], keep=lambda step: False) == []
    update(table, torch.arange(0, N, 2))
    table.synchronize(scoring_pass=True)
    assert epochs(sampler, [1], keep=lambda step: False) == []


def test_a_scoring_pass_of_ones_own_beside_the_training_raises_no_alarm():
    table = filled()
    sampler = make(table=table)
    for epoch in range(3):
        assert epochs(sampler, [epoch], keep=lambda step: False) == []
        update(table, torch.arange(N))
        table.synchronize()


def test_a_fixed_difficulty_raises_no_alarm():
    sampler = bss.SelfPacedSampler(N, difficulty=torch.rand(N))
    loader = DataLoader(bss.IndexedDataset(Numbers()), batch_size=4, sampler=sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch in (0, 1, 2, 0, 1):
            sampler.set_epoch(epoch)
            list(loader)


@pytest.mark.parametrize("options", [{"drop_last": True, "batch_size": 5}, {}], ids=["the sampler's", "the loader's"])
def test_drop_last_raises_no_alarm(options):
    sampler = make(**options)
    loader = DataLoader(bss.IndexedDataset(Numbers()), batch_size=5, sampler=sampler, drop_last=not options)
    assert epochs(sampler, range(4), loader=loader) == []


@pytest.mark.parametrize("world", [2, 5])
def test_the_padding_of_several_ranks_raises_no_alarm(world):
    """One process plays all ranks; their sums are what the collective would give."""
    table = filled()
    samplers = [make(table=table, num_replicas=world, rank=rank) for rank in range(world)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch in range(3):
            for sampler in samplers:
                sampler.set_epoch(epoch)
            for sampler in samplers:
                update(table, torch.tensor(list(sampler)))
            table.synchronize()


@pytest.mark.parametrize("restored", [True, False], ids=["with the table's state", "without it"])
@pytest.mark.parametrize("given", [True, False], ids=["position given", "position saved"])
def test_a_resumed_epoch_raises_no_alarm(restored, given):
    sampler = make(warmup_epochs=1)
    sampler.set_epoch(0)
    loader = DataLoader(bss.IndexedDataset(Numbers()), batch_size=4, sampler=sampler)
    for batch in itertools.islice(loader, 3):
        update(sampler.table, batch["bss_index"])
    states = copy.deepcopy((sampler.state_dict(), sampler.table.state_dict()))
    resumed = make(warmup_epochs=1)
    if restored:
        resumed.table.load_state_dict(states[1])
    resumed.load_state_dict(states[0], position=12 if given else None)
    assert epochs(resumed, range(3)) == []


def test_a_checkpoint_of_an_epochs_last_step_raises_no_alarm():
    sampler = make()
    sampler.set_epoch(0)
    for batch in DataLoader(bss.IndexedDataset(Numbers()), batch_size=4, sampler=sampler):
        update(sampler.table, batch["bss_index"])
    resumed = make()
    resumed.table.load_state_dict(sampler.table.state_dict())
    resumed.load_state_dict(sampler.state_dict(), position=0)  # as frameworks do that skip the batches themselves
    resumed.table.synchronize()
    assert epochs(resumed, range(1, 3)) == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 4, 5])
def test_an_epoch_that_is_cut_short_raises_no_alarm(workers, stop):
    assert epochs(make(), range(3), stop=stop, num_workers=workers) == []


@pytest.mark.parametrize("kind", [SelfPacedSampler, ResamplingSampler], ids=lambda kind: kind.__name__)
def test_a_sample_that_comes_again_at_the_end_does_not_make_a_short_epoch_look_full_of_holes(kind):
    """The padding of ranks repeats the first samples of the order, and draws with replacement any."""
    n = N - 3
    table = filled(n)
    samplers = [make(kind, table=table, n=n, num_replicas=2, rank=rank) for rank in range(2)]
    with warned() as texts:
        for epoch in range(3):
            samplers[0].set_epoch(epoch)
            samplers[1].set_epoch(epoch)
            for sampler in samplers:
                update(table, torch.tensor(list(itertools.islice(sampler, 4))))
            table.synchronize()
    assert texts == []


def test_ignored_targets_raise_no_alarm_of_missing_scores():
    sampler, target = make(), torch.arange(N) % 3 - 1
    loader = DataLoader(bss.IndexedDataset(Numbers()), batch_size=4, sampler=sampler)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for batch in loader:
                z = torch.randn(4, 2)
                sampler.table.update(batch["bss_index"], unimodal=[z, z], fused=z, target=target[batch["bss_index"]])
            sampler.table.synchronize()
    assert ["negative target" in str(warning.message) for warning in told] == [True]


# ---- another run ----


def test_a_second_run_with_the_scores_of_the_first_is_warned_of_once():
    sampler = make(table=ScoreTable(N))
    assert epochs(sampler, range(3)) == []
    (told,) = epochs(sampler, range(3))
    text = str(told.message)
    assert "a training up to epoch 2" in text and "call table.reset()" in text and told.filename == __file__
    assert epochs(sampler, range(3)) == []


def test_another_sampler_on_the_same_table_is_no_new_start():
    table = ScoreTable(N)
    epochs(make(table=table), range(2))
    (told,) = epochs(make(table=table, seed=1), range(2))
    assert "table.reset()" in str(told.message)


def test_a_curriculum_that_was_scored_once_is_another_runs_too():
    table = ScoreTable(N)
    scoring_pass(table)
    epochs(bss.CurriculumSampler(N, table=table), range(3), keep=lambda step: False)
    (told,) = epochs(bss.CurriculumSampler(N, table=table), range(3), keep=lambda step: False)
    assert "table.reset()" in str(told.message)


@pytest.mark.parametrize(
    ("begin", "length"),
    [(ScoreTable.reset, 1), (ScoreTable.reset, 3), (scoring_pass, 3)],
    ids=["reset after one epoch", "reset after three", "scored anew"],
)
def test_after_a_reset_or_a_pass_over_everything_another_run_is_as_the_first(begin, length):
    sampler, new = make(table=ScoreTable(N)), make(table=ScoreTable(N))
    told = epochs(sampler, range(length))
    begin(sampler.table)
    begin(new.table)
    told += epochs(sampler, range(length)) + epochs(new, range(length))
    assert torch.equal(sampler.table.loss, new.table.loss)
    assert sampler.global_order().tolist() == new.global_order().tolist()
    assert told == []


def test_with_a_history_a_pass_does_not_make_the_table_new():
    table = ScoreTable(N, momentum=0.5)
    sampler = make(table=table)
    epochs(sampler, range(2))
    scoring_pass(table)
    (told,) = epochs(sampler, range(2))
    assert "table.reset()" in str(told.message)


def test_a_reset_in_the_middle_of_a_run_of_one_epoch_freezes_the_order_anew():
    """Curricula of one epoch: the next fold's epoch 0 is the same number again."""
    table = ScoreTable(N)
    scoring_pass(table)
    sampler = bss.CurriculumSampler(N, table=table, shuffle=False)
    sampler.set_epoch(0)
    before = sampler.global_order().tolist()
    list(sampler)
    table.reset()
    table.update(torch.arange(N), similarity=torch.zeros(N), loss=torch.arange(N).flip(0).float())
    table.synchronize(scoring_pass=True)
    sampler.set_epoch(0)
    assert sampler.global_order().tolist() == table.difficulty().argsort()[: len(before)].tolist()


def test_orders_that_are_only_looked_at_and_fixed_difficulties_are_no_runs():
    fixed = bss.SelfPacedSampler(N, difficulty=torch.rand(N))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sampler in (fixed, make()):
            for epoch in (0, 3, 0, 1, 0):
                sampler.set_epoch(epoch)
                sampler.global_order()
        for epoch in (0, 1, 0):
            fixed.set_epoch(epoch)
            assert len(list(fixed)) == N


# ---- the data set ----


@scored_kinds
def test_a_data_set_that_grows_is_refused_when_the_next_epoch_begins(kind):
    sampler, data = make(kind), Numbers()
    indexed = bss.IndexedDataset(data)
    assert epochs(sampler, range(2), data=indexed) == []
    data.items += range(100, 116)
    with pytest.raises(ValueError, match=r"has 40 samples, and the sampler orders 24.*make both anew"):
        epochs(sampler, range(2, 4), data=indexed)
    with pytest.raises(ValueError, match="has 40 samples"):  # before the first epoch, too
        epochs(make(kind), range(2), data=indexed)


@pytest.mark.parametrize("workers", [0, 2])
def test_without_a_table_a_growing_data_set_is_noticed_by_its_length_before(workers):
    sampler, data = bss.UniformSampler(N), Numbers()
    loader = DataLoader(data, batch_size=4, sampler=sampler, num_workers=workers)
    sampler.set_epoch(0)
    list(loader)
    data.items.append(N)
    sampler.set_epoch(1)
    with pytest.raises(ValueError, match="had 24 samples when the sampler began and has 25 now"):
        list(loader)


def halves():
    return [bss.IndexedDataset(Numbers(N // 2)), bss.IndexedDataset(Numbers(N // 2, first=N // 2))]


@pytest.mark.parametrize(
    "joined",
    [
        ConcatDataset(halves()),
        halves()[0] + halves()[1],
        ConcatDataset([ConcatDataset(halves()[:1]), halves()[1]]),
        Subset(ConcatDataset(halves()), range(N)),
    ],
    ids=["concatenation", "sum", "nested", "part of one"],
)
def test_several_numberings_in_one_loader_are_refused(joined):
    with pytest.raises(ValueError, match=r"2 IndexedDatasets .*bss\.IndexedDataset\(ConcatDataset\(\[a, b\]\)\)"):
        epochs(make(), range(1), data=joined)
    with pytest.raises(ValueError, match="2 IndexedDatasets"):
        bss.score_dataset(torch.nn.Linear(1, 1), DataLoader(joined), ScoreTable(N))


@pytest.mark.parametrize(
    "part",
    [
        Subset(bss.IndexedDataset(Numbers(2 * N)), range(0, 2 * N, 2)),
        Subset(bss.IndexedDataset(Numbers(N)), torch.randperm(N).tolist()),
        random_split(bss.IndexedDataset(Numbers(2 * N)), [N, N])[0],
    ],
    ids=["every second", "another order", "random_split"],
)
def test_a_part_of_a_numbering_is_seen_and_refused(part):
    with pytest.raises(ValueError, match=r"bss\.IndexedDataset\(Subset\(dataset, indices\)\)"):
        epochs(make(), range(1), data=part)


def test_the_right_way_round_is_accepted():
    one, other = Numbers(N // 2), Numbers(N // 2, first=N // 2)
    right = [
        bss.IndexedDataset(ConcatDataset([one, other])),
        bss.IndexedDataset(Subset(Numbers(2 * N), range(0, 2 * N, 2))),
        Subset(bss.IndexedDataset(Numbers(N)), range(N)),
        bss.IndexedDataset(ConcatDataset(halves())),  # numbered anew from outside
    ]
    for data in right:
        assert epochs(make(), range(3), data=data) == []


def test_a_part_without_a_table_is_no_matter():
    sampler = bss.SelfPacedSampler(N, difficulty=torch.rand(N))
    part = Subset(bss.IndexedDataset(Numbers(2 * N)), range(N, 2 * N))
    assert sorted(torch.cat([batch["number"] for batch in DataLoader(part, sampler=sampler)]).tolist()) == list(
        range(N, 2 * N)
    )


def test_other_samplers_of_a_loader_are_left_alone():
    data = bss.IndexedDataset(Numbers(2 * N))
    assert len(list(DataLoader(data, sampler=SubsetRandomSampler(range(N))))) == N


@pytest.mark.parametrize("batch_size", [4, None])
def test_the_data_set_is_seen_whatever_way_the_loader_asks(batch_size):
    sampler = make()
    sampler.set_epoch(0)
    with pytest.raises(ValueError, match="has 25 samples"):
        list(DataLoader(bss.IndexedDataset(Numbers(N + 1)), batch_size=batch_size, sampler=sampler))


def test_an_order_and_its_table_are_on_the_cpu_whatever_the_script_has_set():
    for kind in SAMPLERS:
        options = {"class_of": torch.arange(N) % 3} if kind is ClassMatchedSampler else {}
        options |= {"difficulty": torch.rand(N)} if kind.uses_scores else {}
        options |= {} if kind.__name__ in ("SelfPacedSampler", "UniformSampler") else {"pacing": lambda epoch: 0.7}
        expected = kind(N, **options)
        with torch.device("meta"):
            sampler = kind(N, **options, drop_last=True, batch_size=5)
            sampler.set_epoch(0)
            assert len(list(sampler)) % 5 == 0
        assert sampler.global_order().tolist() == expected.global_order().tolist()


# ---- what frameworks do with a loader, in a few lines ----


def pacing(epoch):
    """Epochs of 8, 16, 24 and 24 samples."""
    return min(1.0, (epoch + 1) / 3 + 1e-9)


def growing(**options):
    return bss.CurriculumSampler(N, table=filled(), pacing=pacing, **options)


def loader_of(sampler, **options):
    return DataLoader(bss.IndexedDataset(Numbers(sampler.size)), batch_size=4, sampler=sampler, **options)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("updates", [True, False])
def test_a_length_that_is_asked_for_once_cuts_growing_epochs_and_is_told_once(workers, updates):
    """Composer, Keras, Lightning without reloading: ``islice(loader, len(loader) of the first epoch)``."""
    sampler = growing()
    loader = loader_of(sampler, num_workers=workers, prefetch_factor=1 if workers else None)
    steps = len(loader)
    with warned() as texts:
        for epoch in range(4):
            sampler.set_epoch(epoch)
            for batch in itertools.islice(loader, steps):
                if updates:
                    update(sampler.table, batch["bss_index"])
            sampler.table.synchronize()
    (text,) = texts
    assert "epoch 1 has 16 samples and was left after about" in text and "where epoch 0 ended" in text


@pytest.mark.parametrize("how", ["asked in every epoch", "a limit of the user's own", "one size"])
def test_a_length_that_is_asked_for_anew_or_a_limit_raises_no_alarm(how):
    sampler = growing() if how != "one size" else make()
    loader = loader_of(sampler)
    first = len(loader)
    with warned() as texts:
        for epoch in range(4):
            sampler.set_epoch(epoch)
            steps = {"asked in every epoch": len(loader) if how == "asked in every epoch" else 0, "one size": first}
            list(itertools.islice(loader, steps.get(how, 5)))
    assert texts == []


def test_an_iterator_that_is_taken_before_the_epoch_is_set_is_told_once():
    """Keras with ``steps_per_epoch``, Ignite with a fixed ``epoch_length``: the old iterator goes on."""
    sampler = growing()
    loader = loader_of(sampler)
    with warned() as texts:
        batches = iter(loader)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for _ in range(2):
                try:
                    next(batches)
                except StopIteration:
                    batches = iter(loader)
                    next(batches)
    assert sum("goes on after set_epoch(2), in the order of epoch 1" in text for text in texts) == 1


@pytest.mark.parametrize("peek", [1, 2])
def test_a_pass_before_the_first_epoch_is_no_epoch(peek):
    """Keras builds its network by the loader's first batch; others look at the data before they begin."""
    sampler, new = make(table=ScoreTable(N)), make(table=ScoreTable(N))
    loader = loader_of(sampler)
    for _ in range(peek):
        next(iter(loader))
    assert epochs(sampler, range(3), loader=loader) == []
    assert epochs(new, range(3)) == []
    assert sampler.global_order().tolist() == new.global_order().tolist()


def test_a_whole_pass_before_the_first_epoch_is_no_epoch():
    sampler = growing()
    loader = loader_of(sampler)
    assert len(list(loader)) == 2
    assert epochs(sampler, range(3), loader=loader) == []


@pytest.mark.parametrize("stop", [None, 4])
def test_epochs_that_nobody_sets_are_told_once(stop):
    """A loop without set_epoch, whether it ends its passes or not, and CombinedLoader, which begins a loader anew."""
    sampler = make()
    loader = loader_of(sampler)
    with warned() as texts:
        for _ in range(3):
            list(itertools.islice(loader, stop))
    (text,) = texts
    assert "a second pass over epoch 0 sees the same order again: call sampler.set_epoch(epoch)" in text


def test_the_shorter_one_of_two_loaders_begins_again_and_says_so():
    sampler = growing()
    sampler.set_epoch(0)
    with warned() as texts:
        list(itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader_of(sampler))), 6))
    assert len(texts) == 1 and "a second pass over epoch 0" in texts[0]


@pytest.mark.parametrize("first", [range(1), range(4)])
@pytest.mark.parametrize("kind", [make, growing, lambda: bss.SelfPacedSampler(N, difficulty=torch.rand(N))])
def test_an_order_that_is_thrown_away_is_told_without_updates_too(kind, first):
    """Opacus draws batches of its own, fastai's loader drops ``sampler=``: only set_epoch comes."""
    sampler = kind()
    for _ in first:
        sampler.set_epoch(0)  # more than once an epoch
    with warned() as texts:
        for epoch in range(4):
            sampler.set_epoch(epoch)
            list(DataLoader(bss.IndexedDataset(Numbers()), batch_size=4, shuffle=True))
    (text,) = texts
    assert "epoch 0 is over, and nobody has iterated over the sampler" in text
    assert "torch.utils.data.DataLoader(..., sampler=sampler)" in text


@pytest.mark.parametrize(("replicas", "rank", "told"), [(1, 0, 1), (1, 1, 0), (None, 1, 1)])
def test_where_one_rank_reads_for_all_the_others_do_not_miss_their_share(monkeypatch, replicas, rank, told):
    """Accelerate's dispatcher; a sampler that shares its order itself is read on every rank."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    sampler = bss.UniformSampler(N, num_replicas=replicas, rank=None if replicas is None else 0)
    with warned() as texts:
        for epoch in range(3):
            sampler.set_epoch(epoch)
    assert ["nobody has iterated over the sampler" in text for text in texts] == [True] * told


def test_an_iterator_that_is_taken_at_an_epochs_end_hides_nothing():
    """Keras takes the next epoch's iterator at the end of this one, and drops it."""
    sampler = make()
    loader = loader_of(sampler)
    with warned() as texts:
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for batch in loader:
                update(sampler.table, batch["bss_index"])
            iter(sampler)
            sampler.table.synchronize()
    assert len(texts) == 1 and "a second pass" in texts[0]  # and not that nobody has iterated


def test_a_sampler_that_is_never_asked_for_anything_is_told_by_its_table_once():
    """sentence-transformers makes a sampler of its own, and nobody sets an epoch."""
    sampler = make(table=ScoreTable(N))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(4):
            for batch in DataLoader(bss.IndexedDataset(Numbers()), batch_size=4, shuffle=True):
                update(sampler.table, batch["bss_index"])
            sampler.table.synchronize()
    (warning,) = told
    text = str(warning.message)
    assert warning.filename == __file__
    assert "2 epochs have updated the table, and nobody has asked its sampler for an order" in text


def test_a_table_whose_sampler_is_asked_or_that_has_none_says_nothing():
    alone, table = ScoreTable(N), ScoreTable(N)
    sampler, unused = make(table=table), make(table=table, seed=1)
    with warned() as texts:
        for epoch in range(4):
            sampler.set_epoch(epoch)
            update(table, torch.tensor(list(sampler)))
            for one in (table, alone):
                update(one, torch.arange(N))
                one.synchronize()
            scoring_pass(unused.table)
    assert texts == []


def test_scores_that_go_to_another_copy_of_the_table_are_told_once():
    """sklearn's clone, which skorch's cross-validation uses, deep-copies the sampler, and its table with it."""
    sampler = make()
    copied = copy.deepcopy(sampler)
    with warned() as texts:
        for epoch in range(3):
            copied.set_epoch(epoch)
            for batch in loader_of(copied):
                update(sampler.table, batch["bss_index"])
            sampler.table.synchronize()
    (text,) = texts
    assert "its scores went to another copy of the table" in text and "Update and close sampler.table" in text


def test_a_copy_that_is_updated_itself_and_a_kept_one_raise_no_alarm():
    sampler = make()
    copied = copy.deepcopy(sampler)
    assert epochs(sampler, range(2)) == []
    kept = copy.deepcopy(sampler)
    assert epochs(copied, range(2)) == [] and epochs(sampler, range(2, 4)) == []
    assert epochs(kept, range(2, 4)) == []
    assert kept.global_order().tolist() == sampler.global_order().tolist()


# ---- a loop that was stopped, and begins again ----


def stopped_in_epoch_1():
    """The cell of a notebook that was interrupted: (table, sampler)."""
    table = bss.ScoreTable(8)
    sampler = bss.SelfPacedSampler(8, table=table, seed=0)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for index in iter(sampler):
            table.update([index], similarity=[0.5], loss=[float(index)])
            if (epoch, index) == (1, 3):
                break
        else:
            table.synchronize()
    return table, sampler


def test_a_stopped_loop_that_begins_again_is_told_to_discard():
    table, sampler = stopped_in_epoch_1()
    with pytest.raises(ValueError, match=r"stopped in epoch 1, .* table\.discard\(\) forgets those, table\.reset\(\)"):
        sampler.set_epoch(0)
    closed = table.loss.clone()
    table.discard()
    assert not table.is_open and torch.equal(table.loss, closed)
    table.synchronize()
    assert torch.equal(table.loss, closed) and table.age.eq(0).all()
    table.reset()
    sampler.set_epoch(0)
    assert sampler.epoch == 0


def test_a_forgotten_synchronize_is_told_as_that():
    _, sampler = stopped_in_epoch_1()
    with pytest.raises(ValueError, match=r"not closed yet: call table\.synchronize\(\)"):
        sampler.set_epoch(2)
