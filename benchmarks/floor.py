"""What a run costs above its arithmetic: `fit`, as `compare` calls it, and the same tensor work as straight-line code.

    python benchmarks/floor.py --data-root DATA [--tasks mfeat,tweets] [--arms uniform,cl,spl] [--repeats 5]

For every study task and arm the two take turns in one process with one thread: a run with everything that it keeps and
writes, and :func:`straight`, which has no loader, sampler, score table, method, log or file. Both train as many steps,
score as often (a curriculum once, SPL before every epoch), measure validation after every epoch (metrics of all heads,
imbalance, Shapley values), and at the end the test with the chosen and the last weights and linear probes on the
features. The clock is this process's processor time, which other work on the machine disturbs less than the clock on
the wall. Ratios: of the two medians, and of the two smallest times, which disturbances can only raise. DATA is that of
``study/README.md``.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bss import tasks
from bss.compare.arms import find
from bss.compare.comparison import Comparison
from bss.data.splits import Splits
from bss.models.late_fusion import Logits
from bss.recipes.recipe import Recipe
from bss.scoring.formulas import difficulty, loss_of, similarity_of
from bss.scoring.heads import unimodal_heads
from bss.scoring.imbalance import contributions, describe_predictions, linear_probes
from bss.scoring.metrics import classification_metrics, head_logits, hits
from bss.training.engine import fit
from bss.training.environment import environment
from bss.training.run import Run
from bss.training.watch import WATCHED_EVERY

ROOT = Path(__file__).resolve().parents[1]


def straight(model: nn.Module, data: Splits, recipe: Recipe, epochs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The tensor work of a run; returns the accuracy of every head with the chosen weights.

    Args:
        model: a :class:`bss.models.LateFusion`, as it was built.
        data: samples in memory, with a validation part.
        recipe: of uniform order, a curriculum that is scored once, or self-paced with scores before every epoch, in
            eval mode.
        epochs: rows of ``metrics.jsonl`` of a run, for how many samples and steps each had.
    """
    size, sampler = recipe.batch_size, recipe.schedule.sampler
    inputs, labels_N = data.train.modalities, data.train.labels_N
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    draw = torch.Generator().manual_seed(recipe.seed)
    criterion, best, best_accuracy, chosen = nn.CrossEntropyLoss(), {}, -1.0, 0
    if sampler == "curriculum":
        easiest_first = scores(model, inputs, labels_N, size).argsort()
    for number, epoch in enumerate(epochs):
        if sampler == "curriculum":
            order = easiest_first[torch.randperm(epoch["samples"], generator=draw)]
        elif sampler == "self_paced":
            hard_N = scores(model, inputs, labels_N, size)
            order = torch.multinomial(2.01 - hard_N, epoch["samples"], generator=draw)
        else:
            order = torch.randperm(len(labels_N), generator=draw)
        model.train()
        total, norms, means = torch.zeros((), dtype=torch.float64), [], []
        for step in range(epoch["steps"]):
            rows = order[step * size : (step + 1) * size]
            target = labels_N[rows]
            features = model.encode({name: values[rows] for name, values in inputs.items()})
            logits = model.decode(features)
            loss = sum((criterion(z, target) for z in logits.unimodal.values()), start=criterion(logits.fused, target))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if step % WATCHED_EVERY == 0:
                norms.append([gradient_norm(encoder) for encoder in model.encoders.values()])
                means.append({name: values.detach().mean(dim=0) for name, values in features.items()})
            optimizer.step()
            total += loss.detach() * len(rows)
        heads, features = predict(model, data.val, recipe)
        accuracy = classification_metrics(heads, data.val.labels_N)["accuracy"]["all"]
        describe_predictions(unimodal_heads(heads), data.val.labels_N)
        fill = {name: torch.stack([mean[name] for mean in means]).mean(dim=0) for name in means[0]}
        if recipe.imbalance_every and (number + 1) % recipe.imbalance_every == 0:
            contributions(model, features, fill, data.val.labels_N, prediction=recipe.predicts_by)
        assert total.isfinite() and all(norm.isfinite() for row in norms for norm in row)
        if accuracy > best_accuracy:
            best_accuracy, chosen = accuracy, number
            best = {name: value.clone() for name, value in model.state_dict().items()}
    target = data.test.labels_N
    heads, features = predict(model, data.test, recipe)
    if chosen < len(epochs) - 1:
        classification_metrics(heads, target), hits(heads, target)
        model.load_state_dict(best)
        heads, features = predict(model, data.test, recipe)
    tested = classification_metrics(heads, target)["accuracy"]
    describe_predictions(unimodal_heads(heads), target), hits(heads, target)
    _, trained = predict(model, data.train, recipe)
    if recipe.imbalance_every:
        fill = {name: values.mean(dim=0) for name, values in trained.items()}
        contributions(model, features, fill, target, prediction=recipe.predicts_by)
        linear_probes(trained, labels_N, features, target)
    return tested


