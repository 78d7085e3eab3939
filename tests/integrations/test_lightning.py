"""Lightning trains in our order, all of it, and scores what a plain loop scores."""

import contextlib
import logging
import warnings
from itertools import chain

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

import bss
from bss.integrations.lightning import BalanceCallback
from tests.plugins import (
    BATCH,
    HEADS,
    N,
    Record,
    Samples,
    check,
    curriculum,
    lightning,
    lightning_parts,
    lightning_trainer,
    plain,
    two_processes,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*"),
]


@pytest.fixture(autouse=True, scope="module")
def quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def test_one_process_equals_the_plain_loop_bit_for_bit():
    record = lightning()
    check([record], interleaved=True)
    assert record == plain()


def test_two_processes_train_the_same_windows_and_get_the_same_scores():
    records = two_processes()["lightning"]
    check(records, interleaved=True)
    expected = plain()
    for record in records:
        assert record.orders == expected.orders
        for name in ("similarity", "loss", "weights"):
            assert getattr(record, name) == pytest.approx(getattr(expected, name), abs=1e-4)


def test_two_processes_resume_in_the_middle_of_an_epoch_exactly():
    straight, resumed = two_processes()["lightning"], two_processes()["resumed lightning"]
    for before, after in zip(straight, resumed, strict=True):
        assert after.weights == before.weights
        assert after.similarity == pytest.approx(before.similarity, abs=1e-6)  # summed over ranks in another order
        assert after.loss == pytest.approx(before.loss, abs=1e-6)


class Interruption(Exception):
    pass


class Quiet(Callback):
    """In the place of ours, of which it does nothing."""


class Interrupt(Callback):
    def __init__(self, epoch, batch):
        self.moment = (epoch, batch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.moment:
            raise Interruption


def interrupted(folder, *, stop, **saving):
    """The newest checkpoint of a training that broke off at (epoch, batch)."""
    _, callback, module = lightning_parts()
    checkpoint = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **saving)
    trainer = lightning_trainer(callback, callbacks=[checkpoint, Interrupt(*stop)], enable_checkpointing=True)
    with pytest.raises(Interruption):
        trainer.fit(module)
    return max(folder.glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable.*")
@pytest.mark.parametrize(
    ("saving", "stop"),
    [
        ({"every_n_train_steps": 1}, (1, 1)),  # epochs have 1, 2, 3, 3 batches
        ({"every_n_train_steps": 1}, (2, 1)),
        ({"every_n_train_steps": 5}, (2, 2)),
        ({"every_n_epochs": 1, "save_on_train_epoch_end": True}, (2, 1)),
    ],
)
def test_a_checkpoint_in_the_middle_or_at_the_end_of_an_epoch_goes_on_exactly(saving, stop, tmp_path):
    path = interrupted(tmp_path, stop=stop, **saving)
    sampler, callback, module = lightning_parts()
    lightning_trainer(callback).fit(module, ckpt_path=path)
    expected, finished = plain(), Record().end(sampler, module.net)
    assert finished.weights == expected.weights
    assert finished.similarity == expected.similarity
    assert finished.loss == expected.loss


def test_the_checkpoint_from_which_lightning_skips_batches_is_refused(tmp_path):
    path = interrupted(tmp_path, stop=(2, 1), every_n_train_steps=3)  # after epoch 1's last batch, before its end
    _, callback, module = lightning_parts()
    with pytest.raises(ValueError, match="after the last batch of epoch 1, but before its end"):
        lightning_trainer(callback).fit(module, ckpt_path=path)


def test_growing_epochs_without_reloading_are_refused_with_the_way_out():
    _, callback, module = lightning_parts()
    with pytest.raises(ValueError, match=r"grow from 8 to 24 .*reload_dataloaders_every_n_epochs=1"):
        lightning_trainer(callback, reload_dataloaders_every_n_epochs=0).fit(module)


def test_without_the_callback_growing_epochs_that_are_cut_are_told_of():
    """Lightning sets the epochs, and trains as many batches of each as the first one had."""
    record = Record()
    _, _, module = lightning_parts(record)
    with pytest.warns(UserWarning, match="epoch 1 has 16 samples and was left after about 8, where epoch 0 ended"):
        lightning_trainer(Quiet(), reload_dataloaders_every_n_epochs=0, max_epochs=3).fit(module)
    assert [len(steps) for steps in record.seen] == [1, 1, 1]


def test_epochs_of_one_size_need_no_reloading():
    sampler, callback, module = lightning_parts(pacing=lambda epoch: 1.0)
    lightning_trainer(callback, reload_dataloaders_every_n_epochs=0, max_epochs=2).fit(module)
    assert not sampler.table.is_open


@pytest.mark.parametrize("how", ["another sampler", "a new sampler for every loader", "two loaders"])
def test_a_loader_that_does_not_have_our_order_is_refused(how):
    _, callback, module = lightning_parts()
    data = bss.IndexedDataset(Samples())
    loaders = {
        "another sampler": lambda: DataLoader(data, batch_size=BATCH, shuffle=True),
        "a new sampler for every loader": lambda: DataLoader(data, batch_size=BATCH, sampler=curriculum()),
        "two loaders": lambda: [DataLoader(data, batch_size=BATCH, sampler=module.sampler) for _ in range(2)],
    }
    module.train_dataloader = loaders[how]
    number = "2" if how == "two loaders" else "none"
    with pytest.raises(
        ValueError, match=f"{number} of the training loaders, with .*Sampler, use the callback's sampler"
    ):
        lightning_trainer(callback).fit(module)


@pytest.mark.parametrize("batches", [1, 2, 0.5])
def test_overfit_batches_which_replaces_the_sampler_is_refused_by_name(batches):
    _, callback, module = lightning_parts()
    with pytest.raises(ValueError, match=rf"overfit_batches={batches}\) replaces the sampler.*limit_train_batches"):
        lightning_trainer(callback, overfit_batches=batches).fit(module)


# ---- a first try: a few batches, a rate that is looked for, several loaders ----


def self_paced(record=None):
    """Three batches in every epoch: (sampler, callback, module)."""
    _, _, module = lightning_parts(record)
    module.sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N), seed=1)
    heads = {name: f"net.{place}" for name, place in HEADS.items()}
    return module.sampler, BalanceCallback(module.sampler, heads=heads, fused="net.fusion"), module


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"fast_dev_run": True}, [1]),
        ({"fast_dev_run": 2}, [2]),
        ({"limit_train_batches": 1, "max_epochs": 2}, [1, 1]),
        ({"limit_train_batches": 2, "max_epochs": 2}, [2, 2]),
        ({"limit_train_batches": 0.7, "max_epochs": 2}, [2, 2]),
        ({"limit_train_batches": 1.0, "max_epochs": 2}, [3, 3]),
        ({"limit_train_batches": 9, "max_epochs": 2}, [3, 3]),
    ],
    ids=str,
)
@pytest.mark.parametrize("reload", [0, 1])
def test_a_trial_of_a_few_batches_trains_the_first_ones_of_the_order(options, sizes, reload):
    record = Record()
    _, callback, module = self_paced(record)
    lightning_trainer(callback, reload_dataloaders_every_n_epochs=reload, **options).fit(module)
    assert [len(steps) for steps in record.seen] == sizes
    for order, steps in zip(record.orders, record.seen, strict=True):
        assert list(chain(*steps)) == order[: len(list(chain(*steps)))]


