"""What one GPU makes of a recipe, in parts that end after nine minutes each, whatever the card and the machine.

    python benchmarks/gpu.py --task cremad --workers 12 --part formats

On clips in the sizes of the data set (see versus_released.py), at the recipe's batch size:

- ``profile``: training steps on resident tensors in ``bf16, channels-last``, and which operations their time goes into;
- ``formats``: for each, training steps with online scores on one batch of random tensors that is on the GPU already:
  samples a second, and the share of the rate at which the card multiplies large matrices in that format; also for
  PyTorch's own choice of kernels, where those of a run are deterministic;
- ``files``: the training epochs of a run as a user starts it, self-paced order with online scores, from the second on
  (the first starts the loader processes, and compiles): samples a second, and their share of the rate of the network
  on resident tensors. Runs take turns. Then the cost of an order, as the ratio to uniform order, and with
  ``--released`` the released code's SPL epoch against ours;
- ``gradients``: of one batch and the same weights, against those of the CPU in fp32. PyTorch has computed wrong ones
  for convolutions in channels-last on some cards (https://github.com/pytorch/pytorch/issues/150700).

Without ``--part`` all of them come in turn. What was not begun when a part's minutes were over is named as not run.
Times are medians (smallest - largest).
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from released_vs_ours import (
    KINDS,
    Ours,
    Released,
    at_least,
    checked,
    machine,
    parser_of,
    quiet,
    random_batch,
    run_main,
    spread,
    write_files,
)
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from versus_released import HALF, ONLINE, PLAIN

from bss.models.precision import autocast, to_channels_last
from bss.training.engine import fit
from bss.training.run import Run

STEPS = 10
"""Steps of the network alone between two looks at the clock."""


@dataclass(frozen=True)
class Format:
    """A way to run the network.

    Attributes:
        settings: of the recipe.
        matrix: the format of the card's matrix rate that its convolutions are held against.
    """

    settings: tuple[str, ...]
    matrix: str


FORMATS = {
    "fp32": Format(PLAIN, "tf32"),
    "fp32, channels-last": Format(("precision=fp32", "channels_last=true"), "tf32"),
    "bf16": Format(("precision=bf16", "channels_last=false"), "bf16"),
    "bf16, channels-last": Format(HALF, "bf16"),
    "bf16, channels-last, compiled": Format((*HALF, "compile=true"), "bf16"),
}
"""PyTorch lets convolutions of fp32 tensors round their factors to TF32, unless told otherwise, and so do we."""

ORDERS_IN = "bf16, channels-last"
"""The format that is profiled, and in which orders are held against uniform order."""


MINUTES = 9.0
"""Of a part: what lends a GPU to a benchmark may end a command after ten."""

UNIFORM = f"{ORDERS_IN}, uniform order"


def matrix_rates(device: torch.device, size: int) -> dict[str, float]:
    """TFLOP/s of a product of two random square matrices, by format; the median of twenty after five."""
    rates = {}
    for name, dtype in (("bf16", torch.bfloat16), ("tf32", torch.float32)):
        left, right = torch.randn(2, size, size, device=device, generator=torch.Generator(device).manual_seed(0)).to(
            dtype
        )
        with tf32(name == "tf32"):
            times = timed(partial(torch.matmul, left, right), 25, device)[5:]
        rates[name] = 2 * size**3 / statistics.median(times) / 1e12
    return rates


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let matrix products round their factors to TF32 inside the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """cuDNN's kernels: those that a run uses, or whatever PyTorch finds fastest."""
    cudnn = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = not wanted, wanted
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = flags


