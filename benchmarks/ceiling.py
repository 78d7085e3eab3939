"""How near an epoch comes to its arithmetic: the same network's steps on random tensors that are there already.

    python benchmarks/ceiling.py --released IJCAI25-BSS --task cremad

Five sides in turn, on clips in the sizes of the data set (see versus_released.py), with new networks every time: our
epoch (online scores, fp32) as a user runs it; the same in uniform order, without any scores; our network alone, which
steps on one batch of random tensors; the released code's SPL epoch; and its network alone, scored and trained by its
own functions. The first and the third also with channels-last and, where the processor has it, bf16. All numbers are
ratios within a round: median (smallest - largest) over the rounds.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from released_vs_ours import (
    Epoch,
    Ours,
    Released,
    checked,
    has_bf16,
    interleaved,
    machine,
    parser_of,
    ratios,
    run_main,
    spread,
    write_files,
)
from versus_released import FASTER, HALF, ONLINE, PLAIN

import bss


def update_seconds(batch_size: int, device: torch.device) -> float:
    """Of one ``ScoreTable.update`` with ready scores, as a training step makes it; the fastest of many."""
    table = bss.ScoreTable(10_000).to(device)
    index = torch.randint(10_000, (batch_size,), generator=torch.Generator().manual_seed(0))
    similarity, loss = torch.rand(2, batch_size, generator=torch.Generator().manual_seed(1)).to(device)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        table.update(index, similarity=similarity, loss=loss)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times)


def whole(epochs: Sequence[Epoch]) -> list[float]:
    """Seconds of each."""
    return [epoch.whole for epoch in epochs]


def print_limits(measured: dict[str, list[Epoch]], formats: Sequence[str], update: float, steps: int) -> None:
    """Markdown: how much of each limit is reached."""
    seconds = {name: whole(epochs) for name, epochs in measured.items()}
    rows = {
        f"training throughput / the same network on resident tensors, {name}": ratios(
            seconds[f"network, {name}"], seconds[f"epoch, {name}"]
        )
        for name in formats
    }
    reached = ratios(seconds["released"], seconds["epoch, fp32"])
    ceiling = ratios(seconds["released network"], seconds["network, fp32"])
    rows |= {
        "released / ours, whole epochs, fp32": reached,
        "released / ours, networks alone, fp32": ceiling,
        "reached share of that": ratios(reached, ceiling),
        "SPL epoch, online / uniform order": ratios(seconds["epoch, fp32"], seconds["uniform order"]),
    }
    print("\n| figure | ratio |\n|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {spread(values)} |")
    step = min(seconds["epoch, fp32"]) / steps
    print(f"| `ScoreTable.update` / a training step | {100 * update / step:.4f} % |")


def main():
    flags = checked(parser_of(__doc__, samples=8, repeats=4).parse_args())
    torch.set_num_threads(flags.threads)
    formats = {"fp32": PLAIN, "fp32 channels-last": FASTER}
    if has_bf16(flags.device):
        formats["bf16 channels-last"] = HALF
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / flags.task
        common = (flags.task, root, flags.batch_size, flags.device, flags.workers)
        write_files(flags.task, root, flags.samples)
        released = Released(flags.released, *common)
        ours = {name: Ours(*common, [ONLINE, *settings, *flags.set]) for name, settings in formats.items()}
        uniform = Ours(*common, [*PLAIN, *flags.set], uniform=True)
        steps = flags.samples // flags.batch_size
        sides = {"released": released.epoch, "released network": lambda: released.network_alone(steps)}
        sides |= {f"epoch, {name}": side.epoch for name, side in ours.items()}
        sides |= {f"network, {name}": side.network_alone for name, side in ours.items()}
        print(machine(flags))
        measured = interleaved(sides | {"uniform order": uniform.epoch}, flags.repeats, f"{flags.task} epochs")
        update = update_seconds(flags.batch_size, flags.device)
        print_limits(measured, list(formats), update, steps)
        if not has_bf16(flags.device):
            print("\nbf16: not run, this processor does not multiply bfloat16")


if __name__ == "__main__":
    run_main(main)
