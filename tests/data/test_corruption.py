"""Mismatched pairs and wrong labels: how many, which, of which modality, and that all that is said of a part agrees."""

import itertools
import pickle
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset

from bss.data import rows
from bss.data.corruption import CorruptedSamples, corrupted, mislabelled, mismatched, recorded
from bss.data.indexed import IndexedDataset, Key, SeededViews, StandIn
from bss.data.rows import Row
from bss.data.splits import Corruption, Swap
from bss.data.tensors import TensorSamples, tensor_splits
from bss.utils.errors import DataError, RecipeError
from bss.utils.seeding import generator

TRIO = ("audio", "visual", "text")
CLASSES = ("a", "b", "c", "d")


def random(seed=0):
    return generator("test", seed)


def in_memory(num_train=20, num_val=10, num_test=8, modalities=TRIO, classes=CLASSES):
    """Every number says its sample and its modality: sample 7 has 7.0 of audio, 1007.0 of visual, 2007.0 of text."""
    count = num_train + num_val + num_test
    values = {name: torch.arange(count)[:, None] + 1000.0 * place for place, name in enumerate(modalities)}
    return tensor_splits(
        values,
        torch.arange(count) % len(classes),
        train=range(num_train),
        val=range(num_train, num_train + num_val) if num_val else None,
        test=range(num_train + num_val, count),
        names=[f"clip{i}" for i in range(count)],
        classes=classes,
    )


class Clips(Dataset):
    """Samples that are read one by one, as files are; with ``drawn`` every modality gets noise from the generator."""

    def __init__(self, tensors, drawn=False):
        self.tensors, self.drawn, self.read = tensors, drawn, []

    def __len__(self):
        return len(self.tensors)

    def __getitem__(self, index):
        self.read.append(index)
        sample = self.tensors[index]
        noise = {name: torch.rand(1) / 2 if self.drawn else 0 for name in TRIO}
        return {**{name: sample[name] + noise[name] for name in TRIO}, "label": sample["label"]}

    def listed_rows(self):
        labels = self.tensors.labels_N.tolist()
        return [Row(f"clip{i}", label, f"file{i}", f"speaker{i % 5}") for i, label in enumerate(labels)]


class Memory(Clips):
    random_views, in_memory = False, True


def one_by_one(data):
    """The same splits, read one by one; the training view is another object than what is scored, and is random."""
    return replace(
        data, train=Clips(data.train, drawn=True), score=Clips(data.score), val=Clips(data.val), test=Clips(data.test)
    )


def content(part):
    """(N, modalities) of whole numbers, and the labels: noise that is drawn is below one."""
    samples = [part[i] for i in range(len(part))]
    return [[int(sample[name]) for name in sample if name != "label"] for sample in samples], [
        sample["label"] for sample in samples
    ]


# ---- how many, and which -------------------------------------------------------------------------------------------


def test_a_fifth_of_ten_samples_are_two_pairs_each_of_another_modality():
    swaps = mismatched(10, ("audio", "visual"), 0.2, random())
    assert len(swaps) == 2 and {swap.modality for swap in swaps.values()} == {"audio", "visual"}
    assert all(swap.donor != sample and 0 <= swap.donor < 10 for sample, swap in swaps.items())


@pytest.mark.parametrize(
    "count, share, expected", [(10, 0.2, 2), (10, 0.0, 0), (10, 0.04, 0), (10, 0.06, 1), (7, 0.4, 3), (3, 0.99, 3)]
)
def test_the_number_of_corrupted_samples_is_the_rounded_share(count, share, expected):
    assert len(mismatched(count, ("a", "b"), share, random())) == expected
    assert len(mislabelled(count, 3, share, random())) == expected


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("names", [("a", "b"), TRIO])
def test_modalities_suffer_equally_and_pass_their_contents_on_in_a_circle(share, names):
    swaps = mismatched(60, names, share, random())
    by_modality = {name: {s: swap.donor for s, swap in swaps.items() if swap.modality == name} for name in names}
    sizes = [len(members) for members in by_modality.values()]
    assert max(sizes) - min(sizes) <= 1 and sum(sizes) == round(60 * share)
    for members in by_modality.values():
        assert all(sample != donor for sample, donor in members.items())
        if len(members) > 1:  # a permutation without a fixed point: every content is still there, once
            assert sorted(members.values()) == sorted(members)


