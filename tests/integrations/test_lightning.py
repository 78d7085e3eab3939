"""Lightning trains in our order, all of it, and scores what a plain loop scores."""

import contextlib
import logging
import warnings

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


@pytest.mark.parametrize("how", ["another sampler", "overfit_batches", "a new sampler for every loader"])
def test_a_loader_that_does_not_have_our_order_is_refused(how):
    _, callback, module = lightning_parts()
    data = bss.IndexedDataset(Samples())
    if how == "another sampler":
        module.train_dataloader = lambda: DataLoader(data, batch_size=BATCH, shuffle=True)
    if how == "a new sampler for every loader":
        module.train_dataloader = lambda: DataLoader(data, batch_size=BATCH, sampler=curriculum())
    options = {"overfit_batches": 2} if how == "overfit_batches" else {}
    with pytest.raises(ValueError, match="does not use the callback's sampler"):
        lightning_trainer(callback, **options).fit(module)


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
    with pytest.raises(ValueError, match="belong together"):
        BalanceCallback(curriculum(), heads={"a": "a", "b": "b"})
    with pytest.raises(ValueError, match="construct it with table="):
        BalanceCallback(bss.CurriculumSampler(N, difficulty=torch.zeros(N)), heads={"a": "a", "b": "b"}, fused="fusion")
