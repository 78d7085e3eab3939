"""What each process of a tiny distributed run does; test_distributed.py starts it with torchrun's variables."""

import os
import signal
import sys
from dataclasses import replace
from functools import partial

import torch

from bss.data.parts import Part
from bss.methods import (
    AGM,
    MLA,
    MSLR,
    OGMGE,
    DataRemixing,
    LossWeights,
    MMPareto,
    ModalityDropout,
    ReconBoost,
    SampleValuation,
)
from bss.recipes.presets import PAPER_SCHEDULE
from bss.training.engine import fit
from bss.training.load import load_run
from bss.training.predictions import predict_part
from bss.training.run import Run
from bss.utils import distributed
from bss.utils.errors import DataError, TrainingError
from bss.utils.interrupts import Interrupted
from tests import tiny
from tests.compare import comparing

BATCH = 12  # for one, two and three processes
CL = replace(tiny.CL, batch_size=BATCH, epochs=4)
SPL = replace(tiny.SPL, batch_size=BATCH, epochs=4)
ONLINE = replace(SPL, schedule=replace(SPL.schedule, rescore="online", history=0.5))
PAPER = replace(SPL, schedule=replace(SPL.schedule, sampler="resampling", **{**PAPER_SCHEDULE, "rescore": 2}))
ARMS = {"cl": CL, "spl": SPL, "online": ONLINE, "paper": PAPER}
STOPPED = ("cl", "online", "paper")
METHODS = {
    "loss-weights": partial(LossWeights, temperature=2.0),
    "ogm-ge": partial(OGMGE, seed=1),
    "agm": AGM,
    "mmpareto": MMPareto,
    "mslr": partial(MSLR, start={"audio": 0.5, "visual": 1.5}, history=1),
    "mla": MLA,
    "reconboost": partial(ReconBoost, batch_size=BATCH, stage_epochs=0.4, alpha=0.5),  # halves of two steps
    "modality-dropout": partial(ModalityDropout, seed=1),
    "smv": partial(SampleValuation, warmup_epochs=1, seed=1),
    "data-remixing": partial(DataRemixing, batch_size=BATCH, warmup_epochs=1, seed=1),
}


def recipe_for(method, recipe):
    """The recipe as a method needs it: without a part for the fused head, where it does not train that."""
    return recipe if method is None or method.trains_fused else replace(recipe, fused_weight=0.0, prediction="unimodal")


class Broken(torch.utils.data.Dataset):
    """A data set whose last sample cannot be read."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        if index == len(self) - 1:
            raise DataError("clip59.wav: a truncated wav file")
        return self.dataset[index]


def train(arm, out, *, signal_at=None):
    """One run of an arm; 31 test and 25 validation samples, which no number of processes divides."""
    recipe = ARMS[arm]
    data = tiny.splits(train=60, val=25, test=31)
    if signal_at is not None:
        data = replace(data, train=tiny.Signalling(data.train, signal_at, signal.SIGTERM))
    return fit(tiny.model(), data, recipe, Run(out, out, torch.device("cpu")))


def train_in_parts(out, *, accumulate):
    """A run with scores from the training forward, whose batches are cut."""
    recipe = replace(ONLINE, epochs=2, accumulate=accumulate)
    return fit(tiny.model(), tiny.splits(train=60, val=25, test=31), recipe, Run(out, out, torch.device("cpu")))


def count_averages():
    """A list that gets, for every backward pass under DistributedDataParallel, whether it averages the gradients."""
    passes, forward = [], torch.nn.parallel.DistributedDataParallel.forward

    def counting(self, *arguments, **named):
        if self.training:
            passes.append(self.require_backward_grad_sync)
        return forward(self, *arguments, **named)

    torch.nn.parallel.DistributedDataParallel.forward = counting
    return passes


def predict_test(folder):
    """What the trained network of an arm says of the test samples, as every process has it in the end."""
    loaded = load_run(folder / "cl", task=comparing.__file__)
    samples = Counted(tiny.features(31, seed=3))
    part = Part(title="test", samples=samples, names=[str(n) for n in range(31)], classes=tiny.CLASSES)
    said = predict_part(loaded, part, device=torch.device("cpu"))
    state = {"seen": samples.seen, "truth": torch.from_numpy(said.truth_N), **said.logits}
    torch.save(state, folder / f"predicted-{distributed.rank()}.pt")


class Counted(torch.utils.data.Dataset):
    """A data set that notes which samples it was asked for."""

    def __init__(self, dataset):
        self.dataset, self.seen = dataset, []

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        self.seen.append(index)
        return self.dataset[index]


def train_with(name, out):
    """One run of a method, with SPL's order."""
    data = tiny.splits(train=60, val=25, test=31)
    method, run = METHODS[name](), Run(out, out, torch.device("cpu"))
    return fit(tiny.model(), data, recipe_for(method, replace(SPL, epochs=2)), run, method=method)


class Failing(torch.utils.data.Dataset):
    """A data set of which one process alone gets something bad, after an epoch."""

    def __init__(self, dataset, act):
        self.dataset, self.act, self.count = dataset, act, 0

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        self.count += 1
        sample = self.dataset[index]
        return self.act(sample) if distributed.rank() == 1 and self.count > 40 else sample


def no_number(sample):
    return {**sample, "audio": sample["audio"] * float("nan")}


def no_memory(sample):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


FAILING = {"not-finite": no_number, "no-memory": no_memory}


def fail(what, out):
    """A run that fails in the second epoch; every process says how, and ends as a command does."""
    data = tiny.splits()
    try:
        fit(
            tiny.model(),
            replace(data, train=Failing(data.train, FAILING[what])),
            SPL,
            Run(out, out, torch.device("cpu")),
        )
    except (TrainingError, RuntimeError) as error:
        print(f"process {distributed.rank()}: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def main(what, folder):
    distributed.STEPS_BETWEEN_DECISIONS = 1
    torch.set_num_threads(1)
    with distributed.process_group(torch.device("cpu")):
        if what == "train":
            for arm in ARMS:
                train(arm, folder / arm)
            predict_test(folder)
        elif what == "stop":
            for arm in STOPPED:
                try:
                    # Each process reads its share, so rank r comes to its 20th sample at step 4 or 5.
                    train(arm, folder / arm, signal_at=20)
                except Interrupted as interrupted:
                    assert interrupted.status == 75
                else:
                    raise AssertionError("the run was not stopped")
        elif what == "continue":
            for arm in STOPPED:
                train(arm, folder / arm)
        elif what in FAILING:
            fail(what, folder / what)
        elif what == "lower":
            for name in FAILING:
                fit(
                    tiny.model(), tiny.splits(), replace(SPL, lr=0.005), Run(folder / name, folder, torch.device("cpu"))
                )
        elif what == "methods":
            for name in METHODS:
                train_with(name, folder / name)
        elif what == "parts":
            passes = count_averages()
            train_in_parts(folder / "parts", accumulate=3)
            print(f"{passes.count(False)} of {len(passes)} backward passes for oneself", flush=True)
        elif what == "break":
            data = tiny.splits(train=60, val=25, test=31)
            data = replace(data, test=Broken(data.test))
            try:
                fit(tiny.model(), data, SPL, Run(folder / "broken", folder, torch.device("cpu")))
            except DataError as error:
                print(f"process {distributed.rank()}: {error}", file=sys.stderr, flush=True)
                os._exit(2)
