"""Where a scoring pass takes BatchNorm's statistics from: the data, and not the order in which they are listed."""

import itertools
import math
import re
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

import bss
from bss.models.modes import device_of
from bss.utils.errors import TrainingError

CLASSES, EACH = 6, 32
N = CLASSES * EACH


def listed_by_class():
    """Samples as most data are listed: class by class, and every class somewhere else."""
    draw = torch.Generator().manual_seed(0)
    label = torch.arange(N) // EACH
    centres = 3 * torch.randn(2, CLASSES, 5, generator=draw)
    audio, image = (centre[label] + torch.randn(N, 5, generator=draw) for centre in centres)
    return TensorDataset(audio, image, label)


class Net(nn.Module):
    """A BatchNorm before every head."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES)) for _ in range(2))

    def forward(self, audio, image):
        unimodal = {"audio": self.a(audio), "image": self.b(image)}
        return bss.Logits(sum(unimodal.values()), unimodal)


def forward(model, batch):
    audio, image, label = batch
    return model(audio, image), label


def net():
    with torch.random.fork_rng():  # a test that looks at the random states must find them as they were
        torch.manual_seed(0)
        return Net()


def trained():
    """A network whose running statistics are those of the data."""
    model, data = net(), listed_by_class()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(40):
        logits, label = forward(model, data.tensors)
        nn.functional.cross_entropy(logits.fused, label).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def scored(model, loader, *, size=N, **options):
    table = bss.ScoreTable(size)
    bss.score_dataset(model, loader, table, forward=forward, **options)
    return table


def loader_of(data=None, batch_size=16, **options):
    return DataLoader(bss.IndexedDataset(listed_by_class() if data is None else data), batch_size, **options)


def shuffled():
    return torch.randperm(N, generator=torch.Generator().manual_seed(5)).tolist()


def spearman(a, b):
    ranks = torch.stack([values.argsort().argsort().double() for values in (a, b)])
    return torch.corrcoef(ranks)[0, 1].item()


# ---- drawn from the data, whatever the order ----


def test_data_listed_by_class_are_scored_as_shuffled_ones_are():
    model = trained()
    reference = scored(model, loader_of(), mode="eval")
    listed = scored(model, loader_of(), calibration_batches=4)
    assert spearman(listed.difficulty(), reference.difficulty()) > 0.9
    assert listed.loss.mean() == pytest.approx(reference.loss.mean().item(), rel=0.15)
    with pytest.warns(UserWarning, match="calibrated on the loader's first batches"):
        head = scored(model, list(loader_of()), calibration_batches=4)  # the statistics of one class
    assert spearman(head.difficulty(), reference.difficulty()) < 0.8


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True},
        {"sampler": shuffled()},
        {"sampler": SequentialSampler(range(N))},
        {"batch_size": 1, "batch_sampler": BatchSampler(SequentialSampler(range(N)), 16, drop_last=False)},
        {"batch_size": 1, "batch_sampler": BatchSampler(RandomSampler(range(N)), 16, drop_last=False)},
        {"batch_size": 1, "batch_sampler": [list(range(at, at + 16)) for at in reversed(range(0, N, 16))]},
        {"num_workers": 2},
        {"sampler": bss.UniformSampler(N)},
    ],
    ids=["shuffle", "list", "sequential", "batch sampler", "random batches", "own batches", "workers", "ours"],
)
def test_a_score_does_not_depend_on_the_loaders_order_or_workers(options):
    expected = scored(net(), loader_of(), calibration_batches=3)
    assert torch.allclose(scored(net(), loader_of(**options), calibration_batches=3).loss, expected.loss, atol=1e-5)


def test_a_pass_repeats_itself_and_leaves_random_states_and_samplers_alone(untouched_rngs):
    sampler = bss.UniformSampler(N)
    tables = [scored(net(), loader_of(sampler=sampler), calibration_batches=3) for _ in range(1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler.set_epoch(1)  # one pass, and not one more for the calibration
        tables.append(scored(net(), loader_of(sampler=sampler), calibration_batches=3))
    # Not to the bit: a sample has another place in its batch, and there some processors (AMD EPYC) round otherwise.
    torch.testing.assert_close(tables[0].loss, tables[1].loss, rtol=1e-5, atol=0)


def test_the_statistics_are_those_of_all_drawn_samples_together():
    model, data = net(), listed_by_class()
    seen = []
    model.a[1].register_forward_hook(lambda norm, inputs, _: seen.append((norm.training, inputs[0], norm)))
    final = []
    model.a[1].register_forward_hook(
        lambda norm, *_: None if norm.training else final.append((norm.running_mean.clone(), norm.running_var.clone()))
    )
    scored(model, loader_of(data), calibration_batches=3)
    drawn = torch.cat([inputs for training, inputs, _ in seen if training])
    assert len(drawn) == 48
    assert torch.allclose(final[0][0], drawn.mean(0), atol=1e-5)
    assert torch.allclose(final[0][1], drawn.var(0), rtol=1e-4)


def test_a_layer_that_is_called_twice_in_a_forward_pools_both_calls():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(5), nn.Linear(5, CLASSES)

        def forward(self, audio, image):
            unimodal = {"audio": self.head(self.norm(audio)), "image": self.head(self.norm(image))}
            return bss.Logits(sum(unimodal.values()), unimodal)

    torch.manual_seed(0)
    model, data, final = Siamese(), listed_by_class(), []
    model.norm.register_forward_hook(lambda norm, *_: None if norm.training else final.append(norm.running_var.clone()))
    scored(model, loader_of(data, batch_size=N))
    assert torch.allclose(final[0], torch.cat(data.tensors[:2]).var(0), rtol=1e-4)


def test_batches_of_images_are_pooled_over_their_pixels():
    norm = nn.BatchNorm2d(3)
    images = torch.randn(24, 3, 4, 4, generator=torch.Generator().manual_seed(1)) + torch.arange(24).view(-1, 1, 1, 1)
    model, final = nn.Sequential(norm, nn.Flatten(), nn.Linear(48, 4)), []
    norm.register_forward_hook(lambda norm, *_: None if norm.training else final.append(norm.running_var.clone()))

    def both(model, batch):
        pictures, label = batch
        logits = model(pictures)
        return bss.Logits(logits, [logits, logits]), label

    data = bss.IndexedDataset(TensorDataset(images, torch.arange(24) % 4))
    bss.score_dataset(model, DataLoader(data, 8), bss.ScoreTable(24), forward=both, calibration_batches=3)
    assert torch.allclose(final[0], images.transpose(0, 1).flatten(1).var(1), rtol=1e-4)


class Noted(Dataset):
    """Notes which samples it is asked for."""

    def __init__(self):
        self.data, self.asked = listed_by_class(), []

    def __len__(self):
        return N

    def __getitem__(self, index):
        self.asked.append(index)
        return self.data[index]


def test_a_sampler_that_chooses_samples_is_followed_and_one_that_shares_them_is_not():
    chosen = list(range(40, 100))
    for sampler in (SubsetRandomSampler(chosen), chosen):
        data = Noted()
        with pytest.warns(UserWarning, match="left out 132 of 192"):
            scored(net(), loader_of(data, sampler=sampler), calibration_batches=2)
        assert set(data.asked) <= set(chosen) and len(data.asked) == 32 + len(chosen)
    drawn = []
    for rank in range(2):
        data = Noted()
        with pytest.warns(UserWarning, match="left out 96 of 192"):
            share = DistributedSampler(data, num_replicas=2, rank=rank, shuffle=False)
            scored(net(), loader_of(data, sampler=share), calibration_batches=2)
        drawn.append(data.asked[:32])
    assert drawn[0] == drawn[1]  # of the whole, so that ranks score alike


def test_the_loaders_own_collate_function_makes_the_batches():
    def short(samples):
        return default_collate([sample for sample in samples if sample is not None])

    class Holes(Noted):
        def __getitem__(self, index):
            return None if index % 8 == 3 else self.data[index]

    with pytest.warns(UserWarning, match="left out 24 of 192"):
        table = scored(net(), loader_of(Holes(), collate_fn=short), calibration_batches=4)
    assert table.loss.isnan().nonzero().squeeze(1).tolist() == list(range(3, N, 8))


def test_a_data_set_that_makes_whole_batches_is_drawn_from_too():
    class Batches(Dataset):
        def __len__(self):
            return CLASSES

        def __getitem__(self, number):
            rows = torch.arange(number * EACH, (number + 1) * EACH)
            return rows, listed_by_class()[rows]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = scored(net(), DataLoader(Batches(), batch_size=None), calibration_batches=6)
    assert torch.allclose(table.loss, scored(net(), loader_of(batch_size=EACH), calibration_batches=6).loss, atol=0.1)


@pytest.mark.parametrize(("left_out", "named"), [(5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4 ...")])
def test_five_samples_that_a_pass_leaves_out_are_named(left_out, named):
    with pytest.warns(UserWarning, match=rf"left out {left_out} of 192 samples \(indices {re.escape(named)}\)"):
        scored(net(), loader_of(sampler=list(range(left_out, N))), mode="eval")


# ---- where nothing can be drawn ----


class Stream(IterableDataset):
    def __iter__(self):
        data = listed_by_class()
        return ((index, data[index]) for index in range(N))


@pytest.mark.parametrize("make", [lambda: DataLoader(Stream(), 16), lambda: list(loader_of())], ids=["stream", "list"])
def test_what_cannot_be_drawn_from_is_warned_of_and_calibration_helps(make):
    with pytest.warns(UserWarning, match="calibrated on the loader's first batches.*pass calibration=") as told:
        scored(net(), make())
    assert [warning.filename for warning in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scored(net(), make(), calibration=loader_of(sampler=shuffled()))
        scored(net(), make(), mode="eval")
        loader = make()
        scored(net(), loader, calibration=loader)  # its first batches, as it is said to be shuffled


def test_the_loader_itself_as_calibration_is_read_once():
    data = Noted()
    loader = loader_of(data, sampler=shuffled())
    scored(net(), loader, calibration=loader)
    assert data.asked == shuffled()


# ---- mode "batch" ----


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampler": SequentialSampler(range(N))},
        {"sampler": list(range(N))},
        {"batch_size": 1, "batch_sampler": BatchSampler(SequentialSampler(range(N)), 16, drop_last=False)},
    ],
    ids=["plain", "sequential", "list", "batch sampler"],
)
def test_mode_batch_refuses_data_in_their_own_order_with_the_way_out(options):
    with pytest.raises(ValueError, match=r"torch\.randperm.*or use mode='calibrated'"):
        scored(net(), loader_of(**options), mode="batch")


def test_mode_batch_takes_shuffled_orders_whole_sets_and_networks_without_batchnorm_to_train():
    frozen = net().train()
    for head in (frozen.a, frozen.b):
        head[1].eval()
    batches = BatchSampler(shuffled(), 16, drop_last=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scored(net(), loader_of(sampler=shuffled()), mode="batch")
        scored(net(), loader_of(shuffle=True), mode="batch")
        scored(net(), loader_of(batch_size=1, batch_sampler=batches), mode="batch")
        scored(net(), loader_of(batch_size=N), mode="batch")
        table = scored(frozen, loader_of(), mode="batch")
    assert table.loss.isfinite().all()


# ---- every mode, by hand ----


class OneNorm(nn.Module):
    """One BatchNorm of one number v, and logits (v, 0) of every head."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, batch):
        v = self.norm(batch["x"])
        z = torch.cat((v, torch.zeros_like(v)), dim=1)
        return bss.Logits(z, {"a": z, "b": z})


