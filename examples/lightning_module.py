"""Lightning: an unchanged LightningModule, a callback, and a curriculum whose epochs grow.

python examples/lightning_module.py
python examples/lightning_module.py --devices 2
"""

import argparse
import logging
import warnings
from functools import partial

import lightning.pytorch as pl
import torch
from data import Net, digits, print_accuracy, print_order
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import bss
from bss.integrations.lightning import BalanceCallback


class LitNet(pl.LightningModule):
    def __init__(self, dims: dict[str, int]):
        super().__init__()
        self.net = Net(dims)

    def training_step(self, batch, batch_idx):
        fused, unimodal = self.net(batch)
        target = batch["label"]
        return cross_entropy(fused, target) + sum(cross_entropy(logits, target) for logits in unimodal.values())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


class PrintOrder(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.is_global_zero:
            print_order(trainer.train_dataloader.sampler)


def main(devices: int = 1, epochs: int = 8) -> None:
    pl.seed_everything(0)
    train, test = digits()
    module = LitNet(train.dims)
    table = bss.ScoreTable(len(train))
    sampler = bss.CurriculumSampler(
        len(train),
        table=table,
        pacing=partial(bss.root_pacing, start=0.3, grow_epochs=5),
        warmup_epochs=1,  # the first epoch sees everything once: it fills the table
        seed=0,
    )
    heads = {name: f"net.heads.{name}" for name in train.dims}
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        callbacks=[BalanceCallback(sampler, heads=heads, fused="net.fusion"), PrintOrder()],
        reload_dataloaders_every_n_epochs=1,  # or Lightning would cut every epoch to the length of the first
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(bss.IndexedDataset(train), batch_size=32 // devices, sampler=sampler))
    if trainer.is_global_zero:
        print_accuracy(module.net, test)


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=1)
    flags = parser.parse_args()
    if flags.devices < 1:
        parser.error(f"--devices must be >= 1, got {flags.devices}")
    main(flags.devices)
