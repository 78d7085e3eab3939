"""Folds, and test parts that a seed draws."""

import pytest

from bss.data.splits import drawn_test, group_folds, pairs_of_groups, stratified_folds, stratified_sample, training_rows
from bss.utils.errors import DataError

LABELS = [0, 1, 0, 2, 1, 0, 1, 0, 2, 0, 2]  # five, three and three


def count(rows):
    return [sum(LABELS[row] == label for row in rows) for label in range(3)]


def test_every_sample_is_in_one_fold_and_shares_differ_by_one_at_most():
    folds = stratified_folds(LABELS, 3, classes="abc")
    assert sorted(row for fold in folds for row in fold) == list(range(11))
    assert sorted(map(len, folds)) == [3, 4, 4]
    counts = [count(fold) for fold in folds]
    assert [column for column in zip(*counts, strict=True)][1:] == [(1, 1, 1), (1, 1, 1)]
    assert sorted(each[0] for each in counts) == [1, 2, 2]
    assert folds == stratified_folds(LABELS, 3, classes="abc") and all(fold == sorted(fold) for fold in folds)


def test_a_class_with_fewer_samples_than_folds_is_named():
    with pytest.raises(DataError, match=r"class b has 3 samples, which cannot be dealt to 4 folds: fewer folds"):
        stratified_folds(LABELS, 4, classes="abc")
    with pytest.raises(DataError, match="there are no samples to deal to 2 folds"):
        stratified_folds([], 2, classes="abc")


def test_groups_are_dealt_whole_and_in_the_order_that_is_given():
    groups = ["d", "a", "b", "a", "c", "e", "d"]
    order = {"a": (1, 40), "b": (0, 30), "c": (0, 20), "d": (1, 20), "e": (0, 50)}  # c b e d a
    assert group_folds(groups, 2, noun="actor", order=order) == [[1, 3, 4, 5], [0, 2, 6]]  # c e a, and b d
    plain = group_folds(groups, 2, noun="actor")
    assert sorted(plain[0] + plain[1]) == list(range(7)) and plain == group_folds(groups, 2, noun="actor")
    assert sorted(len({groups[row] for row in fold}) for fold in plain) == [2, 3]
    with pytest.raises(DataError, match=r"5 actors cannot be dealt to 6 folds: --set folds=5 or fewer"):
        group_folds(groups, 6, noun="actor")


def test_each_fold_has_as_many_of_each_sex_as_any_other_or_one_more_and_alike_ages():
    people = {f"{n:02}": ("FM"[n % 7 < 4], 20 + n * n % 47) for n in range(91)}
    folds = group_folds(list(people), 5, noun="actor", order=people)
    for sex in "FM":
        counts = [sum(people[f"{row:02}"][0] == sex for row in fold) for fold in folds]
        assert max(counts) - min(counts) <= 1
    means = [sum(people[f"{row:02}"][1] for row in fold) / len(fold) for fold in folds]
    assert max(means) - min(means) < 3


def test_three_speakers_have_three_pairs_in_the_order_of_their_names():
    assert pairs_of_groups(["b", "a", "c", "a"]) == [[0, 1, 3], [1, 2, 3], [0, 2]]  # a and b, a and c, b and c
    with pytest.raises(DataError, match="2 groups have no pair to test"):
        pairs_of_groups(["a", "b", "a"])


def test_a_sample_has_the_size_that_was_asked_for_and_each_class_its_share():
    rest, part = stratified_sample([0] * 60 + [1] * 30, 30, seed=0, classes="ab")
    assert len(part) == 30 and sum(row < 60 for row in part) == 20 and sorted(rest + part) == list(range(90))
    assert stratified_sample([0] * 60 + [1] * 30, 30, seed=0, classes="ab") == (rest, part)
    assert stratified_sample([0] * 60 + [1] * 30, 30, seed=1, classes="ab")[1] != part
    assert stratified_sample([0] * 60 + [1] * 30, 30, seed=0, classes="ab", purpose="test part")[1] != part
    assert stratified_sample(LABELS, 11, seed=0, classes="abc") == ([], list(range(11)))


@pytest.mark.parametrize("size", [2, 9, 12])
def test_a_sample_that_leaves_a_class_out_is_refused(size):
    with pytest.raises(DataError, match=f"sample of {size} cannot be drawn from 11 samples of 3 classes, the smallest"):
        stratified_sample(LABELS, size, seed=0, classes="abc")


def test_a_test_part_is_a_fold_or_what_the_seed_draws():
    given = {"folds": 3, "count": 4, "classes": "abc"}
    assert drawn_test(LABELS, fold=2, seed=0, **given) == stratified_folds(LABELS, 3, classes="abc")[2]
    drawn = drawn_test(LABELS, fold=None, seed=0, **given)
    assert len(drawn) == 4 and drawn != drawn_test(LABELS, fold=None, seed=1, **given)


def test_validation_is_carved_before_so_many_samples_are_left_to_train():
    labels, train = [0, 1] * 20, list(range(10, 40))
    given = {"val_fraction": 0.2, "seed": 0, "classes": "ab"}
    whole, val = training_rows(labels, train, samples=None, **given)
    assert len(val) == 6 and sorted(whole + val) == train
    fewer, same = training_rows(labels, train, samples=4, **given)
    assert same == val and len(fewer) == 4 and set(fewer) < set(whole) and sum(row % 2 for row in fewer) == 2
    assert training_rows(labels, train, samples=None, val_fraction=0, seed=0, classes="ab") == (train, None)
    with pytest.raises(DataError, match="train_samples=25, but 24 samples are there to train"):
        training_rows(labels, train, samples=25, **given)
