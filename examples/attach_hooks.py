"""A model that is not ours, any number of modalities: hooks on its heads fill the table.

    python examples/attach_hooks.py
    python examples/attach_hooks.py --mfeat mfeat.npz

The second form trains on the six views of the UCI "multiple features" digits.
"""

import argparse
import sys
from pathlib import Path

import torch
from data import Net, digits, mfeat, print_accuracy, print_order
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import bss
from bss.utils.errors import BssError


class Theirs(Net):
    """Keeps its unimodal logits to itself and returns a loss, as many models do."""

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        fused, unimodal = self(batch)
        return sum(cross_entropy(logits, batch["label"]) for logits in (fused, *unimodal.values()))


def main(path: Path | None = None, epochs: int = 10) -> None:
    torch.manual_seed(0)
    train, test = digits() if path is None else mfeat(path)
    model = Theirs(train.dims)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    table = bss.ScoreTable(len(train))
    sampler = bss.SelfPacedSampler(len(train), table=table, seed=0)
    loader = DataLoader(bss.IndexedDataset(train), batch_size=32, sampler=sampler)
    heads = {name: f"heads.{name}" for name in train.dims}  # modality -> name in model.named_modules()

    with bss.attach(model, table, heads=heads, fused="fusion") as scores:
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            print_order(sampler)
            model.train()
            for batch in loader:
                optimizer.zero_grad()
                with scores.batch(batch["bss_index"], batch["label"]):
                    model.loss(batch).backward()
                optimizer.step()
            table.synchronize()
    print_accuracy(model, test)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mfeat", type=Path, help="npz file with the six views")
    try:
        main(parser.parse_args().mfeat)
    except BssError as error:
        sys.exit(f"error: {error}")
