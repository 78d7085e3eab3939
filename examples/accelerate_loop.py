"""Hugging Face Accelerate: its loader shards the batches itself, so the sampler must not.

python examples/accelerate_loop.py
torchrun --nproc_per_node=2 examples/accelerate_loop.py
"""

import torch
from accelerate import Accelerator
from data import Net, digits, print_accuracy, print_order
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import bss


def main(epochs: int = 8) -> None:
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    train, test = digits()
    table = bss.ScoreTable(len(train))
    sampler = bss.SelfPacedSampler(len(train), table=table, seed=0, num_replicas=1, rank=0)
    batch_size = 32 // accelerator.num_processes
    loader = DataLoader(bss.IndexedDataset(train), batch_size=batch_size, sampler=sampler)
    model = Net(train.dims)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    for epoch in range(epochs):
        loader.set_epoch(epoch)  # the prepared loader's: it tells the sampler, and keeps its own count in step
        if accelerator.is_main_process:
            print_order(sampler)
        model.train()
        for batch in loader:
            fused, unimodal = model(batch)
            target = batch["label"]
            loss = cross_entropy(fused, target) + sum(cross_entropy(logits, target) for logits in unimodal.values())
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            table.update(batch["bss_index"], unimodal=unimodal, fused=fused, target=target)
        table.synchronize()  # the scores of all processes, once an epoch
    if accelerator.is_main_process:
        print_accuracy(accelerator.unwrap_model(model), test)
    accelerator.end_training()


if __name__ == "__main__":
    main()
