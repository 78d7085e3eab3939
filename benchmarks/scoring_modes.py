"""How repeatable are the scores of each scoring mode? Decides the default of ``schedule.mode``.

    python benchmarks/scoring_modes.py --data-root DIR [--epochs 3] [--set image_size=64 ...]

Trains CREMA-D's network in uniform order, and before every epoch scores the training set twice in each mode, with
differently shuffled batches. Printed per epoch and mode: the rank correlation of the difficulty between the two passes
(1 = a sample's score does not depend on its batch-mates), the rank correlations with the training-mode and with the
calibrated pass, the mean loss, and the seconds of a pass as a ratio to the eval-mode pass. The row "online" holds the
scores that the training forward of the epoch before left in the table.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

import bss
from bss.recipes.fields import override
from bss.scoring.metrics import rank_correlation
from bss.tasks import cremad as task
from bss.training.loops import Step, train_epoch
from bss.utils.choices import ScoringMode
from bss.utils.seeding import generator


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    flags = parser.parse_args()
    recipe = override(replace(task.CL, seed=flags.seed), flags.set)
    data = task.build_data(recipe, flags.data_root)
    model = task.build_model(recipe, flags.data_root)
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

    online = bss.ScoreTable(len(data.train), **weights)
    print("| epochs trained | scores | pass against pass | to train mode | to calibrated | mean loss | time |")
    print("|---|---|---|---|---|---|---|")
    for epoch in range(flags.epochs + 1):
        passes = {mode: [scored(mode, seed) for seed in (1, 2)] for mode in ScoringMode.__args__}
        difficulty = {mode: [table.difficulty() for table, _ in pair] for mode, pair in passes.items()}
        base = min(seconds for _, seconds in passes["eval"])

        def row(name, values, loss, between="-", time="-", epoch=epoch, difficulty=difficulty):
            to_others = " | ".join(_spearman(values, difficulty[mode][0]) for mode in ("train", "calibrated"))
            tqdm.write(f"| {epoch} | {name} | {between} | {to_others} | {loss.mean():.2f} | {time} |")

        for mode, ((first, a), (_, b)) in passes.items():
            between = _spearman(*difficulty[mode])
            row(mode, difficulty[mode][0], first.loss, between, f"{min(a, b) / base:.2f}x")
        if epoch:
            row("online", online.difficulty(), online.loss)
        if epoch < flags.epochs:
            batches = loader(data.train, 100 + epoch)
            train_epoch(Step(model, optimizer, **weights, table=online), batches, progress=f"epoch {epoch + 1}")
            online.synchronize()


def _spearman(a, b):
    value = rank_correlation(a, b)
    return "undefined" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
