"""HF Trainer trains in our order, growing epochs included, and resumes in it."""

import tempfile
import warnings
from collections import UserDict

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import Trainer, TrainerCallback, TrainingArguments

import bss
from bss.integrations.transformers import BalanceTrainerMixin
from tests.plugins import HEADS, N, Net, Samples, check, curriculum, plain, stop_at, trainer, two_processes


def test_one_process_equals_the_plain_loop_bit_for_bit():
    record, ours = trainer()
    check([record], interleaved=True)
    assert record == plain()
    assert ours.state.global_step == ours.state.max_steps == 1 + 2 + 3 + 3


def test_two_processes_see_every_window_once_and_get_the_same_scores():
    records = two_processes()["transformers"]
    check(records, interleaved=False)
    expected = plain()
    for record in records:
        assert record.orders == expected.orders
        for name in ("similarity", "loss", "weights"):
            assert getattr(record, name) == pytest.approx(getattr(expected, name), abs=1e-4)


def test_two_processes_resume_in_the_middle_of_an_epoch_exactly():
    straight, resumed = two_processes()["transformers"], two_processes()["resumed transformers"]
    for before, after in zip(straight, resumed, strict=True):
        assert after.weights == before.weights
        assert after.similarity == pytest.approx(before.similarity, abs=1e-6)  # summed over ranks in another order
        assert after.loss == pytest.approx(before.loss, abs=1e-6)


def test_a_labels_column_and_the_index_survive_the_removal_of_unused_columns():
    record, ours = trainer(num_train_epochs=1)
    assert ours.args.remove_unused_columns
    assert record.seen[0] == [record.orders[0]]


class Encoded(Samples):
    """Samples of a mapping that is no dict, as a tokenizer's BatchEncoding is."""

    def __getitem__(self, index):
        return UserDict(super().__getitem__(index))


def test_samples_of_another_mapping_keep_their_keys():
    record, _ = trainer(data=Encoded("labels"))
    assert record == plain()


def test_the_learning_rate_schedule_spans_the_curriculum():
    _, ours = trainer(lr_scheduler_type="linear")
    assert ours.lr_scheduler.get_last_lr() == [0.0]


@pytest.mark.parametrize(("options", "sizes"), [({"max_steps": 5}, [1, 2, 2]), ({"num_train_epochs": 2.5}, [1, 2, 2])])
def test_a_training_that_ends_in_the_middle_of_an_epoch(options, sizes):
    record, _ = trainer(**options)
    assert [len(steps) for steps in record.seen] == sizes


def test_gradient_accumulation_steps_at_the_end_of_every_epoch():
    record, ours = trainer(gradient_accumulation_steps=2)
    assert [len(steps) for steps in record.seen] == [1, 2, 3, 3]
    assert ours.state.global_step == 1 + 1 + 2 + 2


@pytest.mark.parametrize("saved", [1, 3, 4, 5])  # epochs end at steps 1, 3, 6, 9
def test_a_checkpoint_goes_on_exactly(saved, tmp_path):
    trainer(folder=tmp_path, save_strategy="steps", save_steps=1, callbacks=[stop_at(saved + 1)])
    record, _ = trainer(folder=tmp_path, resume=str(tmp_path / f"checkpoint-{saved}"))
    expected = plain()
    assert record.weights == expected.weights
    assert record.similarity == expected.similarity
    assert record.loss == expected.loss


def test_a_checkpoint_without_our_part_is_refused(tmp_path):
    trainer(folder=tmp_path, save_strategy="steps", save_steps=2, callbacks=[stop_at(2)])
    (tmp_path / "checkpoint-2" / "bss.pt").unlink()
    with pytest.raises(ValueError, match=r"has no bss\.pt"):
        trainer(folder=tmp_path, resume=str(tmp_path / "checkpoint-2"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": curriculum(num_replicas=2, rank=0)}, r"Trainer shards .* num_replicas=1, rank=0"),
        ({"train_sampling_strategy": "group_by_length"}, "would replace the sampler's order"),
        ({"sampler": bss.SelfPacedSampler(N + 1, table=bss.ScoreTable(N + 1))}, "25 samples, train_dataset has 24"),
    ],
)
def test_settings_that_would_change_the_order_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        trainer(**options)


def test_a_table_that_nobody_fills_is_refused():
    with pytest.raises(ValueError, match="table is still empty"):
        trainer(sampler=bss.SelfPacedSampler(N, table=bss.ScoreTable(N)), heads=None)


