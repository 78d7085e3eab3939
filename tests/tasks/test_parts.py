"""The validation part: carved, or a published list that may be a part of the training list."""

from dataclasses import replace

import pytest

from bss.data.datasets.clips import Clip
from bss.data.datasets.data_set import read
from bss.data.datasets.ks import DATA_SET as KS
from bss.recipes import cremad, ks, twitter15
from bss.tasks import parts
from bss.utils.errors import DataError, DataNotFoundError, RecipeError

CLASSES = ("a", "b")


def clips(names, *, of="train.csv", label=0):
    return [Clip(name, label, None, (), listed=f"{of} line {i}") for i, name in enumerate(names, start=1)]


def validated(train, test, val, *, published=True):
    return parts.validation(
        lambda split: (val, ["gone"]), train, test, published=published, fraction=0.5, seed=0, classes=CLASSES
    )


def test_samples_of_a_published_list_do_not_train_whether_the_training_list_has_them_or_not():
    train, test, val = clips("abcd"), clips("xy", of="test.csv"), clips("bdv", of="val.csv")
    rest, part, dropped = validated(train, test, val)
    assert [clip.name for clip in rest] == ["a", "c"] and part == val and dropped == {"val": ["gone"]}


def test_without_it_the_part_is_carved_as_ever():
    train = clips("abcd")
    rest, part, dropped = validated(train, [], [], published=False)
    assert (rest, part) == parts.carved(train, 0.5, seed=0, classes=CLASSES) and dropped == {}


@pytest.mark.parametrize(
    ("val", "words"),
    [
        (clips("ax", of="val.csv"), r"val.csv line 2: the validation sample x is tested too \(test.csv line 1\)"),
        (clips("b", of="val.csv", label=1), r"val.csv line 1: .* b has the class a in training \(train.csv line 2\)"),
        (clips("ab", of="val.csv"), "every training sample is in the validation list"),
    ],
    ids=["tested", "label", "all"],
)
def test_a_validation_list_that_contradicts_the_others_is_an_error(val, words):
    with pytest.raises(DataError, match=words):
        validated(clips("ab"), clips("x", of="test.csv"), val)


def test_a_list_that_is_not_there_names_the_way_out(tmp_path):
    (tmp_path / "train.csv").write_text("a,bowling\n")

    def find(split):
        return read(KS, tmp_path, split), []

    with pytest.raises(
        DataNotFoundError, match=r"(?s)no list of the val split.*KS_train_val\.json.*published_val=false"
    ):
        parts.validation(find, [], [], published=True, fraction=0.1, seed=0, classes=CLASSES)


def test_the_field_is_off_where_most_copies_have_no_list_and_on_where_all_have():
    assert not cremad.CL.published_val and not ks.CL.published_val and twitter15.CL.published_val
    with pytest.raises(RecipeError, match="set published_val=false as well"):
        replace(ks.CL, published_val=True, val_fraction=0.0)
    with pytest.raises(RecipeError, match="split=speaker deals all clips anew"):
        replace(cremad.CL, published_val=True, split="speaker")
