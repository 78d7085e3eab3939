"""Hugging Face Trainer: a mixin, and a curriculum whose epochs grow.

python examples/hf_trainer.py
torchrun --nproc_per_node=2 examples/hf_trainer.py
"""

import os
import tempfile
from functools import partial

import torch
from data import Net, digits, print_accuracy, print_order
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainingArguments

import bss
from bss.integrations.transformers import BalanceTrainerMixin


class TrainerNet(nn.Module):
    """As Trainer wants it: inputs by name, and an output with the loss."""

    def __init__(self, dims: dict[str, int]):
        super().__init__()
        self.net = Net(dims)

    def forward(self, top: Tensor, bottom: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        fused, unimodal = self.net({"top": top, "bottom": bottom})
        output = {"logits": fused}
        if labels is not None:
            output["loss"] = sum(cross_entropy(logits, labels) for logits in (fused, *unimodal.values()))
        return output


class BalanceTrainer(BalanceTrainerMixin, Trainer):
    pass


class PrintOrder(TrainerCallback):
    def __init__(self, sampler: bss.CurriculumSampler):
        self.sampler, self.epoch = sampler, None

    def on_step_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero and self.epoch != self.sampler.epoch:
            self.epoch = self.sampler.epoch
            print_order(self.sampler)


def main(epochs: int = 8) -> None:
    train, test = digits()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    sampler = bss.CurriculumSampler(
        len(train),
        table=bss.ScoreTable(len(train)),
        pacing=partial(bss.root_pacing, start=0.3, grow_epochs=5),
        warmup_epochs=1,
        seed=0,
        num_replicas=1,  # Trainer shards the batches
        rank=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=32 // world,
            learning_rate=3e-3,
            use_cpu=True,
            seed=0,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        torch.manual_seed(0)
        model = TrainerNet(train.dims)
        trainer = BalanceTrainer(
            model,
            arguments,
            train_dataset=bss.IndexedDataset(train),
            callbacks=[PrintOrder(sampler)],
            sampler=sampler,
            heads={name: f"net.heads.{name}" for name in train.dims},
            fused="",  # the model's own output has the fused logits
        )
        trainer.train()
    if trainer.is_world_process_zero():
        print_accuracy(model.net, test)


if __name__ == "__main__":
    main()