def test_a_data_set_without_an_index_is_refused(tmp_path):
    class Ours(BalanceTrainerMixin, Trainer):
        pass

    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[], disable_tqdm=True)
    ours = Ours(Net(), arguments, train_dataset=Samples(), sampler=curriculum(), heads=HEADS, fused="")
    with pytest.raises(ValueError, match=r"bss\.IndexedDataset"):
        ours.train()


# ---- other runs, other models ----


def test_another_training_is_another_run():
    """The first epoch of the second one has the order of a new table, and not of the first one's network."""
    sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N), num_replicas=1, rank=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        first, _ = trainer(sampler=sampler)
        second, _ = trainer(sampler=sampler)
    assert second == first


def test_the_same_trainer_trains_twice_as_another_run():
    sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N), num_replicas=1, rank=0)
    record, ours = trainer(sampler=sampler)
    orders, record.orders, record.seen = record.orders, [], []
    with tempfile.TemporaryDirectory() as folder:
        ours.args.output_dir = folder
        ours.train()
    assert record.orders[0] == orders[0] and record.orders[1] != orders[1]  # the network is a trained one by now


def test_scores_of_a_pass_before_the_training_stay():
    sampler = curriculum(num_replicas=1, rank=0)
    assert trainer(sampler=sampler)[0] == plain()
    with pytest.raises(ValueError, match="still empty, so a curriculum"):  # and are not there for another run
        trainer(sampler=sampler)


class Wrapped(nn.Module):
    """What LoRA and its kind make of a head."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, features):
        return 3 * self.head(features)


class Ours(BalanceTrainerMixin, Trainer):
    pass


def arguments(folder):
    return TrainingArguments(
        str(folder), use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=1, learning_rate=0.0
    )


def losses(model):
    rows = Samples()
    model = model.train()
    target = torch.tensor([rows[index]["label"] for index in range(N)])
    logits = [model.heads["a"](rows.a), model.heads["b"](rows.b)]
    return bss.sample_loss(
        *(z.detach() for z in [model.fusion(torch.cat(logits, 1))]), [z.detach() for z in logits], target
    )


@pytest.mark.parametrize("how", ["wrapped after construction", "model_init"])
def test_the_heads_are_those_of_the_model_that_is_trained(how, tmp_path):
    sampler, models = bss.SelfPacedSampler(N, table=bss.ScoreTable(N), num_replicas=1, rank=0), []

    def init():
        models.append(Net())
        with torch.no_grad():
            models[-1].heads["a"].weight += len(models)
        return models[-1]

    model = {"model": Net()} if how != "model_init" else {"model_init": init}
    ours = Ours(
        args=arguments(tmp_path), train_dataset=bss.IndexedDataset(Samples("labels")), sampler=sampler, heads=HEADS,
        fused="fusion", **model,
    )  # fmt: skip
    if how != "model_init":
        ours.model.heads["a"] = Wrapped(ours.model.heads["a"])
    ours.train()
    assert torch.allclose(sampler.table.loss, losses(ours.model), atol=1e-5)
    assert not any(part._forward_hooks for part in ours.model.modules())


def test_a_head_that_changes_during_the_training_is_refused(tmp_path):
    class Change(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            model.heads["a"] = Wrapped(model.heads["a"])

    sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N), num_replicas=1, rank=0)
    ours = Ours(
        Net(), arguments(tmp_path), train_dataset=bss.IndexedDataset(Samples("labels")), sampler=sampler, heads=HEADS,
        fused="fusion", callbacks=[Change()],
    )  # fmt: skip
    with pytest.raises(ValueError, match="attach after wrapping"):
        ours.train()


def test_a_trainer_with_a_loader_of_its_own_is_refused_before_it_trains(tmp_path):
    """sentence-transformers' trainers never ask for the sampler, and so do many get_train_dataloader of users."""

    class Own(BalanceTrainerMixin, Trainer):
        def get_train_dataloader(self):
            return self.accelerator.prepare(DataLoader(self.train_dataset, batch_size=8, shuffle=True))

        def training_step(self, *args, **kwargs):
            raise AssertionError("trained")

    sampler = bss.SelfPacedSampler(N, table=bss.ScoreTable(N), num_replicas=1, rank=0)
    data = bss.IndexedDataset(Samples("labels"))
    ours = Own(Net(), arguments(tmp_path), train_dataset=data, sampler=sampler, heads=HEADS, fused="fusion")
    with pytest.raises(ValueError, match=r"does not ask for the sampler: its get_train_dataloader"):
        ours.train()


def test_the_mixin_must_come_before_trainer(tmp_path):
    with pytest.raises(ValueError, match="BalanceTrainerMixin, Trainer"):
        BalanceTrainerMixin(sampler=curriculum())
