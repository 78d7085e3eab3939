"""Do settings that should only change the speed leave the accuracy alone? Variants of one recipe, paired by seed.

    python benchmarks/study/equal_accuracy.py --data-root DIGITS --seeds 5 --epochs 4 --set image_size=64 \\
        --set width=8 --set sample_rate=8000 --set seconds=1.0 \\
        --variant plain cache=none channels_last=false --variant fast cache=auto channels_last=true

    python benchmarks/study/equal_accuracy.py --data-root DIGITS --seeds 5 --epochs 4 --set image_size=64 \\
        --set width=8 --set sample_rate=8000 --variant 6.6s seconds=6.6 --variant 1s seconds=1.0

DIGITS is a folder in CREMA-D's layout; SPL trains CREMA-D's network on it. Printed for every variant: accuracy of the
prediction on the test set after the last epoch, mean and standard deviation over the seeds; the mean difference to the
first variant at the same seed with its standard error and its 95 % t interval; and the seconds of training. Seeds take
turns, and the variants within a seed, so that other work on the machine hits all alike.

The second command is the trade of repeating a short clip to fill a long window: the digits last 0.4 s, so 6.6 times
the arithmetic sees the same information, as 20 s instead of 3 s do for CREMA-D's clips.
"""

import argparse
import contextlib
import io
import math
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

import bss
from bss.recipes.fields import override
from bss.recipes.recipe import Recipe
from bss.tasks import cremad as task
from bss.training.run import Run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="of all variants")
    parser.add_argument("--variant", action="append", nargs="+", required=True, metavar="NAME [FIELD=VALUE]")
    flags = parser.parse_args()
    base = override(replace(task.SPL, epochs=flags.epochs), flags.set)
    variants = {name: override(base, assignments) for name, *assignments in flags.variant}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    accuracy: dict[str, list[float]] = {name: [] for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    plan = [(seed, name) for seed in range(flags.seeds) for name in variants]
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in tqdm(plan, unit="run"):
            out = Path(folder) / f"{name}-{seed}"
            run = Run(out, flags.data_root, device, workers=flags.workers)
            summary = trained(replace(variants[name], seed=seed), run)
            accuracy[name].append(100 * summary["test"]["last"]["accuracy"]["all"])
            seconds[name].append(summary["train_seconds"])

    first = next(iter(variants))
    print(f"{flags.seeds} seeds, {flags.epochs} epochs, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| variant | accuracy, % | minus the first (SE) | 95 % interval | training, s | against the first |")
    print("|---|---|---|---|---|---|")
    for name in variants:
        spread = statistics.stdev(accuracy[name]) if flags.seeds > 1 else math.nan
        difference = paired(accuracy[name], accuracy[first]) if name != first and flags.seeds > 1 else "- | -"
        mean = statistics.mean(seconds[name])
        print(
            f"| {name} | {statistics.mean(accuracy[name]):.1f} +- {spread:.1f} | {difference} | {mean:.1f} | "
            f"{mean / statistics.mean(seconds[first]):.2f}x |"
        )


def trained(recipe: Recipe, run: Run) -> dict:
    with contextlib.redirect_stdout(io.StringIO()):
        data = task.build_data(recipe, run.data_root)
        return bss.fit(task.build_model(recipe, run.data_root), data, recipe, run)


def paired(values: list[float], control: list[float]) -> str:
    """Mean difference with its standard error, and the t interval."""
    from scipy.stats import t

    differences = [a - b for a, b in zip(values, control, strict=True)]
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    margin = t.ppf(0.975, len(differences) - 1) * error
    return f"{mean:+.1f} ({error:.1f}) | {mean - margin:+.1f} to {mean + margin:+.1f}"


if __name__ == "__main__":
    main()