def timed(work: Callable[[], Any], times: int, device: torch.device) -> list[float]:
    """Seconds of each call, with the device's work done."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return seconds


def network_alone(ours: Ours, blocks: int, *, as_in_a_run: bool) -> list[float]:
    """Samples a second of training steps on resident tensors, of each block of steps after the first two.

    Args:
        ours: recipe and files.
        blocks: that are measured.
        as_in_a_run: with deterministic kernels.
    """
    _, train = ours.steps_on_resident_tensors(STEPS)
    with deterministic(as_in_a_run):
        seconds = timed(train, 2 + blocks, ours.device)[2:]
    return [STEPS * ours.recipe.batch_size / each for each in seconds]


def operations(ours: Ours) -> float:
    """TFLOP of a training step on a sample, forward and backward; a multiplication and an addition are two."""
    recipe = ours.recipe
    model = ours.kind.task.build_model(recipe, ours.root).to(ours.device)
    batch = random_batch(ours.kind, recipe, 2, ours.device)
    with FlopCounterMode(display=False) as counter:
        logits = model(batch)
        (logits.fused.sum() + sum(head.sum() for head in logits.unimodal.values())).backward()
    return counter.get_total_flops() / 2 / 1e12


@dataclass(frozen=True)
class Epochs:
    """Seconds of the epochs of a run from the second on: of the steps alone, and with scoring, order and measuring."""

    steps: list[float]
    whole: list[float]


def from_files(ours: Ours, epochs: int) -> Epochs:
    """Train on the files as a user does."""
    recipe = replace(ours.recipe, epochs=1 + epochs)
    with tempfile.TemporaryDirectory() as folder, quiet():
        run = Run(out=Path(folder) / "run", data_root=ours.root, device=ours.device, workers=ours.workers)
        fit(ours.kind.task.build_model(recipe, ours.root), ours.data, recipe, run)
        rows = [json.loads(row) for row in (run.out / "metrics.jsonl").open()][1:]
    return Epochs([row["train_seconds"] for row in rows], [row["seconds"] for row in rows])


def in_time(names: Iterable[str], flags: argparse.Namespace) -> Iterator[str]:
    """The names as long as the part has time, each when it is asked for; a row of a table for each of the others."""
    for name in names:
        if time.monotonic() < flags.ends:
            yield name
        else:
            print(f"| {name} | not run: out of time |", flush=True)


def print_profile(sides: dict[str, Ours], flags: argparse.Namespace) -> None:
    """Markdown: the operations that the most time of a training step goes into, on the device."""
    name = ORDERS_IN if ORDERS_IN in sides else next(iter(sides))
    _, train = sides[name].steps_on_resident_tensors(STEPS)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if flags.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with deterministic(True):
        train()
        with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
            timed(train, 1, flags.device)
    spent = "self_device_time_total" if flags.device.type == "cuda" else "self_cpu_time_total"
    found = sorted(profiler.key_averages(), key=lambda each: getattr(each, spent), reverse=True)
    whole = sum(getattr(each, spent) for each in found) or 1
    print(f"\n| operation, {name} | share of the time % | ms a step | calls a step |\n|---|---|---|---|")
    for each in found[:OPERATIONS]:
        took = getattr(each, spent)
        figures = f"{100 * took / whole:.1f} | {took / 1000 / STEPS:.2f} | {each.count / STEPS:.0f}"
        print(f"| {each.key[:80]} | {figures} |", flush=True)


OPERATIONS = 15
"""The most that a profile shows."""


def gradients(ours: Ours, device: torch.device, size: int) -> dict[str, torch.Tensor]:
    """Gradient of every weight, of the summed losses of all heads on one batch, in the recipe's format."""
    model = ours.kind.task.build_model(ours.recipe, ours.root).to(device)
    if ours.recipe.channels_last:
        to_channels_last(model)
    batch = random_batch(ours.kind, ours.recipe, size, device)
    with deterministic(True), autocast(device, ours.recipe.precision):
        logits = model(batch)
    heads = [logits.fused, *logits.unimodal.values()]
    sum(F.cross_entropy(head.float(), batch["label"]) for head in heads).backward()
    return {name: each.grad.float().cpu() for name, each in model.named_parameters() if each.grad is not None}


