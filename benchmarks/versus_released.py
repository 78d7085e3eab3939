"""The released code's SPL epoch against ours, on the same files, in one process.

    python benchmarks/versus_released.py --released IJCAI25-BSS --task cremad

Writes clips in the sizes of CREMA-D (2 to 3 s at 16 kHz, 3 frames of 480x360) or Kinetics-Sounds (10 s at 44.1 kHz, 10
frames of 340x256), and runs an SPL epoch (scores and training; no validation, no checkpoint) of the released functions
and of several of our recipes in turn: same clips, same batch size, same threads, new networks every time. All numbers
are ratios of times within a round, released / ours: median (smallest - largest) over the rounds. Parts: "loading" is
the time in the data loader, "views" what our networks make of sounds and pictures before their first layer (the
released code does that while it loads), "training" forward, loss, backward and step, "scoring" the forwards of the
scoring pass. A pass calibrates BatchNorm on one batch here, which counts at the share that it has in the data set.

The last table is the host's part alone, on more clips, in one process with one thread and in batches of 32: what a
loader needs for a sample. Ours has decoded the files once, before; that is its last row.
"""

import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from released_vs_ours import (
    KINDS,
    PARTS,
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

PLAIN = ("precision=fp32", "channels_last=false")
FASTER = ("precision=fp32", "channels_last=true")
HALF = ("precision=bf16", "channels_last=true")
ONLINE = "rescore=online"

LOADED = 64
"""Clips that the loading alone is measured on."""


def variants(task: str, device: torch.device) -> dict[str, tuple[str, ...]]:
    """Name -> settings of our recipes that are measured on this device."""
    named = {
        "online scores": (ONLINE, *PLAIN),
        "scoring pass": PLAIN,
        "online scores, channels-last": (ONLINE, *FASTER),
        "scoring pass, channels-last": FASTER,
    }
    if has_bf16(device):
        named |= {"online scores, channels-last, bf16": (ONLINE, *HALF), "scoring pass, channels-last, bf16": HALF}
    if task == "cremad":
        named["online scores, 3 s of sound"] = (ONLINE, *PLAIN, "seconds=3")
    return named


def print_epochs(released: list[Epoch], measured: Mapping[str, list[Epoch]]) -> None:
    """Markdown: ratios of the epoch and its parts, and where each side's time goes."""
    print("\n| ours | whole epoch | loading, transfer, views | training | scoring | time, of the first row |")
    print("|---|---|---|---|---|---|")
    whole = {name: [epoch.whole for epoch in epochs] for name, epochs in measured.items()}
    first = next(iter(whole.values()))
    for name, epochs in measured.items():
        cells = [spread(ratios([epoch.whole for epoch in released], whole[name]))]
        for parts in (("loading", "transfer", "views"), ("training",), ("scoring",)):
            theirs, own = ([sum(epoch.parts[part] for part in parts) for epoch in side] for side in (released, epochs))
            cells.append(spread(ratios(theirs, own)) if min(own) > 0 else "none")
        print(f"| {name} | {' | '.join([*cells, spread(ratios(whole[name], first))])} |")
    print(f"\n| share of the epoch, % | {' | '.join(PARTS)} |\n|---|{'---|' * len(PARTS)}")
    for name, epochs in {"released": released, **measured}.items():
        shares = [spread([100 * epoch.parts[part] / epoch.whole for epoch in epochs], 1) for part in PARTS]
        print(f"| {name} | {' | '.join(shares)} |")


# ---- the host's part -----------------------------------------------------------------------------------------------


def seconds_of(batches: Iterable) -> float:
    """To go through a loader once."""
    began = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - began


def print_loading(checkout: Path, name: str, root: Path, repeats: int) -> None:
    """Markdown: the loader's time for a sample, of both sides, in one process with one thread and the recipe's batches.

    Args:
        checkout: of the released code.
        name: of :data:`released_vs_ours.KINDS`.
        root: folder to write files into.
        repeats: passes that are measured, after one to warm up.
    """
    write_files(name, root, LOADED)
    common = (name, root, KINDS[name].task.SPL.batch_size, torch.device("cpu"), 0)
    released, ours = Released(checkout, *common), Ours(*common, [])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    decoding = 1000 * ours.prepare() / LOADED
    passes = {
        "released": lambda: seconds_of(released.loader(released.dataset, batch_size=released.args.batch_size)),
        "ours, training batches": lambda: seconds_of(ours.loaders()[0]),
        "ours, scoring batches": lambda: seconds_of(ours.loaders()[1]),
    }
    measured = interleaved(passes, repeats, "loading")
    torch.set_num_threads(threads)
    print("\n| loading, one thread | ms a sample | released / ours |\n|---|---|---|")
    for title, values in measured.items():
        print(
            f"| {title} | {spread([1000 * value / LOADED for value in values])} | "
            f"{spread(ratios(measured['released'], values), 1)} |"
        )
    print(f"| ours, decoding the files, once and for all | {decoding:.2f} | |")


def main():
    flags = checked(parser_of(__doc__, samples=8, repeats=4).parse_args())
    torch.set_num_threads(flags.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / flags.task
        common = (flags.task, root, flags.batch_size, flags.device, flags.workers)
        write_files(flags.task, root, flags.samples)
        released = Released(flags.released, *common)
        named = variants(flags.task, flags.device)
        ours = {name: Ours(*common, [*settings, *flags.set]) for name, settings in named.items()}
        print(machine(flags))
        sides = {"released": released.epoch, **{name: side.epoch for name, side in ours.items()}}
        measured = interleaved(sides, flags.repeats, f"{flags.task} epochs")
        print_epochs(measured.pop("released"), measured)
        if not has_bf16(flags.device):
            print("\nbf16: not run, this processor does not multiply bfloat16")
        print_loading(flags.released, flags.task, Path(folder) / "loading", flags.repeats)


if __name__ == "__main__":
    run_main(main)
