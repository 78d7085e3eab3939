"""The field's usual network: two encoders, one linear head on their features side by side, no head of their own.

    python examples/concat_head.py

It has the interface of OGM-GE (GeWu-Lab/OGM-GE_CVPR2022) and of the many forks of it: `model(spec, image)` returns the
features of both modalities and the logits, `fusion_module.fc_out` is the head, `train_epoch` is called once an epoch.
In a fork the lines that end in `# BSS` go into `main.py`:

    @@ imports
    +import bss
    @@ train_epoch
    -def train_epoch(args, epoch, model, device, dataloader, optimizer, scheduler):
    +def train_epoch(args, epoch, model, device, dataloader, optimizer, scheduler, table, logits_of):
    -    for step, (spec, image, label) in enumerate(dataloader):
    +    for step, (index, (spec, image, label)) in enumerate(dataloader):
             a, v, out = model(spec, image)
             ...
             optimizer.step()
    +        unimodal = logits_of({"audio": a, "visual": v})
    +        table.update(index, unimodal=unimodal, fused=out, target=label)
    +    table.synchronize()
    @@ main, once the model is on its device
    +    head = (model.module if hasattr(model, "module") else model).fusion_module.fc_out
    +    logits_of = bss.slices(head, {"audio": 512, "visual": 512})
    +    table = bss.ScoreTable(len(train_dataset))
    +    sampler = bss.SelfPacedSampler(len(train_dataset), table=table, seed=0)
    -    train_dataloader = DataLoader(train_dataset, batch_size=args.batch_size, shuffle=True, ...)
    +    indexed = bss.IndexedDataset(train_dataset)
    +    train_dataloader = DataLoader(indexed, batch_size=args.batch_size, sampler=sampler, ...)
         for epoch in range(args.epochs):
    +        sampler.set_epoch(epoch)
             train_epoch(...)

The dictionaries name the modalities in the order in which the head takes their features.
"""

import torch
from data import digits, print_order
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import bss  # BSS

WIDTH = 32


class ConcatFusion(nn.Module):
    """One linear head on both modalities' features; it returns them as well."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.fc_out = nn.Linear(2 * width, classes)

    def forward(self, a: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return a, v, self.fc_out(torch.cat((a, v), dim=1))


class TwoStreams(nn.Module):
    """The upper half of a digit takes the place of the sound, the lower half that of the picture."""

    def __init__(self):
        super().__init__()
        self.audio_net = nn.Sequential(nn.Linear(32, WIDTH), nn.ReLU())
        self.visual_net = nn.Sequential(nn.Linear(32, WIDTH), nn.ReLU())
        self.fusion_module = ConcatFusion(WIDTH, classes=10)

    def forward(self, spec: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.fusion_module(self.audio_net(spec), self.visual_net(image))


def train_epoch(model, dataloader, optimizer, table, logits_of):
    model.train()
    for index, (spec, image, label) in dataloader:  # BSS: the sample's index
        a, v, out = model(spec, image)
        optimizer.zero_grad()
        cross_entropy(out, label).backward()
        optimizer.step()
        unimodal = logits_of({"audio": a, "visual": v})  # BSS
        table.update(index, unimodal=unimodal, fused=out, target=label)  # BSS
    table.synchronize()  # BSS: closes this epoch's scores


@torch.no_grad()
def print_accuracy(model, test, logits_of):
    """One line: the accuracy of the head, and of its two slices."""
    spec, image, label = test.tensors
    a, v, out = model.eval()(spec, image)
    unimodal = logits_of({"audio": a, "visual": v})
    heads = {"fused": out, "top": unimodal["audio"], "bottom": unimodal["visual"]}
    right = {name: (logits.argmax(1) == label).float().mean().item() for name, logits in heads.items()}
    print("test accuracy: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in right.items()))


def main(epochs: int = 10) -> None:
    torch.manual_seed(0)
    train_dataset, test = (TensorDataset(part.views["top"], part.views["bottom"], part.label) for part in digits())
    model = TwoStreams()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    logits_of = bss.slices(model.fusion_module.fc_out, {"audio": WIDTH, "visual": WIDTH})  # BSS
    table = bss.ScoreTable(len(train_dataset))  # BSS
    sampler = bss.SelfPacedSampler(len(train_dataset), table=table, seed=0)  # BSS: instead of shuffle=True
    indexed = bss.IndexedDataset(train_dataset)  # BSS
    train_dataloader = DataLoader(indexed, batch_size=32, sampler=sampler)  # BSS

    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # BSS: freezes this epoch's order from the scores so far
        print_order(sampler)
        train_epoch(model, train_dataloader, optimizer, table, logits_of)
    print_accuracy(model, test, logits_of)


if __name__ == "__main__":
    main()