def difference(found: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Distance of each gradient from the right one, as a share of that one's length."""
    return {
        name: float((found[name] - each).norm() / each.norm().clamp_min(torch.finfo(each.dtype).tiny))
        for name, each in right.items()
    }


def print_gradients(sides: dict[str, Ours], flags: argparse.Namespace) -> None:
    """Markdown: a row for each format that is not compiled."""
    size = min(flags.batch_size, SAMPLES_OF_A_GRADIENT)
    plain = {name: side for name, side in sides.items() if not side.recipe.compile}
    right = gradients(flags.side((ONLINE, *PLAIN)), torch.device("cpu"), size)
    print(
        f"\n{size} samples, {len(right)} gradients; distance from those of the CPU in fp32, as a share of their length"
    )
    print("\n| gradients | median | largest | of |\n|---|---|---|---|", flush=True)
    for name in in_time(plain, flags):
        apart = difference(gradients(plain[name], flags.device, size), right)
        worst = max(apart, key=apart.__getitem__)
        print(f"| {name} | {statistics.median(apart.values()):.2g} | {apart[worst]:.2g} | {worst} |", flush=True)


SAMPLES_OF_A_GRADIENT = 8
"""The most: the CPU has to do them as well."""


def rates_on_resident_tensors(sides: Mapping[str, Ours], flags: argparse.Namespace) -> dict[str, float]:
    """Median samples a second of the network alone, by format."""
    return {
        name: statistics.median(network_alone(sides[name], flags.blocks, as_in_a_run=True))
        for name in in_time(sides, flags)
    }


def print_networks(sides: dict[str, Ours], flags: argparse.Namespace) -> None:
    """Markdown: a row for each format, on resident tensors."""
    rates = matrix_rates(flags.device, flags.matrix)
    cost = operations(next(iter(sides.values())))
    print(f"\n{1000 * cost:.0f} GFLOP a sample and training step; matrices of {flags.matrix} rows: ", end="")
    print(", ".join(f"{rate:.0f} TFLOP/s {name}" for name, rate in rates.items()))
    print("\n| network | samples/s | / the first | TFLOP/s, of the matrix rate | free kernels, samples/s |")
    print("|---|---|---|---|---|", flush=True)
    medians: dict[str, float] = {}
    for name in in_time(sides, flags):
        ours = sides[name]
        alone = network_alone(ours, flags.blocks, as_in_a_run=True)
        free = network_alone(ours, flags.blocks, as_in_a_run=False)
        medians[name] = statistics.median(alone)
        rate, first = cost * medians[name], next(iter(medians.values()))
        share = f"{rate:.0f}, {100 * rate / rates[flags.formats[name].matrix]:.0f} %"
        ratio = f"{medians[name] / first:.2f}"
        print(f"| {name} | {spread(alone, 0)} | {ratio} | {share} | {spread(free, 0)} |", flush=True)


def print_files(runs: dict[str, list[Epochs]], sides: dict[str, Ours], networks: dict[str, float]) -> None:
    """Markdown: a row for each format, on files."""
    print("\n| files | samples/s | / network | / the first |\n|---|---|---|---|")
    medians: dict[str, float] = {}
    for name, alone in networks.items():
        if not runs[name]:
            print(f"| {name} | not run: out of time |")
            continue
        samples = sides[name].batches * sides[name].recipe.batch_size
        rates = [samples / seconds for run in runs[name] for seconds in run.steps]
        medians[name] = statistics.median(rates)
        first = next(iter(medians.values()))
        print(
            f"| {name} | {spread(rates, 0)} | {medians[name] / alone:.2f} | {medians[name] / first:.2f} |", flush=True
        )


def print_orders(runs: dict[str, list[Epochs]], uniform: list[Epochs]) -> None:
    """Markdown: what an order costs, against uniform order in the same format; a ratio for each round."""
    print("\n| order, in bf16 and channels-last | steps / uniform's | whole epoch / uniform's |\n|---|---|---|")
    for name, measured in runs.items():
        pairs = list(zip(measured, uniform, strict=False))  # the last round may be cut short
        if not pairs:
            print(f"| {name} | not run: out of time |")
            continue
        steps = [statistics.median(a.steps) / statistics.median(b.steps) for a, b in pairs]
        whole = [statistics.median(a.whole) / statistics.median(b.whole) for a, b in pairs]
        print(f"| {name} | {spread(steps, 3)} | {spread(whole, 3)} |", flush=True)


def print_released(released: Released, runs: dict[str, list[Epochs]]) -> None:
    """Markdown: the released code's SPL epoch, the second of two, against ours."""
    theirs = [released.epoch().whole for _ in range(2)][1]
    print(f"\nThe released SPL epoch: {theirs:.1f} s\n\n| ours | seconds | released / ours |\n|---|---|---|")
    for name, measured in runs.items():
        seconds = [each for run in measured for each in run.whole]
        print(f"| {name} | {spread(seconds)} | {spread([theirs / each for each in seconds], 1)} |", flush=True)


def print_epochs(sides: dict[str, Ours], flags: argparse.Namespace) -> None:
    """Markdown: files against resident tensors, orders against uniform order, the released code against ours."""
    if not flags.epochs:
        return
    settings = FORMATS[ORDERS_IN].settings
    networks = rates_on_resident_tensors(sides, flags)
    scored = {f"{ORDERS_IN}, scoring pass": flags.side(settings)} if ORDERS_IN in sides else {}
    everything = {**sides, **scored, UNIFORM: flags.side(settings, uniform=True)}
    runs: dict[str, list[Epochs]] = {name: [] for name in everything}
    plan = [name for _ in range(flags.repeats) for name in everything]
    for name in tqdm(plan, f"{flags.task} runs", unit="run", disable=None, leave=False):
        if time.monotonic() < flags.ends:
            runs[name].append(from_files(everything[name], flags.epochs))
    print_files(runs, sides, networks)
    if scored:
        print_orders({name: runs[name] for name in (ORDERS_IN, *scored)}, runs[UNIFORM])
    if flags.released and time.monotonic() < flags.ends:
        shown = {name: runs[name] for name in (*sides, *scored) if runs[name]}
        print_released(Released(flags.released, *flags.common), shown)
    elif flags.released:
        print("\nThe released SPL epoch: not run, out of time")


PARTS: dict[str, Callable[[dict[str, Ours], argparse.Namespace], None]] = {
    "profile": print_profile,
    "formats": print_networks,
    "files": print_epochs,
    "gradients": print_gradients,
}


def formats_of(text: str) -> dict[str, Format]:
    """The named ones, for argparse."""
    names = text.split(";")
    if unknown := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"no format {unknown[0]!r}: {'; '.join(FORMATS)}")
    return {name: FORMATS[name] for name in names}


