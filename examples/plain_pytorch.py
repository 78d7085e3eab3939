"""An ordinary PyTorch loop; the lines that end in `# BSS` are all that balance-aware order adds to it.

python examples/plain_pytorch.py
"""

import torch
from data import Net, digits, print_accuracy, print_order
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import bss  # BSS


def main(epochs: int = 10) -> None:
    torch.manual_seed(0)
    train, test = digits()
    model = Net(train.dims)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    table = bss.ScoreTable(len(train))  # BSS
    sampler = bss.SelfPacedSampler(len(train), table=table, seed=0)  # BSS: instead of shuffle=True
    loader = DataLoader(bss.IndexedDataset(train), batch_size=32, sampler=sampler)  # BSS: the sample's index

    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # BSS: freezes this epoch's order from the scores so far
        print_order(sampler)
        model.train()
        for batch in loader:
            fused, unimodal = model(batch)
            target = batch["label"]
            loss = cross_entropy(fused, target) + sum(cross_entropy(logits, target) for logits in unimodal.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            table.update(batch["bss_index"], unimodal=unimodal, fused=fused, target=target)  # BSS
        table.synchronize()  # BSS: closes this epoch's scores
    print_accuracy(model, test)


if __name__ == "__main__":
    main()