def gradient_norm(network: nn.Module) -> Tensor:
    """The L2 norm of all its gradients."""
    return nn.utils.get_total_norm([weight.grad for weight in network.parameters()])


@torch.no_grad()
def scores(model: nn.Module, inputs: Mapping[str, Tensor], labels_N: Tensor, size: int) -> Tensor:
    """How difficult every training sample is, (N,)."""
    model.eval()
    similarity, loss = [], []
    for start in range(0, len(labels_N), size):
        logits = model({name: values[start : start + size] for name, values in inputs.items()})
        unimodal, target = list(logits.unimodal.values()), labels_N[start : start + size]
        similarity.append(similarity_of(unimodal))
        loss.append(loss_of(logits.fused, unimodal, target, fused_weight=1.0, unimodal_weight=1.0))
    return difficulty(torch.cat(similarity), torch.cat(loss))


@torch.no_grad()
def predict(model: nn.Module, part: Any, recipe: Recipe) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The heads' logits (N, C) and the features (N, D), batch by batch."""
    model.eval()
    size, heads, features = recipe.batch_size, [], []
    for start in range(0, len(part), size):
        features.append(model.encode({name: values[start : start + size] for name, values in part.modalities.items()}))
        logits: Logits = model.decode(features[-1])
        heads.append(head_logits(logits, recipe.predicts_by))
    return tuple({name: torch.cat([row[name] for row in rows]) for name in rows[0]} for rows in (heads, features))


def measure(task_name: str, arm_name: str, data_root: Path, repeats: int) -> tuple[list[float], list[float], str]:
    """Processor seconds of runs and of their floors, in turn, and how well they learn; the first turn is left out."""
    comparison = Comparison(
        task=str(ROOT / "benchmarks" / "study" / f"{task_name}.py"),
        arms=(arm_name,),
        seeds=(0,),
        budget="equal",
        assignments=(),
        data_root=data_root,
        out=Path("."),
        workers=0,
    )
    task, arm = tasks.load(comparison.task), find([arm_name])[0]
    data = task.build_data(comparison.recipe(arm, 0, None), data_root)
    recipe = comparison.recipe(arm, 0, comparison.updates(len(data.train)))
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
            model = task.build_model(recipe, data_root)
            began = time.process_time()
            summary = fit(model, data, recipe, Run(Path(out) / "run", data_root, torch.device("cpu")))
            spent[0].append(time.process_time() - began)
            rows = [json.loads(line) for line in (Path(out) / "run" / "metrics.jsonl").read_text().splitlines()]
        model = task.build_model(recipe, data_root)
        began = time.process_time()
        tested = straight(model, data, recipe, rows)
        spent[1].append(time.process_time() - began)
    learned = f"{100 * summary['test']['chosen']['accuracy']['all']:.1f}, {100 * tested['all']:.1f} %"
    return spent[0][1:], spent[1][1:], learned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("DATA"))
    parser.add_argument("--tasks", default="mfeat,tweets,digits")
    parser.add_argument("--arms", default="uniform,cl,spl")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    print(f"Commit {environment()['commit']}, torch {torch.__version__}, one thread, load {load:.1f}\n")
    print("| task | arm | run, CPU s | floor, CPU s | run / floor | of the smallest | accuracy of both |")
    print("|---|---|---|---|---|---|---|")
    for task in flags.tasks.split(","):
        for arm in flags.arms.split(","):
            runs, floors, learned = measure(task, arm, flags.data_root.resolve(), flags.repeats)
            medians = [statistics.median(each) for each in (runs, floors)]
            cells = (*(f"{median:.2f}" for median in medians), f"{medians[0] / medians[1]:.2f}")
            smallest = f"{min(runs) / min(floors):.2f}"
            print(f"| {task} | {arm} | {' | '.join(cells)} | {smallest} | {learned} |", flush=True)


if __name__ == "__main__":
    main()