def batches_of(*values):
    """Batches of these numbers, all of class 0, and numbered as they come."""
    places = iter(range(100))
    return [
        {
            "x": torch.tensor(batch).view(-1, 1),
            "label": torch.zeros(len(batch)).long(),
            "bss_index": [next(places) for _ in batch],
        }
        for batch in values
    ]


VALUES = ([1.0, 3.0], [10.0, 20.0], [20.0])


@pytest.mark.parametrize(
    ("options", "mean", "deviation"),
    [
        ({"mode": "eval"}, [0] * 5, [1] * 5),  # the running statistics of a new layer
        # Means 2 and 15, variances 1 and 25; the single last one by the statistics of the batch before it, whose
        # variance is kept unbiased: 50.
        ({"mode": "batch"}, [2, 2, 15, 15, 15], [1, 1, 5, 5, math.sqrt(50)]),
        # Of 1, 3, 10 and 20 the mean is 34 / 4, that of the squares 510 / 4; 4/3 (127.5 - 72.25) = 221 / 3. The last
        # batch, which is smaller, does not count.
        ({"calibration": batches_of(*VALUES)}, [8.5] * 5, [math.sqrt(221 / 3)] * 5),
        ({"calibration": batches_of(*VALUES), "calibration_batches": 1}, [2] * 5, [math.sqrt(2)] * 5),
    ],
    ids=["eval", "batch", "calibrated", "calibrated on one batch"],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_score_is_that_of_the_statistics_of_its_mode_and_the_network_stays_as_it_was(
    options, mean, deviation, training
):
    model, table = OneNorm().train(training), bss.ScoreTable(5)
    bss.score_dataset(model, batches_of(*VALUES), table, **options)
    v = [(x - m) / d for x, m, d in zip(itertools.chain(*VALUES), mean, deviation, strict=True)]
    assert table.loss.tolist() == pytest.approx([3 * math.log1p(math.exp(-each)) for each in v], abs=1e-4)
    norm = model.norm
    assert (norm.running_mean.item(), norm.running_var.item(), norm.num_batches_tracked.item()) == (0, 1, 0)
    assert norm.momentum == 0.1 and norm.training == model.training == training


def test_in_mode_train_the_running_statistics_move_as_in_training():
    model, table = OneNorm().eval(), bss.ScoreTable(4)
    bss.score_dataset(model, batches_of(*VALUES[:2]), table, mode="train")
    assert table.loss.tolist() == pytest.approx([3 * math.log1p(math.exp(-v)) for v in (-1, 1, -1, 1)], abs=1e-4)
    # Means 2 and 15, unbiased variances 2 and 50, each counted a tenth: .9 * .2 + 1.5 and .9 * (.9 + .2) + 5.
    assert (model.norm.running_mean.item(), model.norm.running_var.item()) == pytest.approx((1.68, 5.99))
    assert model.norm.num_batches_tracked == 2 and not model.training


def test_a_last_batch_of_one_sample_is_explained_in_mode_train_and_other_errors_are_left_alone():
    with pytest.raises(TrainingError, match="single sample, of which BatchNorm takes no statistics"):
        bss.score_dataset(OneNorm(), batches_of(*VALUES), bss.ScoreTable(5), mode="train")
    for said, values in (("another", [1.0]), ("more than 1 value per channel", [1.0, 2.0])):

        def broken(model, batch, said=said):
            raise ValueError(said)

        with pytest.raises(ValueError, match=said) as raised:
            bss.score_dataset(OneNorm(), batches_of(values), bss.ScoreTable(2), mode="train", forward=broken)
        assert raised.type is ValueError


# ---- logits that are made into scores together ---------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 40, 4096])
def test_scores_do_not_depend_on_how_many_are_made_at_once(monkeypatch, at_once):
    model, (audio, image, label) = trained(), listed_by_class().tensors
    batches = [
        {"audio": audio[rows], "image": image[rows], "label": label[rows], "bss_index": rows}
        for rows in torch.randperm(N, generator=torch.Generator().manual_seed(1)).split(7)
    ]

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, batch):
            return self.inner(batch["audio"], batch["image"])

    tables = [bss.ScoreTable(N) for _ in range(2)]
    bss.score_dataset(
        Own(), batches, tables[0], mode="eval", forward=lambda model, batch: (model(batch), batch["label"])
    )
    monkeypatch.setattr("bss.scoring.scoring_pass.AT_ONCE", at_once)
    bss.score_dataset(Own(), batches, tables[1], mode="eval")
    assert torch.equal(tables[0].similarity, tables[1].similarity) and torch.equal(tables[0].loss, tables[1].loss)


