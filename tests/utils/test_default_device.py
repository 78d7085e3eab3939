"""A program that sets a default device of PyTorch's gets the orders, scores and weights of one that does not.

"meta" stands for it: the CPU's generators draw no numbers there, and its tensors hold none.
"""

import contextlib
from dataclasses import replace

import pytest
import torch

import bss
from bss.data import SeededViews, collate
from bss.data.datasets.audiovisual import frame_indices
from bss.data.indexed import Key
from bss.data.tensors import tensor_splits
from bss.data.transforms.video import draw_view
from bss.data.transforms.views import Pictures, RandomView, Sound
from bss.samplers import BY_NAME
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.loading import Loader
from tests import tiny

LABELS = torch.arange(24) % 3


@contextlib.contextmanager
def another_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def on_both(work):
    """What the work gives, as it is and with another default device."""
    plain = work()
    with another_device():
        other = work()
    return plain, other


def same(plain, other):
    assert plain.device == other.device == torch.device("cpu")
    return torch.equal(plain, other)


def scored_table():
    table = bss.ScoreTable(24, momentum=0.5)
    values = torch.linspace(0, 1, 24, device="cpu")
    for index in (list(range(24)), torch.arange(24, device="cpu")):
        table.update(index, similarity=values, loss=1 - values * values)
        table.synchronize()
    return table


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_orders_of_every_sampler(name):
    def orders():
        kind = BY_NAME[name]
        options = {"labels": LABELS} | ({"table": scored_table()} if kind.uses_scores else {})
        options |= {"class_of": LABELS} if name == "class_matched" else {}
        options |= {"pacing": bss.root_pacing} if name == "random_pacing" else {}
        sampler = kind(24, seed=3, drop_last=True, batch_size=5, num_replicas=1, rank=0, **options)
        found = []
        for epoch in (0, 2):
            sampler.set_epoch(epoch)
            found += [sampler.global_order(), torch.tensor(list(sampler), device="cpu")]
        sampler.load_state_dict(sampler.state_dict())
        return found

    assert all(same(*pair) for pair in zip(*on_both(orders), strict=True))


def test_the_formulas_and_the_table():
    def numbers():
        table = scored_table()
        again = bss.ScoreTable(24, momentum=0.5)
        again.load_state_dict(table.state_dict())
        difficulty = again.difficulty()
        weights = bss.order_weights(difficulty)
        orders = [bss.weighted_order(weights, seed=1, epoch=2, k=k) for k in (None, 5)]
        orders.append(bss.curriculum_order(difficulty, labels=LABELS))
        return [table.similarity, table.loss, table.age, difficulty, weights, *orders]

    assert all(same(*pair) for pair in zip(*on_both(numbers), strict=True))


@pytest.mark.parametrize("mode", ["calibrated", "batch", "eval", "train"])
def test_a_scoring_pass(mode):
    network, data = tiny.model(norm=True), tiny.features(24)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0)).tolist()

    def scores():
        table = bss.ScoreTable(24)
        # PyTorch's own draws a seed on the default device, which "meta" cannot.
        loader = Loader(bss.IndexedDataset(data), batch_size=8, sampler=order, collate_fn=collate)
        bss.score_dataset(network, loader, table, mode=mode)
        return table.difficulty()

    assert same(*on_both(scores))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_a_loader_and_their_random_views(workers):
    data = tiny.features(24, noise=1.0)

    def batches():
        keys = [Key(1, index) for index in range(24)]
        views = SeededViews(bss.IndexedDataset(data), 5)
        options = {"generator": torch.Generator().manual_seed(0), "num_workers": workers, "collate_fn": collate}
        return [values for batch in Loader(views, sampler=keys, batch_size=8, **options) for values in batch.values()]

    assert all(same(*pair) for pair in zip(*on_both(batches), strict=True))


def test_views_and_batches_of_files():
    pixels, wave = torch.zeros(40, 40, 3, dtype=torch.uint8).numpy(), torch.ones(7).numpy()

    def made():
        torch.manual_seed(0)
        picture = RandomView()(pixels)
        view = draw_view(9, frames=3, resize=40, size=32, random=True)
        drawn = [
            picture.flip,
            *picture.pixels_HWC.shape,
            *frame_indices(9, 4, "drawn"),
            view.start,
            view.top,
            view.left,
        ]
        batch = collate([{"audio": Sound(wave, 8), "visual": Pictures([picture]), "label": 1}])
        return [torch.tensor(list(map(int, drawn)), device="cpu"), *batch["audio"].values(), batch["label"]]

    with torch.random.fork_rng():
        assert all(same(*pair) for pair in zip(*on_both(made), strict=True))


@pytest.mark.parametrize("recipe", [tiny.CL, tiny.SPL], ids=["CL", "SPL"])
def test_a_run(tmp_path, recipe):
    def weights(name):
        network = tiny.model()
        with another_device() if name == "other" else contextlib.nullcontext():
            fit(network, data, replace(recipe, epochs=2), Run(tmp_path / name, tmp_path, torch.device("cpu")))
        return torch.cat([value.flatten() for value in network.state_dict().values()])

    data = tiny.splits()
    assert same(weights("plain"), weights("other"))


def test_splits_of_tensors():
    values, rows = torch.arange(48.0).reshape(24, 2), {"train": range(12), "val": [12, 13], "test": range(14, 24)}
    options = {"names": [str(number) for number in range(24)], "classes": ("a", "b", "c"), **rows}

    def parts():
        made = tensor_splits({"x": values}, LABELS, **options)
        return [made.train[1]["x"], made.train.__getitems__([3, 4])[0]["x"], made.labels_N]

    assert all(same(*pair) for pair in zip(*on_both(parts), strict=True))
