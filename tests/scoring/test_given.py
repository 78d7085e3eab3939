"""Numbers in any form: what the public functions take as a tensor they take as a list, a tuple or an array as well."""

import inspect

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import bss
from bss import samplers, scoring
from bss.scoring.imbalance import describe_predictions
from bss.scoring.metrics import classification_metrics, hits, rank_correlation
from bss.utils.given import as_tensor, whole_number

N = 4
D = torch.tensor([0.25, 0.5, 1.25, 2.0])  # in [0, 2]
S = D / 2
Y = torch.tensor([0, 1, 0, 1])
I = torch.arange(N)  # noqa: E741 - the samples' places
A, B = torch.tensor([[1.0, 2.0], [0.5, 0.0], [3.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0]] * 4)

FORMS = {
    "list": lambda tensor: tensor.tolist(),
    "tuple": lambda tensor: tuple(tensor.tolist()),
    "array": lambda tensor: tensor.numpy(),
    "list of NumPy's numbers": lambda tensor: list(tensor.numpy()),
    "list of tensors": lambda tensor: list(tensor),
    "reversed twice": lambda tensor: tensor.numpy()[::-1].copy()[::-1],  # negative strides
    "other end first": lambda tensor: tensor.numpy().astype(tensor.numpy().dtype.newbyteorder(">")),
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))


def updated(**given):
    table = bss.ScoreTable(N)
    table.update(**given)
    table.synchronize()
    return torch.stack((table.similarity, table.loss))


def scored(target):
    model, table = torch.nn.Linear(2, 2), bss.ScoreTable(N)
    torch.nn.init.eye_(model.weight)
    torch.nn.init.zeros_(model.bias)
    loader = DataLoader(bss.IndexedDataset(TensorDataset(A, B)), batch_size=N)
    logits = bss.Logits(A, {"a": A, "b": B})
    bss.score_dataset(model, loader, table, forward=lambda model, batch: (logits, target), mode="eval")
    return table.loss


def attached(index, target):
    model = torch.nn.ModuleDict({"a": torch.nn.Identity(), "b": torch.nn.Identity()})
    table = bss.ScoreTable(N)
    with bss.attach(model, table, heads={"a": "a", "b": "b"}, fused=lambda u: u["a"]) as scores:
        with scores.batch(index, target):
            model["a"](A), model["b"](B)
    table.synchronize()
    return table.loss


def order(make, form, **more):
    given = {"difficulty": form(D), "labels": form(Y)} if make.uses_scores else {"labels": form(Y)}
    sampler = make(np.int64(N), **given, **more, seed=np.int32(3), batch_size=np.int64(2), min_size=np.uint8(1))
    sampler.set_epoch(np.int64(2))
    assert type(sampler.epoch) is type(sampler.size) is type(sampler.seed) is int
    return sampler.global_order()


CALLS = {  # public name -> a call of it with all its numbers in the given form
    "ScoreTable": lambda form: updated(index=form(I), unimodal=[form(A), form(B)], fused=form(A), target=form(Y)),
    "ScoreTable of scores": lambda form: updated(index=form(I), similarity=form(S), loss=form(D)),
    "attach": lambda form: attached(form(I), form(Y)),
    "score_dataset": lambda form: scored(form(Y)),
    "min_max": lambda form: bss.min_max(form(D)),
    "rank_fraction": lambda form: scoring.rank_fraction(form(D)),
    "difficulty": lambda form: bss.difficulty(form(S), form(D)),
    "order_weights": lambda form: bss.order_weights(form(D)),
    "log_weights": lambda form: scoring.log_weights(form(D)),
    "prediction_similarity": lambda form: bss.prediction_similarity({"a": form(A), "b": form(B)}),
    "similarity_of": lambda form: scoring.similarity_of([form(A), form(B)]),
    "sample_loss": lambda form: bss.sample_loss(form(A), [form(A), form(B)], form(Y)),
    "loss_of": lambda form: scoring.loss_of(form(A), [form(B)], form(Y), fused_weight=1, unimodal_weight=1),
    "head_losses": lambda form: scoring.head_losses({"a": form(A)}, form(Y))["a"],
    "weighted_loss": lambda form: scoring.weighted_loss({"a": form(D), "b": form(S)}, {"a": 1.0, "b": 2.0}),
    "gradient_of": lambda form: scoring.gradient_of(form(A), form(Y), form(B)),
    "tensors_of": lambda form: torch.stack(scoring.tensors_of([form(A), form(B)])),
    "curriculum_order": lambda form: bss.curriculum_order(form(D), labels=form(Y)),
    "weighted_order": lambda form: bss.weighted_order(form(D), seed=np.int64(1), epoch=np.int32(2), k=np.int64(3)),
    "race_order": lambda form: scoring.race_order(form(D), seed=1, epoch=2),
    "resampled_order": lambda form: scoring.resampled_order(form(D), seed=1, epoch=2),
    "class_balanced": lambda form: scoring.class_balanced(form(I), form(Y)),
    "class_matched": lambda form: scoring.class_matched(form(I), form(I), form(Y)),
    "uniform_order": lambda form: scoring.uniform_order(np.int64(N), seed=np.int64(1), epoch=np.int64(0)),
    "evenly_spaced": lambda form: scoring.evenly_spaced(np.int64(2), np.int64(N)),
    "CurriculumSampler": lambda form: order(bss.CurriculumSampler, form),
    "SelfPacedSampler": lambda form: order(bss.SelfPacedSampler, form),
    "MixSampler": lambda form: order(bss.MixSampler, form),
    "ResamplingSampler": lambda form: order(bss.ResamplingSampler, form),
    "ClassMatchedSampler": lambda form: order(bss.ClassMatchedSampler, form, class_of=form(Y)),
    "RandomPacingSampler": lambda form: order(bss.RandomPacingSampler, form, pacing=bss.root_pacing),
    "UniformSampler": lambda form: order(bss.UniformSampler, form),
    "UniformResamplingSampler": lambda form: order(samplers.UniformResamplingSampler, form),
    "metrics": lambda form: torch.tensor(
        [*classification_metrics({"a": form(A)}, form(Y))["map"].values(), *hits({"a": form(A)}, form(Y))["a"]]
    ),
    "rank correlation": lambda form: torch.tensor(rank_correlation(form(D), form(D.flip(0)))),
    "gap": lambda form: torch.tensor(describe_predictions({"a": form(A), "b": form(B)}, form(Y))["index"]),
}
NO_NUMBERS = {
    "IndexedDataset", "Logits", "Callback", "fit", "export_run", "load_run", "slices",
    *(name for name in bss.__all__ if name.endswith("_pacing")),
}  # fmt: skip


