from collections import UserDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Dataset, default_collate

from bss.data.indexed import IndexedDataset, Key, SeededViews, StandIn, check_numbering, index_and_sample
from bss.data.splits import stratified_split
from bss.utils.errors import DataError
from bss.utils.seeding import generator, mixed_seed, seeded

CLASSES = tuple("ABCDEF")


class Noise(Dataset):
    """A sample is its index and what torch's default generator gives."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {"index": index, "noise": torch.rand(3)}


class Broken(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        torch.rand(3)
        raise DataError("no such file")


def noise(seed, epoch, index):
    return SeededViews(Noise(), seed)[epoch, index]["noise"]


# ---- seeds ---------------------------------------------------------------------------------------------------------


def test_a_mixed_seed_is_a_63_bit_number_that_never_changes():
    assert mixed_seed("order", 0, 1) == mixed_seed("order", 0, 1)
    assert all(0 <= mixed_seed("order", seed) < 2**63 for seed in range(200))
    assert max(mixed_seed("order", seed) for seed in range(200)) > 2**61


def test_a_mixed_seed_differs_by_purpose():
    assert mixed_seed("order", 1, 2) != mixed_seed("crop", 1, 2)


def test_a_mixed_seed_differs_by_the_order_of_its_numbers():
    assert mixed_seed("order", 0, 1) != mixed_seed("order", 1, 0)


def test_ten_thousand_pairs_of_seed_and_epoch_have_ten_thousand_mixed_seeds():
    assert len({mixed_seed("order", seed, epoch) for seed in range(100) for epoch in range(100)}) == 10_000


def test_a_mixed_seed_refuses_negative_numbers():
    with pytest.raises(ValueError):
        mixed_seed("order", -1)


def test_a_generator_of_its_own_neither_reads_nor_moves_the_global_one():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    one = torch.rand(2, generator=generator("order", 3))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(torch.rand(2, generator=generator("order", 3)), one)


def test_inside_seeded_the_global_generator_is_a_function_of_purpose_and_numbers():
    drawn = []
    for before in (1, 2):
        torch.manual_seed(before)
        with seeded("view", 4, 5):
            drawn.append(torch.rand(2))
    with seeded("view", 5, 4):
        drawn.append(torch.rand(2))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_an_error_inside_seeded_gives_the_global_generator_back_too():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with pytest.raises(KeyError), seeded("view", 4):
        torch.rand(2)
        raise KeyError
    assert torch.equal(torch.rand(2), expected)


# ---- SeededViews ---------------------------------------------------------------------------------------------------


def test_a_view_is_the_same_whatever_was_drawn_before():
    one = noise(0, 3, 5)
    torch.rand(17)
    noise(0, 3, 4)
    assert torch.equal(noise(0, 3, 5), one)


@pytest.mark.parametrize(("seed", "epoch", "index"), [(1, 3, 5), (0, 4, 5), (0, 3, 6), (3, 0, 5), (0, 5, 3)], ids=str)
def test_another_seed_epoch_or_index_gives_another_view(seed, epoch, index):
    assert not torch.equal(noise(seed, epoch, index), noise(0, 3, 5))


def test_every_pair_of_epoch_and_index_has_a_view_of_its_own():
    views = {tuple(noise(0, epoch, index).tolist()) for epoch in range(8) for index in range(8)}
    assert len(views) == 64


def test_a_view_is_of_the_sample_with_that_index():
    views = SeededViews(Noise(), 0)
    assert [views[2, index]["index"] for index in (5, 0, 7)] == [5, 0, 7] and len(views) == 8


def test_a_view_leaves_the_global_random_numbers_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    noise(0, 1, 2)
    assert torch.equal(torch.rand(4), expected)


def test_a_sample_that_cannot_be_read_leaves_the_global_random_numbers_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    with pytest.raises(DataError, match="no such file"):
        SeededViews(Broken(), 0)[0, 1]
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_views_do_not_depend_on_workers_or_batches(workers, batch_size):
    keys = [(2, index) for index in (6, 1, 4, 0, 7, 3)]
    torch.manual_seed(workers)
    loader = DataLoader(SeededViews(Noise(), 9), batch_size=batch_size, sampler=keys, num_workers=workers)
    loaded = torch.cat([batch["noise"] for batch in loader])
    assert torch.equal(loaded, torch.stack([noise(9, 2, index) for _, index in keys]))


# ---- stratified_split ----------------------------------------------------------------------------------------------


def test_a_fifth_of_ten_and_of_five_samples_is_two_and_one():
    labels = [0] * 10 + [1] * 5
    rest, part = stratified_split(labels, 0.2, seed=0, classes="AB")
    assert [labels[i] for i in part] == [0, 0, 1] and len(rest) == 12


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    fraction=st.floats(0.05, 0.5),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_a_split_is_disjoint_covers_all_and_keeps_the_class_shares_within_one(counts, fraction, seed, data):
    labels = data.draw(st.permutations([c for c, count in enumerate(counts) for _ in range(count)]))
    try:
        rest, part = stratified_split(labels, fraction, seed=seed, classes=CLASSES)
    except DataError:
        assert fraction * len(labels) < len(counts) + 1  # only where the part cannot hold every class
        return
    assert sorted(rest + part) == list(range(len(labels)))
    assert rest == sorted(rest) and part == sorted(part)
    assert abs(len(part) - fraction * len(labels)) < 1
    for c, count in enumerate(counts):
        own = sum(labels[i] == c for i in part)
        assert abs(own - count * len(part) / len(labels)) < 1
        assert own < count  # no class is taken away from training


def test_a_split_is_a_function_of_the_seed_alone():
    labels = [0, 1, 2] * 20
    torch.manual_seed(0)
    one = stratified_split(labels, 0.1, seed=0, classes=CLASSES)
    torch.manual_seed(1)
    assert stratified_split(labels, 0.1, seed=0, classes=CLASSES) == one
    assert stratified_split(labels, 0.1, seed=1, classes=CLASSES) != one


def test_a_class_with_a_single_sample_is_named_with_the_way_out():
    with pytest.raises(DataError, match=r"class C .*val_fraction=0"):
        stratified_split([0, 0, 1, 1, 2], 0.4, seed=0, classes=CLASSES)


def test_a_class_without_samples_does_not_stand_in_the_way():
    rest, part = stratified_split([0, 0, 2, 2], 0.5, seed=0, classes=CLASSES)
    assert (len(rest), len(part)) == (2, 2)


@pytest.mark.parametrize(
    ("labels", "fraction"),
    [
        ([0, 0, 1, 1, 2, 2], 0.1),  # a part of one sample for three classes
        ([0, 0, 1, 1, 2, 2], 0.9),  # a rest of none
        ([0, 0], 0.99),
        ([], 0.1),
    ],
)
def test_a_training_list_too_small_to_split_is_refused_with_the_way_out(labels, fraction):
    with pytest.raises(DataError, match=f"{len(labels)} training samples.*val_fraction="):
        stratified_split(labels, fraction, seed=0, classes=CLASSES)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 0, 1, 1, 6, 6], r"sample 4 has the label 6; 6 classes have the labels 0\.\.5"),
        ([0, 0, -1, -1], r"sample 2 has the label -1; 6 classes have the labels 0\.\.5"),
        ([0.0, 0.0, 1.0, 1.0], r"whole numbers in 0\.\.5, got 0\.0: .*int\(label\)"),
        (["A", "A", "B", "B"], r"whole numbers in 0\.\.5, got 'A': pass classes\.index\(name\)"),
    ],
)
def test_a_label_that_is_no_class_id_is_refused_with_what_is_allowed(labels, said):
    with pytest.raises(DataError, match=said):
        stratified_split(labels, 0.5, seed=0, classes=CLASSES)


def test_seeds_beyond_32_bits_are_refused_since_they_would_collide():
    with pytest.raises(ValueError, match=r"2\*\*32 - 1"):
        mixed_seed("order", 2**32 + 5, 0)
    assert mixed_seed("order", 2**32 - 1, 0) != mixed_seed("order", 0, 2**32 - 1)


# ---- IndexedDataset: samples that a data set cannot give ----


class Incomplete(Dataset):
    """Every fourth sample is missing, or another one stands in for it."""

    def __init__(self, *, kind, many=False):
        self.kind = kind
        if many:
            self.__getitems__ = lambda indices: [self[index] for index in indices]

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index % 4 == 3:
            return None if self.kind == "missing" else StandIn(index - 1, self[index - 1])
        return {"value": index} if self.kind == "dicts" else index


def whole(samples):
    return default_collate([sample for sample in samples if sample is not None])


@pytest.mark.parametrize(("many", "workers"), [(False, 0), (True, 0), (False, 2)])
def test_none_passes_through_for_a_collate_function_that_leaves_it_out(many, workers):
    data = IndexedDataset(Incomplete(kind="missing", many=many))
    assert data[3] is None and data.__getitems__([2, 3]) == [(2, 2), None]
    index, sample = zip(*DataLoader(data, 4, collate_fn=whole, num_workers=workers), strict=True)
    assert torch.cat(index).tolist() == torch.cat(sample).tolist() == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize("kind", ["dicts", "numbers"])
def test_a_stand_in_carries_the_index_of_the_sample_that_it_is(kind):
    loader = DataLoader(IndexedDataset(Incomplete(kind=kind)), 4)
    index, sample = zip(*map(index_and_sample, loader), strict=True)
    values = [part["value"] if kind == "dicts" else part for part in sample]
    assert torch.cat(index).tolist() == torch.cat(values).tolist() == [0, 1, 2, 2, 4, 5, 6, 6]


def test_a_data_set_that_leaves_samples_out_by_itself_is_refused_with_the_way_out():
    data = Noise()
    data.__getitems__ = lambda indices: [data[index] for index in indices if index % 2]
    with pytest.raises(ValueError, match=r"2 samples for 4 indices.*None in the place"):
        next(iter(DataLoader(IndexedDataset(data), 4)))


def test_a_view_of_a_missing_sample_is_missing():
    assert SeededViews(IndexedDataset(Incomplete(kind="missing")), 0)[Key(0, 3)] is None


class Mappings(Dataset):
    """Samples of a mapping that is no dict, as transformers' tokenizers return them."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return UserDict({"value": index})


def test_any_mapping_keeps_its_keys():
    data = Mappings()
    assert IndexedDataset(data)[2] == {"value": 2, "bss_index": 2}
    batch = next(iter(DataLoader(IndexedDataset(data), 3)))
    assert batch["value"].tolist() == batch["bss_index"].tolist() == [0, 1, 2]
    assert data[2] == {"value": 2}


# ---- the numbering of a loader's data set ----


def test_two_wrappers_of_one_data_set_number_alike():
    data = Noise()
    check_numbering(ConcatDataset([IndexedDataset(data), IndexedDataset(data)]))
    with pytest.raises(ValueError, match="2 IndexedDatasets"):
        check_numbering(ConcatDataset([IndexedDataset(Noise()), IndexedDataset(Noise())]))


def test_what_has_no_numbering_is_no_matter():
    for data in (None, [1, 2], Noise(), ConcatDataset([Noise(), Noise()])):
        check_numbering(data, num_samples=3)


def test_a_numbering_is_seen_through_the_librarys_own_wrappers():
    with pytest.raises(ValueError, match="has 8 samples, and the sampler orders 9"):
        check_numbering(SeededViews(IndexedDataset(Noise()), 0), num_samples=9)
