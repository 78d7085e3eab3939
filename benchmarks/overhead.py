"""What BSS itself costs: an epoch of SPL with online scores against an epoch in uniform order, in the same pipeline.

    python benchmarks/overhead.py [--samples 16] [--batch-size 8] [--repeats 5] [--set precision=bf16 ...]

CREMA-D's network at its real size on random waveforms and frames that lie in memory, so that nothing but the epochs
differs: SPL makes a weighted order, computes similarities, fills the score table in every step and closes it; uniform
order does none of it. The two are timed in turn, each first in half of the repeats: the ratios' smallest, median and
largest, and their mean with a 95 % interval (Student's t). On a CPU it is the processor time of this process that is
counted, which other work on the machine disturbs less than the clock on the wall. Also the share of the steps' time
that ``ScoreTable.update`` takes, measured inside them (on a GPU: of the host's time).
"""

import argparse
import os
import statistics
import time
from dataclasses import replace

import torch
from torch.utils.data import DataLoader, Dataset

import bss
from bss.compare.statistics import t_interval
from bss.recipes.fields import override
from bss.samplers import SelfPacedSampler, UniformSampler
from bss.tasks import cremad as task
from bss.training.environment import environment
from bss.training.loops import Step, train_epoch


class Clips(Dataset):
    """Noise in the shape of CREMA-D's samples."""

    def __init__(self, count: int, recipe: task.CremadRecipe):
        draw = torch.Generator().manual_seed(0)
        self.audio = torch.randn(count, int(recipe.seconds * recipe.sample_rate), generator=draw)
        self.visual = torch.randn(count, 3, recipe.image_size, recipe.image_size, generator=draw)
        self.label = torch.randint(6, (count,), generator=draw)

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"audio": self.audio[index], "visual": self.visual[index], "label": self.label[index]}


class TimedTable(bss.ScoreTable):
    """A score table that counts the seconds in its updates."""

    seconds = 0.0

    def update(self, *arguments, **options) -> None:
        began = host_seconds()
        super().update(*arguments, **options)
        self.seconds += host_seconds() - began


def host_seconds() -> float:
    """On a CPU the processor time of all threads; beside a GPU the time on the wall, since the host waits for it."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    flags = parser.parse_args()
    recipe = override(replace(task.SPL, batch_size=flags.batch_size), flags.set)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = task.build_model(recipe, None).to(device)
    if recipe.channels_last:
        model.encoders.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=recipe.momentum, fused=True)
    data = bss.IndexedDataset(Clips(flags.samples, recipe))
    table = TimedTable(flags.samples).to(device)
    samplers = {"SPL": SelfPacedSampler(flags.samples, table=table), "uniform": UniformSampler(flags.samples)}
    loaders = {
        name: DataLoader(data, flags.batch_size, sampler=sampler, pin_memory=device.type == "cuda")
        for name, sampler in samplers.items()
    }
    steps_seconds = 0.0

    def epoch(name: str, number: int) -> float:
        nonlocal steps_seconds
        began = host_seconds()
        samplers[name].set_epoch(number)
        steps_began = host_seconds()
        train_epoch(
            Step(
                model,
                optimizer,
                fused_weight=recipe.fused_weight,
                unimodal_weight=recipe.unimodal_weight,
                table=table if name == "SPL" else None,
                precision=recipe.precision,
            ),
            loaders[name],
        )
        if name == "SPL":
            steps_seconds += host_seconds() - steps_began
            table.synchronize()
        return host_seconds() - began

    for name in samplers:
        epoch(name, 0)
    steps_seconds = table.seconds = 0.0
    ratios = []
    for number in range(1, flags.repeats + 1):
        names = list(samplers)[:: 1 if number % 2 else -1]
        seconds = {name: epoch(name, number) for name in names}
        ratios.append(seconds["SPL"] / seconds["uniform"])

    what = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"Commit {environment()['commit']}, torch {torch.__version__}, {what}, load {os.getloadavg()[0]:.1f}")
    print(f"{flags.samples} samples in batches of {flags.batch_size}, {flags.repeats} repeats, {recipe.precision}\n")
    print("| figure | min | median | max | mean | 95 % interval | target |\n|---|---|---|---|---|---|---|")
    figures = (min(ratios), statistics.median(ratios), max(ratios), statistics.mean(ratios))
    cells = " | ".join(f"{value:.4f}" for value in figures)
    interval = t_interval(ratios)
    between = f"{interval[0]:.4f} - {interval[1]:.4f}" if interval else "-"
    print(f"| SPL epoch / uniform epoch | {cells} | {between} | 1.01 |")
    share = 100 * table.seconds / steps_seconds
    print(f"| share of the steps in `ScoreTable.update` | | | | {share:.4f} % | | 0.1 % |")


if __name__ == "__main__":
    main()