def test_no_public_name_is_left_out():
    public = {*bss.__all__, *scoring.__all__, *(kind.__name__ for kind in samplers.SAMPLERS)}
    names = {name for name in public if not inspect.ismodule(getattr(bss, name, None))} - {"__version__"}
    assert names - NO_NUMBERS - set(CALLS) == set()


@every_form
@pytest.mark.parametrize("name", CALLS)
def test_every_form_gives_what_the_tensor_gives(name, form):
    expected, found = CALLS[name](lambda tensor: tensor), CALLS[name](form)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("uniform_order", "evenly_spaced")])
def test_what_no_tensor_can_be_made_of_is_refused_with_the_way_out(name):
    with pytest.raises(
        ValueError, match=r"must be numbers, a tensor or what torch\.as_tensor makes one of, got a list"
    ):
        CALLS[name](lambda tensor: ["happy", "sad", None, "angry"])


# ---- the conversion itself -----------------------------------------------------------------------------------------


def test_types_stay_and_floats_of_python_get_the_default_one():
    assert as_tensor("x", np.float64([1])).dtype == as_tensor("x", [np.float64(1)]).dtype == torch.float64
    assert as_tensor("x", [[0.5]]).dtype == torch.float32
    assert as_tensor("x", range(3)).tolist() == [0, 1, 2]
    assert as_tensor("x", np.array([200, 3], dtype=np.uint8)).dtype == torch.int64
    tensor = torch.ones(2)
    assert as_tensor("x", tensor) is tensor


def test_an_array_is_copied():
    labels = np.array([0, 1, 1, 0])
    sampler = bss.UniformSampler(N, labels=labels)
    labels[:] = 0
    assert sampler.labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("values", [None, "abc", [[1], [1, 2]], [dict], {"a": 1}, [2**70]], ids=str)
def test_what_is_no_array_of_numbers_is_named(values):
    with pytest.raises(ValueError, match=r"labels must be numbers, .*torch\.as_tensor"):
        as_tensor("labels", values)


@pytest.mark.parametrize(
    ("value", "said"), [(1.5, r"whole number >= 1, got 1\.5"), ("3", "got '3'"), (0, ">= 1, got 0")]
)
def test_what_is_no_whole_number_is_named(value, said):
    with pytest.raises(ValueError, match=f"batch_size must be .*{said}"):
        whole_number("batch_size", value, 1)


# ---- data sets without places --------------------------------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (Stream(), "a Stream gives its samples in an order of its own"),
        (iter([1, 2]), "a list_iterator has no __getitem__ and no __len__"),
        (torch.utils.data.DataLoader([1, 2]), "a DataLoader has no __getitem__"),
        (torch.utils.data.Dataset(), "a Dataset has no __len__"),
    ],
    ids=["stream", "iterator", "loader", "no length"],
)
def test_a_data_set_without_places_is_refused(data, said):
    with pytest.raises(ValueError, match=f"{said}, and an order is made of places"):
        bss.IndexedDataset(data)
