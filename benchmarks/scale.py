"""What scores and orders cost for many samples: time per sample, its growth with N, and bytes per sample.

    python benchmarks/scale.py [--max 1e7]

Every operation is timed at N = 10^4, 10^5 ... and time = c N^a is fitted (least squares on the logarithms). What is
done in every step of training (an update, the next index, the states for a checkpoint) must not grow with N; what is
done once an epoch (closing the table, making an order) may grow a little faster than N, for it sorts. "Ratio" is of the
largest N to the smallest. The column of 10^8 is arithmetic: the last measurement times 10^a for each decade, and at
least 10 for what is done once an epoch. Tensors are counted exactly; peaks are the growth of the resident set of a
fresh process, as Linux tells it. Prints Markdown; about two minutes at 10^7.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import bss
from bss.samplers import OrderSampler
from bss.training.environment import environment

BATCH, CLASSES = 256, 10
TARGET = 64  # bytes per sample of table and sampler together
LAST_OF_MULTINOMIAL = 2**24


def whole(epoch: int) -> float:
    """Every epoch sees all samples: the most expensive order."""
    return 1.0


class Case:
    """A filled table of N samples, a sampler over it, and batches to update it with."""

    def __init__(self, size: int, kind: str = "SPL"):
        self.size = size
        draw = torch.Generator().manual_seed(0)
        self.table = bss.ScoreTable(size)
        for rows in torch.arange(size).split(2**16):
            similarity, loss = torch.rand(2, len(rows), generator=draw)
            self.table.update(rows, similarity=similarity, loss=loss)
        self.table.synchronize()
        self.logits = {name: torch.randn(BATCH, CLASSES, generator=draw) for name in ("fused", "audio", "visual")}
        self.target = torch.randint(CLASSES, (BATCH,), generator=draw)
        self.indices = torch.randint(size, (64, BATCH), generator=draw)
        self.sampler = self.made(kind)
        self.epoch = 0

    def made(self, kind: str) -> OrderSampler:
        if kind == "SPL":
            return bss.SelfPacedSampler(self.size, table=self.table)
        labels = torch.arange(self.size) % CLASSES if kind == "CL, class-balanced" else None
        return bss.CurriculumSampler(self.size, table=self.table, pacing=whole, labels=labels)

    def update(self, step: int) -> None:
        unimodal = {name: self.logits[name] for name in ("audio", "visual")}
        self.table.update(self.indices[step % 64], unimodal=unimodal, fused=self.logits["fused"], target=self.target)

    def close(self) -> None:
        self.update(0)
        self.table.synchronize()

    def order(self) -> None:
        self.epoch += 1
        self.sampler.set_epoch(self.epoch)


def seconds(function: Callable[[], object], *, calls: int = 1, least: float = 0.3) -> float:
    """The fastest of several runs, per call; runs are repeated for ``least`` seconds."""
    times: list[float] = []
    while sum(times) < least and len(times) < 200:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times) / calls


def per_epoch(size: int) -> dict[str, float]:
    """Seconds of what is done once an epoch."""
    case = Case(size)
    measured = {
        "`ScoreTable.synchronize`": seconds(case.close),
        "`ScoreTable.difficulty`, min-max": seconds(case.table.difficulty),
        "`ScoreTable.difficulty`, rank": seconds(lambda: case.table.difficulty(normalize="rank")),
    }
    for kind in ("CL", "CL, class-balanced", "SPL"):
        case.sampler = case.made(kind)
        measured[f"`set_epoch`, {kind}"] = seconds(case.order)
    measured["`iter(sampler)`"] = seconds(lambda: iter(case.sampler))
    return measured


def per_step(size: int) -> dict[str, float]:
    """Seconds of what is done in every step: a batch, an index, a state."""
    case = Case(size)
    case.order()
    iterator = iter(case.sampler)
    repeated = range(200)
    return {
        f"`ScoreTable.update`, {BATCH} random rows": seconds(lambda: [case.update(i) for i in repeated], calls=200),
        "next index of the sampler": seconds(lambda: [next(iterator) for _ in range(20)], calls=20, least=0.02),
        "`ScoreTable.state_dict`": seconds(lambda: [case.table.state_dict() for _ in repeated], calls=200),
        "`sampler.state_dict`": seconds(lambda: [case.sampler.state_dict() for _ in repeated], calls=200),
    }


def exponent(sizes: Iterable[int], times: Iterable[float]) -> float:
    """a of time = c N^a, by least squares on the logarithms."""
    return float(np.polyfit(np.log(list(sizes)), np.log(list(times)), 1)[0])


# ----------------------------------------------------------------------------------------------------- memory


def counted(size: int) -> dict[str, float]:
    """Bytes per sample of the tensors that are alive in the middle of an epoch, each storage once."""
    case = Case(size, "CL, class-balanced")
    case.order()
    iterator = iter(case.sampler)
    holders = {
        "table": [case.table.similarity, case.table.loss, case.table.age, case.table._rounds],
        "table, sums of the open epoch": [case.table._open_sums, case.table._open_counts],
        "sampler, order": [case.sampler.state_dict()["order"]],
        "iterator, a copy of the order where some are left out": [torch.from_numpy(iterator._indices)],
        "sampler, labels (class-balanced only)": [case.sampler.labels],
    }
    seen: set[int] = set()
    return {name: sum(_bytes(tensor, seen) for tensor in tensors) / size for name, tensors in holders.items()}


def _bytes(tensor: Tensor, seen: set[int]) -> int:
    storage = tensor.untyped_storage()
    if storage.data_ptr() in seen:
        return 0
    seen.add(storage.data_ptr())
    return storage.nbytes()


PEAKS: dict[str, Callable[[int], object]] = {
    "table: update and synchronize": lambda size: Case(size).close(),
    "and difficulty": lambda size: Case(size).table.difficulty(),
    "and an epoch's order, CL": lambda size: iter(_ordered(size, "CL")),
    "and an epoch's order, CL, class-balanced": lambda size: iter(_ordered(size, "CL, class-balanced")),
    "and an epoch's order, SPL": lambda size: iter(_ordered(size, "SPL")),
}


def _ordered(size: int, kind: str) -> OrderSampler:
    case = Case(size, kind)
    case.order()
    return case.sampler


def peak(name: str, size: int) -> int:
    """Bytes by which the resident set of a fresh process grows at most."""
    command = [sys.executable, __file__, "--peak", name, "--max", str(size)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(name: str, size: int) -> None:
    """What the fresh process does: a small case first, for what is loaded lazily."""
    PEAKS[name](1000)
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident set is from now on
    before = _resident("VmRSS")
    PEAKS[name](size)
    print(_resident("VmHWM") - before)


def _resident(entry: str) -> int:
    """Bytes; VmRSS is the resident set now, VmHWM the largest so far."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(entry))