def test_a_modality_with_a_single_sample_takes_any_other_and_the_odd_sample_is_any_modalitys():
    alone = [mismatched(4, ("a", "b"), 0.25, random(seed)) for seed in range(200)]
    assert all(len(swaps) == 1 for swaps in alone)
    pairs = Counter((sample, swap.modality, swap.donor) for swaps in alone for sample, swap in swaps.items())
    assert set(pairs) == {(s, m, d) for s, m, d in itertools.product(range(4), "ab", range(4)) if s != d}


def test_a_larger_share_corrupts_the_same_samples_and_more():
    for few, many in (
        (mismatched(50, TRIO, 0.2, random()), mismatched(50, TRIO, 0.4, random())),
        (mislabelled(50, 4, 0.2, random()), mislabelled(50, 4, 0.4, random())),
    ):
        assert set(few) < set(many)
    assert few.items() <= many.items()  # of labels also which is the wrong one


def test_a_wrong_label_is_each_of_the_others_as_often():
    shifts = Counter(shift for seed in range(30) for shift in mislabelled(100, 4, 0.5, random(seed)).values())
    assert set(shifts) == {1, 2, 3} and sum(shifts.values()) == 1500
    assert all(abs(count - 500) < 4 * (1500 * 1 / 3 * 2 / 3) ** 0.5 for count in shifts.values())


# ---- the parts -----------------------------------------------------------------------------------------------------


def test_shares_of_nothing_leave_the_very_same_splits():
    data = in_memory()
    assert corrupted(data, pairs=0.0, labels=0.0, seed=3) is data


@pytest.mark.parametrize("make", [in_memory, lambda: one_by_one(in_memory())], ids=["in memory", "one by one"])
def test_of_a_mismatched_pair_one_modality_is_anothers_and_the_label_its_own(make):
    data = make()
    found = corrupted(data, pairs=0.5, seed=1)
    assert found.test is data.test and set(found.corrupted) == {"train", "val"}
    for name, first, count in (("train", 0, 20), ("val", 20, 10)):
        part, before = getattr(found, name), getattr(data, name)
        samples, labels = content(part)
        clean, right = content(before)
        swaps = found.corrupted[name].pairs
        assert len(swaps) == count / 2 and labels == right
        for i in range(count):
            own, changed = clean[i], samples[i]
            assert own[0] == first + i
            different = [TRIO[place] for place in range(3) if own[place] != changed[place]]
            assert different == ([swaps[i].modality] if i in swaps else [])
            if i in swaps:
                place = TRIO.index(swaps[i].modality)
                assert changed[place] == clean[swaps[i].donor][place]
    assert content(found.score) == content(found.train)
    assert torch.equal(found.labels_N, data.labels_N)


@pytest.mark.parametrize("make", [in_memory, lambda: one_by_one(in_memory())], ids=["in memory", "one by one"])
def test_all_that_speaks_of_labels_says_the_wrong_one_but_for_test(make):
    data = make()
    found = corrupted(data, labels=0.4, seed=1)
    assert found.test is data.test and found.listed["test"] is data.listed["test"]
    for part, known, before in (
        (found.train, found.labels_N, data.labels_N),
        (found.score, found.labels_N, data.labels_N),
        (found.val, found.listed["val"].labels_N, data.listed["val"].labels_N),
    ):
        wrong = known != before
        assert int(wrong.sum()) == round(0.4 * len(before)) and 0 <= int(known.min()) <= int(known.max()) < 4
        assert content(part)[1] == known.tolist() == [row.label for row in part.listed_rows()]
    samples, _ = content(found.train)
    assert samples == content(data.train)[0] and found.names is data.names
    assert set(found.corrupted["train"].labels) == set(
        torch.nonzero(found.labels_N != data.labels_N).flatten().tolist()
    )


def test_a_validation_part_whose_labels_are_not_listed_is_corrupted_as_one_whose_labels_are():
    data = in_memory()
    unknown = corrupted(replace(data, listed={}), labels=0.4, seed=1)
    assert unknown.listed == {}
    assert content(unknown.val) == content(corrupted(data, labels=0.4, seed=1).val)