def test_one_batch_of_growing_epochs_too():
    record = Record()
    _, callback, module = lightning_parts(record)
    lightning_trainer(callback, limit_train_batches=1, max_epochs=3).fit(module)
    assert [len(steps) for steps in record.seen] == [1, 1, 1]


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*")
@pytest.mark.parametrize(
    ("make", "search"),
    [
        (lightning_parts, "rate"),
        (self_paced, "rate"),
        (self_paced, "rate by callback"),
        (self_paced, "batch size"),
    ],
    ids=["CL-rate", "SPL-rate", "SPL-rate by callback", "SPL-batch size"],
)
def test_looking_for_a_rate_or_a_batch_size_leaves_no_trace(make, search, tmp_path):
    from lightning.pytorch.callbacks import LearningRateFinder
    from lightning.pytorch.tuner import Tuner

    records = []
    for searched in (True, False):
        sampler, callback, module = make()
        module.lr, module.batch_size = 0.5, BATCH
        by_callback = [LearningRateFinder(num_training_steps=7)] if searched and "callback" in search else []
        options = {"callbacks": by_callback, "default_root_dir": tmp_path}
        trainer = lightning_trainer(callback, **options)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=r"epoch|an epoch|the table|a second|a pass|the model ran")
            if searched and search == "rate":
                Tuner(trainer).lr_find(module, num_training=7)
            if searched and search == "batch size":
                Tuner(trainer).scale_batch_size(module, max_trials=2, init_val=2, steps_per_trial=2)
            trainer.fit(module)
        records.append(Record().end(sampler, module.net))
    assert records[0] == records[1]


def loaders_of(sampler, *, samples, mode):
    from lightning.pytorch.utilities import CombinedLoader

    ours = DataLoader(bss.IndexedDataset(Samples()), batch_size=BATCH, sampler=sampler)
    both = {"ours": ours, "others": DataLoader(range(samples), batch_size=BATCH)}
    return both if mode is None else CombinedLoader(both, mode)


