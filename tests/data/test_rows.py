"""What a run is told of its parts before it begins: equal inputs, classes that nobody trains, known groups."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Subset

from bss.data import rows
from bss.data.rows import Row, alike
from bss.data.splits import Splits
from bss.data.tensors import TensorSamples, tensor_splits
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.errors import DataError
from tests import tiny


class Listed(tiny.Features):
    """Samples that know their rows."""

    def __init__(self, *listed):
        samples = tiny.features(len(listed))
        super().__init__(samples.audio, samples.visual, torch.tensor([row.label for row in listed]))
        self.listed = listed

    def listed_rows(self):
        return list(self.listed)


def splits(train, test, val=None, group=None):
    train, val, test = (part and Listed(*part) for part in (train, val, test))
    return Splits(train, train, val, test, train.label, ["x"] * len(train), tiny.CLASSES, group=group)


def part(text, names="abcdefghij"):
    """``"aX1"``: content a, group X, label 1."""
    return [
        Row(name, int(label), content, group)
        for name, (content, group, label) in zip(names, text.split(), strict=False)
    ]


# ------------------------------------------------------------------------------------------------------ equal inputs


@pytest.mark.parametrize(
    "contents, labels, expected",
    [
        ("abc", [0, 1, 2], (0, 0, 1.0)),
        ("aab", [0, 0, 1], (2, 0, 1.0)),
        ("aab", [0, 1, 1], (2, 2, 2 / 3)),
        ("aaab", [0, 0, 1, 1], (3, 3, 3 / 4)),  # the most frequent label of the three
        ("aabb", [0, 1, 0, 0], (4, 2, 3 / 4)),
        ("", [], (0, 0, 1.0)),
    ],
)
def test_equal_contents_are_counted_with_what_can_be_told_right_at_best(contents, labels, expected):
    assert alike(contents, labels) == pytest.approx(expected)


def test_a_line_names_the_parts_that_have_equal_inputs_and_those_of_the_training_part():
    data = splits(part("a-0 a-1 b-2"), part("a-0 c-1 c-1 d-2"))
    assert rows.notes(data) == [
        "equal for the network: 2 of 3 training samples (2 with different labels: 66.6 % right at best); 2 of 4 test "
        "samples; 1 of 4 test samples have the input of a training sample"
    ]


def test_where_all_inputs_differ_and_no_group_is_known_nothing_is_said():
    assert rows.notes(splits(part("a-0 b-1"), part("c-0"), part("d-1"))) == []
    assert rows.notes(tiny.splits()) == []  # a data set of one's own, without listed_rows
    subset = splits(part("a-0 a-1 b-2"), part("c-0"))
    assert rows.notes(replace(subset, train=Subset(subset.train, [0, 1]))) == []


@pytest.mark.parametrize("shape", [(6,), (6, 2), (6, 2, 3)])
def test_tensor_samples_are_equal_where_all_their_numbers_are(shape):
    values = torch.arange(6.0).view(6, *[1] * (len(shape) - 1)).expand(shape).clone()
    values[3] = values[1]
    same, other = torch.ones(6), torch.arange(6)
    found = [row.content for row in TensorSamples({"a": values, "b": same}, torch.arange(6)).listed_rows()]
    assert found[1] == found[3] and len(set(found)) == 5
    assert len({row.content for row in TensorSamples({"a": values, "b": other}, torch.arange(6)).listed_rows()}) == 6


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.bool, torch.int64, torch.float64])
def test_tensors_of_every_type_can_be_compared(kind):
    samples = TensorSamples({"a": torch.tensor([[0, 1], [1, 0], [0, 1]]).to(kind)}, torch.arange(3))
    found = [row.content for row in samples.listed_rows()]
    assert found[0] == found[2] != found[1]


def test_features_with_two_labels_are_found_when_a_run_of_tensors_begins():
    values = torch.arange(8.0)[:, None].repeat(1, 2)
    values[1] = values[0]
    data = tensor_splits(
        {"a": values, "b": values},
        torch.arange(8) % 2,
        train=range(4),
        val=None,
        test=range(4, 8),
        names=list("abcdefgh"),
        classes=("low", "high"),
    )
    (line,) = rows.notes(data)
    assert line == "equal for the network: 2 of 4 training samples (2 with different labels: 75.0 % right at best)"


# ----------------------------------------------------------------------------------------------- classes and groups


@pytest.mark.parametrize("title", ["validation", "test"])
def test_a_class_that_no_training_sample_has_is_refused_with_its_name(title):
    odd, well = part("c-0 d-2 e-2", "xyz"), part("f-0")
    data = splits(part("a-0 b-1"), odd if title == "test" else well, odd if title == "validation" else well)
    words = rf"no training sample has the class high, but 2 {title} samples have, the first is y: nothing can learn"
    with pytest.raises(DataError, match=words) as caught:
        rows.check_classes(data)
    assert str(caught.value).endswith(f"take its rows out of the {title} list")


def test_a_class_that_nothing_measures_is_no_error():
    rows.check_classes(splits(part("a-0 b-1 c-2"), part("d-0")))
    rows.check_classes(tiny.splits())


@pytest.mark.parametrize(
    "val, test, words",
    [
        ("a-0", "b-0", None),
        ("aX0 bY0", "cX0", "samples whose subject is trained on: 1 of 2 validation, 1 of 1 test"),
        (None, "cZ0", "samples whose subject is trained on: 0 of 1 test"),
        (
            "aX0 bX0",
            "cZ0 dZ0",
            "samples whose subject is trained on: 2 of 2 validation, 0 of 2 test; the validation samples, "
            "which choose the epoch, do not resemble the test samples in this",
        ),
    ],
)
def test_a_line_says_how_many_samples_are_of_a_group_that_is_trained_on(val, test, words):
    train = "eX0 fX1" if words else "e-0 f-1"
    data = splits(part(train), part(test), part(val) if val else None, group="subject" if words else None)
    assert rows.notes(data) == ([words] if words else [])
    assert rows.notes(replace(data, group=None)) == []


# ------------------------------------------------------------------------------------------------------ in a run


def test_a_run_says_it_when_it_begins_and_refuses_what_nothing_trains_before_anything_is_written(tmp_path, capsys):
    train = part("aX0 aX1 bY2 cY0")
    recipe, other = replace(tiny.CL, epochs=1, batch_size=4, val_fraction=0.0), tmp_path / "other"
    run = Run(tmp_path / "run", tmp_path, torch.device("cpu"))
    data = splits(train, part("fX0"), group="actor")
    fit(tiny.model(), data, recipe, run)
    begun = capsys.readouterr().out
    assert "equal for the network: 2 of 4 training samples (2 with different labels: 75.0 % right at best)" in begun
    assert "samples whose actor is trained on: 1 of 1 test" in begun
    with pytest.raises(DataError, match="no training sample has the class high, but 1 test samples have"):
        fit(tiny.model(), splits(train[:2], part("fX0 gX2")), replace(recipe, batch_size=2), replace(run, out=other))
    assert not other.exists()
