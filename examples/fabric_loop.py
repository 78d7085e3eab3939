"""Lightning's Fabric: the loop stays yours, and Fabric wraps network, optimizer and loader; epochs may grow.

python examples/fabric_loop.py
python examples/fabric_loop.py --devices 2
"""

import argparse
from functools import partial

import torch
from data import Net, digits, print_accuracy, print_order
from lightning.fabric import Fabric
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import bss


def main(devices: int = 1, epochs: int = 8) -> None:
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto")
    fabric.launch()
    train, test = digits()
    table = bss.ScoreTable(len(train))
    sampler = bss.CurriculumSampler(
        len(train),
        table=table,
        pacing=partial(bss.root_pacing, start=0.3, grow_epochs=5),
        warmup_epochs=1,  # the first epoch sees everything once: it fills the table
        seed=0,
    )
    net = Net(train.dims)
    model, optimizer = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=3e-3))
    loader = DataLoader(bss.IndexedDataset(train), batch_size=32 // devices, sampler=sampler)
    loader = fabric.setup_dataloaders(loader)

    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # Fabric counts as well, from 0 in every process; what is set here wins
        if fabric.is_global_zero:
            print_order(sampler)
        model.train()
        for batch in loader:
            fused, unimodal = model(batch)
            target = batch["label"]
            loss = cross_entropy(fused, target) + sum(cross_entropy(logits, target) for logits in unimodal.values())
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            table.update(batch["bss_index"], unimodal=unimodal, fused=fused, target=target)
        table.synchronize()  # the scores of all processes, once an epoch
    if fabric.is_global_zero:
        print_accuracy(net, test)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=1)
    flags = parser.parse_args()
    if flags.devices < 1:
        parser.error(f"--devices must be >= 1, got {flags.devices}")
    main(flags.devices)
