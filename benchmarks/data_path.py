"""Where a sample's time goes between its files and the network's first layer, with the cache and without.

    python benchmarks/data_path.py [--clips 48] [--repeats 5]

Writes clips in the sizes of CREMA-D (2 to 3 s at 16 kHz, 3 frames of 480x360) and Kinetics-Sounds (10 s at 44.1 kHz, 10
frames of 340x256), decodes them once, and takes training batches of 32 through our own recipes on one thread, in one
process. Times are of the processor (not of the clock), median (smallest - largest) over rounds in which all parts run
in turn; the ratio is within a round. "Host" is what a loader's process does, "device" what the network's first modules
do, here on the CPU.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from released_vs_ours import KINDS, interleaved, ratios, run_main, spread, write_files
from torch.utils.data import default_collate

from bss.data.batches import collate
from bss.data.indexed import IndexedDataset, SeededViews
from bss.recipes.fields import override

BATCH = 32


def per_sample(work: Callable[[], object], samples: int) -> Callable[[], float]:
    """A function that does the work and tells its milliseconds of processor time for one of that many samples."""

    def measured() -> float:
        began = time.process_time()
        work()
        return 1000 * (time.process_time() - began) / samples

    return measured


def print_parts(name: str, folder: Path, clips: int, repeats: int) -> None:
    """Markdown: milliseconds a sample of every part, for one data set."""
    task = KINDS[name].task
    write_files(name, folder, clips)
    recipes = {"cache": task.SPL, "no cache": override(task.SPL, ["cache=none"])}
    data = {title: task.build_data(override(recipe, ["val_fraction=0"]), folder) for title, recipe in recipes.items()}
    began = time.perf_counter()
    data["cache"].cache.build()
    built = 1000 * (time.perf_counter() - began) / clips
    views = {title: SeededViews(IndexedDataset(splits.train), seed=0) for title, splits in data.items()}
    samples = [views["cache"][0, index] for index in range(min(BATCH, clips))]
    batch = collate(samples)
    network = task.build_model(task.SPL, folder)
    audio, visual = network.encoders["audio"], network.encoders["visual"]
    repeated = audio.window(batch["audio"])

    def fetch(title: str) -> list:
        return [views[title][0, index] for index in range(clips)]

    parts = {
        "host, no cache: read, decode, resample, draw a view": per_sample(lambda: fetch("no cache"), clips),
        "host, cache: look up, draw a view": per_sample(lambda: fetch("cache"), clips),
        "host: one batch of many": per_sample(lambda: collate(samples), len(samples)),
        "- of it the sounds": per_sample(lambda: collate([{"a": each["audio"]} for each in samples]), len(samples)),
        "- of it the pictures": per_sample(lambda: collate([{"v": each["visual"]} for each in samples]), len(samples)),
        "- of it numbers": per_sample(lambda: default_collate([each["label"] for each in samples]), len(samples)),
        "device: repeat the sound": per_sample(lambda: audio.window(batch["audio"]), len(samples)),
        "device: spectrogram": per_sample(lambda: audio.spectrogram(repeated), len(samples)),
        "device: resize, flip and normalise": per_sample(lambda: visual.views(batch["visual"]), len(samples)),
    }
    measured = interleaved(parts, repeats, name)
    plain, cached, batched = (measured[title] for title in list(parts)[:3])
    whole = ratios(
        [a + b for a, b in zip(plain, batched, strict=True)], [a + b for a, b in zip(cached, batched, strict=True)]
    )
    print(f"\n| {KINDS[name].folder}: part | ms a sample |\n|---|---|")
    for title, values in measured.items():
        print(f"| {title} | {spread(values, 3)} |")
    print(f"| host's whole, no cache / cache | {spread(whole, 1)} times |")
    print(f"| decoding into the cache, once | {built:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48, help="of each data set")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds, after one to warm up")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name in KINDS:
            print_parts(name, Path(folder) / name, flags.clips, flags.repeats)


if __name__ == "__main__":
    run_main(main)
