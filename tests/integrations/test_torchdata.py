"""torchdata's StatefulDataLoader resumes in the middle of an epoch exactly, with workers and without."""

import io

import pytest
import torch

pytest.importorskip("torchdata")

from torchdata.stateful_dataloader import StatefulDataLoader

import bss
from tests.plugins import BATCH, EPOCHS, HEADS, N, Net, Record, Samples, check, curriculum, plain, sgd


class Training:
    """Everything that a checkpoint holds."""

    def __init__(self, workers, make=curriculum):
        self.sampler, self.model, self.record = make(), Net(), Record()
        self.optimizer = sgd(self.model)
        self.loader = StatefulDataLoader(
            bss.IndexedDataset(Samples()), batch_size=BATCH, sampler=self.sampler, num_workers=workers
        )
        self.parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "table": self.sampler.table,
            "sampler": self.sampler,
            "loader": self.loader,
        }

    def run(self, *, first=0, stop=None):
        scores = bss.attach(self.model, self.sampler.table, heads=HEADS, fused="fusion")
        for epoch in range(first, EPOCHS):
            self.sampler.set_epoch(epoch)
            for step, batch in enumerate(self.loader, start=1):
                self.record.step(self.sampler, batch["bss_index"])
                self.optimizer.zero_grad()
                with scores.batch(batch["bss_index"], batch["label"]):
                    self.model(batch["a"], batch["b"], batch["label"])["loss"].backward()
                self.optimizer.step()
                if (epoch, step) == stop:
                    return self
            self.sampler.table.synchronize()
        return self

    def saved(self):
        file = io.BytesIO()
        torch.save({name: part.state_dict() for name, part in self.parts.items()}, file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    def load(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return self


@pytest.mark.parametrize("workers", [0, 2])
def test_an_uninterrupted_training_equals_the_plain_loop_bit_for_bit(workers):
    training = Training(workers).run()
    check([training.record], interleaved=True)
    assert training.record.end(training.sampler, training.model) == plain()


@pytest.mark.parametrize(("workers", "stop"), [(0, (1, 1)), (0, (2, 2)), (2, (1, 1)), (2, (2, 2)), (0, (2, 3))])
def test_a_training_that_stopped_in_mid_epoch_goes_on_exactly(workers, stop):
    state = Training(workers).run(stop=stop).saved()
    resumed = Training(workers).load(state).run(first=stop[0])
    expected = plain()
    finished = resumed.record.end(resumed.sampler, resumed.model)
    assert finished.weights == expected.weights
    assert finished.similarity == expected.similarity
    assert finished.loss == expected.loss


def test_a_weighted_order_goes_on_exactly_too():
    def weighted():
        return bss.SelfPacedSampler(N, table=bss.ScoreTable(N), seed=1)

    straight = Training(0, weighted).run()
    state = Training(0, weighted).run(stop=(1, 2)).saved()
    resumed = Training(0, weighted).load(state).run(first=1)
    expected, finished = (one.record.end(one.sampler, one.model) for one in (straight, resumed))
    assert finished.orders[1:] == expected.orders[1:]
    assert (finished.weights, finished.loss) == (expected.weights, expected.loss)


def test_a_checkpoint_between_two_epochs_begins_the_next_one():
    training = Training(0).run(stop=(1, 2))
    training.sampler.table.synchronize()
    resumed = Training(0).load(training.saved()).run(first=2)
    assert resumed.record.end(resumed.sampler, resumed.model).weights == plain().weights


def test_a_sampler_that_was_not_loaded_says_so_instead_of_drawing_another_order():
    state = Training(0).run(stop=(1, 1)).saved()
    resumed = Training(0)
    resumed.parts.pop("sampler")
    with pytest.raises(ValueError, match=r"sampler\.load_state_dict\(\.\.\.\) before set_epoch"):
        resumed.load(state).run(first=1)