def main():
    parser = parser_of(__doc__, samples=2048, repeats=3, alone=True)
    parser.set_defaults(device=torch.device("cuda"), batch_size=None, workers=8)
    parser.add_argument("--part", choices=PARTS, action="append", help="again for more than one; default: all")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of a part, after which it begins nothing more")
    parser.add_argument("--epochs", type=at_least(0), default=3, help="of a run, after its first; 0: no files")
    parser.add_argument("--blocks", type=at_least(1), default=5, help=f"of {STEPS} steps of the network alone")
    parser.add_argument(
        "--matrix", type=at_least(1), default=8192, help="rows of the matrices that give the card's rate"
    )
    parser.add_argument("--formats", type=formats_of, default=FORMATS, help="some of them, with semicolons between")
    flags = parser.parse_args()
    flags.batch_size = flags.batch_size or KINDS[flags.task].task.SPL.batch_size
    checked(flags)
    torch.set_num_threads(flags.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / flags.task
        common = (flags.task, root, flags.batch_size, flags.device, flags.workers)
        write_files(flags.task, root, flags.samples)

        def side(settings: Sequence[str], *, uniform: bool = False) -> Ours:
            return Ours(*common, [*settings, *flags.set], uniform=uniform)

        flags.side, flags.common = side, common
        print(machine(flags))
        online = {name: side((ONLINE, *each.settings)) for name, each in flags.formats.items()}
        for name in flags.part or PARTS:
            flags.ends = time.monotonic() + 60 * flags.minutes
            PARTS[name](online, flags)


if __name__ == "__main__":
    run_main(main)