# ----------------------------------------------------------------------------------------------------- report


def table_of(title: str, sizes: list[int], rows: dict[int, dict[str, float]], unit: float, least: float) -> None:
    digits = 2 if least else 1
    """Markdown of the times by N; ``least`` is the smallest exponent that 10^8 is reckoned with, 1 once an epoch."""
    powers = [f"10^{len(str(size)) - 1}" for size in sizes]
    share = ["ns a sample"] if least else []
    print(f"\n| {' | '.join([title, *powers, *share, 'a', 'ratio', '10^8'])} |")
    print("|---|" + "---|" * (len(sizes) + len(share) + 3))
    for name in rows[sizes[0]]:
        times = [rows[size][name] for size in sizes]
        power = exponent(sizes, times)
        far = times[-1] * (1e8 / sizes[-1]) ** max(power, least)
        cells = [f"{value / unit:.{digits}f}" for value in times]
        cells += [f"{times[-1] / sizes[-1] * 1e9:.0f}"] * len(share)
        print(f"| {name} | {' | '.join(cells)} | {power:.2f} | {times[-1] / times[0]:.1f} | {far / unit:.{digits}f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max", type=float, default=1e7, help="largest N, a power of ten from 1e5 on")
    parser.add_argument("--peak", choices=list(PEAKS), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    largest = int(flags.max)
    torch.set_num_threads(1)  # more of them wait for one another where the machine has other work
    if flags.peak:
        print_peak(flags.peak, largest)
        return
    sizes = [10**power for power in range(4, len(str(largest)))]
    machine = environment()
    print(f"Commit {machine['commit']}, torch {torch.__version__}, Python {platform.python_version()},")
    print(f"one thread, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning")

    table_of("once an epoch, ms", sizes, {size: per_epoch(size) for size in sizes}, 1e-3, least=1)
    table_of("every step, us", sizes, {size: per_step(size) for size in sizes}, 1e-6, least=0)

    print("\n| memory | bytes a sample | at 10^8, GB |\n|---|---|---|")
    parts = counted(largest)
    both = sum(value for name, value in parts.items() if "labels" not in name)
    for name, value in {**parts, f"table, order and iterator together (target {TARGET})": both}.items():
        print(f"| {name} | {value:.1f} | {value / 10:.1f} |")
    for name in PEAKS:
        grown = peak(name, largest) / largest
        print(f"| peak, {name} | {grown:.0f} | {grown / 10:.1f} |")

    size = max(largest, LAST_OF_MULTINOMIAL + 1) if largest >= 10**7 else largest
    began = time.perf_counter()
    order = bss.weighted_order(torch.rand(size) + 0.01, seed=0, epoch=0)
    took = time.perf_counter() - began
    whole_set = bool((order.bincount(minlength=size) == 1).all())
    print(f"\n`weighted_order` of N = {size:,}: {took:.1f} s, every sample once: {whole_set}")
    print(f"Load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