def test_without_a_validation_part_the_training_part_is_the_same():
    without = corrupted(replace(in_memory(), val=None), pairs=0.3, labels=0.3, seed=1)
    assert without.val is None and set(without.corrupted) == {"train"}
    both = corrupted(in_memory(), pairs=0.3, labels=0.3, seed=1)
    assert content(without.train) == content(both.train)


def test_pairs_and_labels_are_drawn_apart_and_one_seed_draws_the_same_again():
    data = in_memory(num_train=100)
    both, pairs, labels = (
        corrupted(data, seed=4, **shares).corrupted["train"]
        for shares in ({"pairs": 0.4, "labels": 0.4}, {"pairs": 0.4}, {"labels": 0.4})
    )
    assert (both.pairs, both.labels) == (pairs.pairs, labels.labels) and set(both.pairs) != set(both.labels)
    again, other = (corrupted(data, pairs=0.4, labels=0.4, seed=seed).corrupted["train"] for seed in (4, 5))
    assert again == both and set(other.pairs) != set(both.pairs) and set(other.labels) != set(both.labels)
    assert recorded(again) == recorded(both) and recorded(other)["hash"] != recorded(both)["hash"]
    assert recorded(both) | {"hash": ""} == {"pairs": 40, "labels": 40, "hash": ""}


def test_the_record_tells_a_pair_from_its_reverse_and_does_not_depend_on_the_order():
    one = Corruption({1: Swap("audio", 2), 3: Swap("text", 1)}, {5: 1})
    assert recorded(one) == recorded(Corruption(dict(reversed(one.pairs.items())), {5: 1}))
    assert recorded(one)["hash"] != recorded(Corruption({2: Swap("audio", 1), 3: Swap("text", 1)}, {5: 1}))["hash"]
    assert recorded(one)["hash"] != recorded(Corruption(one.pairs, {5: 2}))["hash"]


# ---- what the engine asks of a data set ----------------------------------------------------------------------------


def test_samples_in_memory_stay_so_and_are_shared_by_both_views():
    data = in_memory()
    found = corrupted(data, pairs=0.5, labels=0.5, seed=1)
    assert type(found.train) is type(found.val) is TensorSamples and found.score is found.train
    assert found.train.labels_N is found.labels_N or torch.equal(found.train.labels_N, found.labels_N)
    assert int(data.train[0]["audio"]) == 0  # the task's own are not written to
    assert content(data.train)[1] == data.labels_N.tolist()


def test_a_wrapped_data_set_says_what_it_is_made_of():
    drawn = corrupted(one_by_one(in_memory()), pairs=0.5, seed=1).train
    assert (drawn.random_views, drawn.in_memory, len(drawn)) == (True, False, 20)
    data = in_memory()
    told = corrupted(replace(data, train=Memory(data.train)), pairs=0.5, seed=1).train
    assert (told.random_views, told.in_memory) == (False, True)
    plain = corrupted(replace(data, train=[data.train[i] for i in range(20)]), pairs=0.5, seed=1).train
    assert plain.listed_rows() == [] and (plain.random_views, plain.in_memory) == (True, False)
    copy = pickle.loads(pickle.dumps(told))
    assert content(copy) == content(told)


def test_only_mismatched_samples_cost_a_second_access():
    data = one_by_one(in_memory())
    found = corrupted(data, pairs=0.5, seed=1)
    data.val.read.clear()
    found.val.__getitems__(list(range(10)))
    assert len(data.val.read) == 15


def test_batches_are_the_samples_one_by_one_and_ask_for_all_donors_at_once():
    data = in_memory()

    class Batched(Clips):
        def __getitems__(self, indices):
            self.read.append(list(indices))
            return [self.tensors[i] for i in indices]

    wrapped = corrupted(replace(data, score=Batched(data.score)), pairs=0.5, labels=0.5, seed=1)
    found, swaps = wrapped.score, wrapped.corrupted["train"].pairs
    found.dataset.read.clear()
    wanted = [3, 1, 7, 1, 6, 4, 9, 8]
    batch = found.__getitems__(wanted)
    assert found.dataset.read == [wanted, [swaps[i].donor for i in (3, 1, 7, 6, 4, 9, 8) if i in swaps]]
    assert 2 <= len(found.dataset.read[1]) <= 6
    assert [int(sample["text"]) for sample in batch] == [int(found[i]["text"]) for i in wanted]
    clean = next(i for i in range(20) if i not in swaps)
    found.dataset.read.clear()
    found[clean]
    assert found.dataset.read == [[clean]]  # an empty batch is no batch