@pytest.mark.parametrize(
    ("at_once", "sizes"),
    [(3, [3, 3, 1]), (7, [7]), (8, [7]), (1, [1] * 7)],  # 7 batches of one sample
)
def test_as_many_scores_are_made_at_once_as_there_is_room_for(monkeypatch, at_once, sizes):
    class Equal(nn.Linear):
        def forward(self, batch):
            return bss.Logits(torch.zeros(1, 2), {"a": torch.zeros(1, 2), "b": torch.zeros(1, 2)})

    update, made = bss.ScoreTable.update, []
    monkeypatch.setattr("bss.scoring.scoring_pass.AT_ONCE", at_once)
    monkeypatch.setattr(
        bss.ScoreTable,
        "update",
        lambda table, index, **scores: (made.append(len(index)), update(table, index, **scores)),
    )
    batches = [{"bss_index": torch.tensor([row]), "label": torch.tensor([0])} for row in range(7)]
    bss.score_dataset(Equal(1, 1), batches, bss.ScoreTable(7), mode="eval")
    assert made == sizes


class Ready(nn.Module):
    """Logits that lie in the batch, such as those of another program: a network without a parameter."""

    def forward(self, batch):
        z = torch.cat((batch["x"], torch.zeros_like(batch["x"])), dim=1)
        return bss.Logits(z, {"a": z, "b": z})


@pytest.mark.parametrize("mode", ["eval", "calibrated"])
def test_a_network_without_a_parameter_is_scored_where_its_buffers_are_or_else_on_the_cpu(mode):
    table, model = bss.ScoreTable(2), Ready()
    bss.score_dataset(model, batches_of([1.0, 3.0]), table, mode=mode)
    assert table.loss.tolist() == pytest.approx([3 * math.log1p(math.exp(-x)) for x in (1, 3)], abs=1e-4)
    model.register_buffer("b", torch.zeros(1, device="meta"))
    assert device_of(Ready()).type == "cpu" and device_of(model).type == "meta"
