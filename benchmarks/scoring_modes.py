"""How repeatable are the scores of each scoring mode? Decides the default of ``schedule.mode``.

    python benchmarks/scoring_modes.py --data-root DIR [--epochs 3] [--set image_size=64 ...]

Trains CREMA-D's network in uniform order, and before every epoch scores the training set twice in each mode, with
differently shuffled batches. Printed per epoch and mode: the rank correlation of the difficulty between the two passes
(1 = a sample's score does not depend on its batch-mates), the rank correlation with the training-mode pass, the mean
loss, and the seconds of a pass as a ratio to the eval-mode pass.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

import bss
from bss.loops import ScoringMode, train_one_epoch
from bss.metrics import rank_correlation
from bss.recipe import override
from bss.seeding import generator
from bss.tasks import cremad as task


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    flags = parser.parse_args()
    recipe = override(replace(task.CL, seed=flags.seed), flags.set)
    data = task.build_data(recipe, flags.data_root)
    model = task.build_model(recipe)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=recipe.momentum)
    weights = {"fused_weight": recipe.fused_weight, "unimodal_weight": recipe.unimodal_weight}

    def loader(dataset, seed):
        return DataLoader(
            bss.IndexedDataset(dataset), recipe.batch_size, shuffle=True, generator=generator("benchmark", seed)
        )

    def scored(mode, seed):
        table = bss.ScoreTable(len(data.train), **weights)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        began = time.perf_counter()
        bss.score_dataset(model, loader(data.score, seed), table, mode=mode, progress=f"{mode}")
        seconds = time.perf_counter() - began
        model.load_state_dict(state)  # "train" moves the buffers
        return table, seconds

    print("| epochs trained | mode | pass against pass | against train mode | mean loss | constant similarity | time |")
    print("|---|---|---|---|---|---|---|")
    for epoch in range(flags.epochs + 1):
        passes = {mode: [scored(mode, seed) for seed in (1, 2)] for mode in ScoringMode.__args__}
        reference = passes["train"][0][0].difficulty()
        base = min(seconds for _, seconds in passes["eval"])
        for mode, ((first, a), (second, b)) in passes.items():
            tqdm.write(
                f"| {epoch} | {mode} | {_number(rank_correlation(first.difficulty(), second.difficulty()))} "
                f"| {_number(rank_correlation(first.difficulty(), reference))} | {first.loss.mean():.2f} "
                f"| {'yes' if first.similarity.std() < 1e-6 else 'no'} | {min(a, b) / base:.2f}x |"
            )
        if epoch < flags.epochs:
            train_one_epoch(model, loader(data.train, 100 + epoch), optimizer, **weights, progress=f"epoch {epoch + 1}")


def _number(value):
    return "undefined" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