def test_random_views_are_those_of_the_seed_and_what_is_not_swapped_is_as_without():
    data = one_by_one(in_memory())
    found = corrupted(data, pairs=0.5, seed=1)
    swaps = found.corrupted["train"].pairs
    clean, views = (SeededViews(IndexedDataset(part), 7) for part in (data.train, found.train))
    keys = [Key(epoch, i) for epoch in range(2) for i in range(20)]
    one = views.__getitems__(keys)
    for key, sample, plain in zip(keys, one, clean.__getitems__(keys), strict=True):
        kept = [name for name in TRIO if key.index not in swaps or swaps[key.index].modality != name]
        assert all(torch.equal(sample[name], plain[name]) for name in kept) and len(kept) >= 2
    torch.manual_seed(0)
    torch.rand(5)
    again = views.__getitems__(keys[::-1])[::-1]
    assert all(torch.equal(a[name], b[name]) for a, b in zip(one, again, strict=True) for name in TRIO)
    sample, swap = next(iter(swaps.items()))  # a view of the donor in every epoch
    assert one[sample][swap.modality] != one[20 + sample][swap.modality]


def test_equal_inputs_are_told_from_those_that_are_equal_no_more():
    data = one_by_one(in_memory(num_train=6))
    same = [row._replace(content="file") for row in data.train.listed_rows()]
    data.train.listed_rows = lambda: same
    found = corrupted(data, pairs=0.5, seed=1)
    listed = found.train.listed_rows()
    assert [row.name for row in listed] == [f"clip{i}" for i in range(6)]
    untouched = [row.content for i, row in enumerate(listed) if i not in found.corrupted["train"].pairs]
    assert untouched == ["file"] * 3 and len({row.content for row in listed}) > 1
    assert [row.group for row in listed] == [row.group for row in same]
    assert rows.group_ids(found.test) == rows.group_ids(data.test)


def test_a_sample_that_stands_for_another_is_as_it_would_be_in_its_own_place():
    data = in_memory()

    class Gaps(Clips):
        def __getitem__(self, index):
            return (
                None if index == 0 else StandIn(3, super().__getitem__(3)) if index == 2 else super().__getitem__(index)
            )

    swaps = {1: Swap("text", 2), 3: Swap("audio", 4), 5: Swap("text", 0)}
    found = CorruptedSamples(Gaps(data.train), Corruption(swaps, {3: 1}), 4)
    assert found[0] is None and found[5] is None
    assert found[2].index == 3 and (int(found[2].sample["audio"]), found[2].sample["label"]) == (4, 0)
    assert int(found[1]["text"]) == 2003


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [{"pairs": 1.0}, {"pairs": -0.1}, {"labels": float("nan")}])
def test_a_share_out_of_its_range_is_refused(shares):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        corrupted(in_memory(), seed=0, **shares)


def test_what_cannot_be_corrupted_is_refused_with_the_way_out():
    with pytest.raises(RecipeError, match=r"corrupt_pairs=0\.2 .* audio alone: set corrupt_pairs=0"):
        corrupted(in_memory(modalities=("audio",)), pairs=0.2, seed=0)
    with pytest.raises(RecipeError, match=r"corrupt_labels=0\.2 .*: set corrupt_labels=0"):
        corrupted(in_memory(classes=("a",)), labels=0.2, seed=0)
    with pytest.raises(DataError, match="one sample"):
        corrupted(in_memory(num_val=1), pairs=0.9, seed=0)
    with pytest.raises(ValueError, match="corrupted already"):
        corrupted(corrupted(in_memory(), pairs=0.2, seed=0), labels=0.2, seed=0)