@pytest.mark.parametrize("mode", [None, "max_size_cycle", "min_size"])
def test_one_of_several_loaders_has_the_order(mode):
    record = Record()
    sampler, callback, module = self_paced()
    step = module.training_step

    def training_step(batch, batch_idx):
        record.step(sampler, batch["ours"]["bss_index"])
        return step(batch["ours"], batch_idx)

    module.training_step = training_step
    module.train_dataloader = lambda: loaders_of(sampler, samples=N, mode=mode)
    lightning_trainer(callback, max_epochs=2).fit(module)
    assert [list(chain(*steps)) for steps in record.seen] == record.orders
    assert sampler.table.age.eq(0).all()


@pytest.mark.parametrize(("mode", "samples", "planned"), [("max_size_cycle", 2 * N, 6), ("min_size", BATCH, 1)])
def test_loaders_that_would_repeat_or_cut_the_order_are_refused(mode, samples, planned):
    sampler, callback, module = self_paced()
    module.train_dataloader = lambda: loaders_of(sampler, samples=samples, mode=mode)
    with pytest.raises(ValueError, match=f"has 3 batches.*would train {planned} of them: a CombinedLoader"):
        lightning_trainer(callback).fit(module)


def test_a_sampler_for_another_world_is_refused():
    _, callback, module = lightning_parts(num_replicas=2, rank=0)
    with pytest.raises(ValueError, match="among 2 ranks, but Lightning trains on 1"):
        lightning_trainer(callback).fit(module)


def test_batches_without_an_index_are_refused():
    sampler, callback, module = lightning_parts()
    module.train_dataloader = lambda: DataLoader(Samples(), batch_size=BATCH, sampler=sampler)
    with pytest.raises(ValueError, match=r"bss\.IndexedDataset"):
        lightning_trainer(callback).fit(module)


def test_a_table_that_nobody_fills_is_refused():
    sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N))
    _, _, module = lightning_parts()
    module.sampler = sampler
    with pytest.raises(ValueError, match="table is still empty"):
        lightning_trainer(BalanceCallback(sampler), max_epochs=1).fit(module)


def test_hooks_are_gone_after_a_training_also_after_one_that_failed():
    _, callback, module = lightning_parts()
    lightning_trainer(callback, max_epochs=1).fit(module)
    _, failed, broken = lightning_parts()
    with pytest.raises(Interruption):
        lightning_trainer(failed, callbacks=[Interrupt(0, 0)]).fit(broken)
    for network in (module, broken):
        assert not any(part._forward_hooks for part in network.modules())


def test_another_fit_is_another_run():
    """The first epoch of the second one has the order of a new table, and not of the first one's network."""
    sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N))
    heads = {name: f"net.{module}" for name, module in HEADS.items()}
    callback, records = BalanceCallback(sampler, heads=heads, fused="net.fusion"), []
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="epoch|the table")
        for _ in range(2):
            record = Record()
            _, _, module = lightning_parts(record)
            module.sampler = sampler
            lightning_trainer(callback).fit(module)
            records.append(record.end(sampler, module.net))
    assert records[0] == records[1]


def test_a_fit_that_broke_off_leaves_nothing_for_the_next():
    sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N))
    heads = {name: f"net.{module}" for name, module in HEADS.items()}
    callback, records = BalanceCallback(sampler, heads=heads, fused="net.fusion"), []
    for stop in ((0, 2), (9, 9)):
        record = Record()
        _, _, module = lightning_parts(record)
        module.sampler = sampler
        with contextlib.suppress(Interruption):
            lightning_trainer(callback, callbacks=[Interrupt(*stop)]).fit(module)
        records.append(record.end(sampler, module.net))
    _, _, module = lightning_parts(alone := Record())
    module.sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N))
    lightning_trainer(BalanceCallback(module.sampler, heads=heads, fused="net.fusion")).fit(module)
    assert records[1] == alone.end(module.sampler, module.net)


def test_scores_of_a_pass_before_the_fit_stay_and_are_not_those_of_the_next_run():
    sampler, callback, module = lightning_parts()
    lightning_trainer(callback).fit(module)
    assert Record().end(sampler, module.net).loss == plain().loss
    with pytest.raises(ValueError, match="still empty, so a curriculum"):
        lightning_trainer(callback).fit(module)


def test_heads_and_fused_belong_together():
    with pytest.raises(ValueError, match=r"one of bss's, which has its table with it.* got a ScoreTable"):
        BalanceCallback(bss.ScoreTable(4))
    with pytest.raises(ValueError, match="belong together"):
        BalanceCallback(curriculum(), heads={"a": "a", "b": "b"})
    with pytest.raises(ValueError, match="construct it with table="):
        BalanceCallback(bss.CurriculumSampler(N, difficulty=torch.zeros(N)), heads={"a": "a", "b": "b"}, fused="fusion")
