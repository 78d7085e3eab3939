"""Stop in the middle of an epoch and go on exactly there, with torchdata's StatefulDataLoader.

    python examples/stateful_dataloader.py
    python examples/stateful_dataloader.py --workers 2

The curriculum grows, so its epochs differ in length; the interrupted training must end with the very weights of the
one that was never interrupted.
"""

import argparse
import io
from functools import partial

import torch
from data import Net, Views, digits, print_accuracy, print_order
from torch.nn.functional import cross_entropy
from torchdata.stateful_dataloader import StatefulDataLoader

import bss

EPOCHS = 5
PACING = partial(bss.linear_pacing, start=0.3, grow_epochs=4)


class Training:
    """Model, optimizer, table and loader, and one state for all of them."""

    def __init__(self, train: Views, workers: int):
        torch.manual_seed(0)
        self.model = Net(train.dims)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        self.table = bss.ScoreTable(len(train))
        self.sampler = bss.CurriculumSampler(len(train), table=self.table, pacing=PACING, warmup_epochs=1, seed=0)
        self.loader = StatefulDataLoader(
            bss.IndexedDataset(train), batch_size=32, sampler=self.sampler, num_workers=workers
        )

    def run(self, *, first_epoch: int = 0, stop_at: tuple[int, int] | None = None) -> None:
        """Train to the end, or until `stop_at` = (epoch, steps in it)."""
        for epoch in range(first_epoch, EPOCHS):
            self.sampler.set_epoch(epoch)  # of an epoch that was resumed: keeps its order and position
            print_order(self.sampler)
            for step, batch in enumerate(self.loader, start=1):
                self.step(batch)
                if (epoch, step) == stop_at:
                    return
            self.table.synchronize()

    def step(self, batch: dict[str, torch.Tensor]) -> None:
        fused, unimodal = self.model(batch)
        target = batch["label"]
        loss = cross_entropy(fused, target) + sum(cross_entropy(logits, target) for logits in unimodal.values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.table.update(batch["bss_index"], unimodal=unimodal, fused=fused, target=target)

    @property
    def parts(self) -> dict:
        # The loader's state has the sampler's in it, but it is applied when the loader is iterated, after set_epoch.
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "table": self.table,
            "sampler": self.sampler,
            "loader": self.loader,
        }

    def state_dict(self) -> dict:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def main(workers: int = 0) -> None:
    train, test = digits()
    straight = Training(train, workers)
    straight.run()

    print("-- again, stopped after 12 steps of epoch 2")
    stopped = Training(train, workers)
    stopped.run(stop_at=(2, 12))
    checkpoint = io.BytesIO()  # a file, in real life
    torch.save(stopped.state_dict(), checkpoint)

    print("-- resumed")
    checkpoint.seek(0)
    resumed = Training(train, workers)
    resumed.load_state_dict(torch.load(checkpoint, weights_only=True))
    resumed.run(first_epoch=2)

    weights = zip(straight.model.parameters(), resumed.model.parameters(), strict=True)
    print("identical to the training that was never stopped:", all(torch.equal(a, b) for a, b in weights))
    print_accuracy(resumed.model, test)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=0)
    flags = parser.parse_args()
    if flags.workers < 0:
        parser.error(f"--workers must be >= 0, got {flags.workers}")
    main(flags.workers)
