"""A run that was stopped, with one of its files damaged, goes on: to the same end, or not at all, with a line."""

import contextlib
import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bss.training.checkpoint_file import read_checkpoint
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.interrupts import Interrupted
from tests import tiny
from tests.fuzzing.mutations import damage_bytes, damage_entry, damage_json, damage_lines, damage_tree
from tests.fuzzing.outcome import Outcome, outcome_of

FILES = ("last.pt", "previous.pt", "best.pt", "scores.raw", "metrics.jsonl", "config.json")
EPOCH = 56  # training samples that an epoch reads

_SPL = replace(tiny.SPL, seed=0, epochs=3, imbalance_every=0)
_ONLINE = replace(
    _SPL, optimizer="adam", method="ogm-ge", schedule=replace(_SPL.schedule, rescore="online", history=None)
)
STOPS = {
    "in the third epoch": (_SPL, 2 * EPOCH + 20),
    "in the second epoch, saved after every step": (replace(_SPL, checkpoint_minutes=0.0), EPOCH + 30),
    "in the third epoch, scored while it trains": (_ONLINE, 2 * EPOCH + 20),
}


class Subject:
    """Runs that were stopped, and what they come to when nothing is damaged.

    Args:
        folder: to work in.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.stops: list[tuple[str, Any, dict[str, Any]]] = []
        for name, (recipe, at) in STOPS.items():
            stopped = folder / name
            with contextlib.suppress(Interrupted):
                _run(stopped, recipe, stop_at=at)
            whole = _run(folder / "whole", recipe)
            self.stops.append((name, recipe, whole))
            shutil.rmtree(folder / "whole")

    def case(self, generator: np.random.Generator) -> Outcome:
        """Damage a file of one of the runs, and go on with it."""
        name, recipe, whole = self.stops[int(generator.integers(len(self.stops)))]
        out = self.folder / "case"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.folder / name, out)
        mutation = f"{name}: {_damage(out, generator)}"
        return outcome_of(mutation, lambda: _run(out, recipe), lambda found: _difference(whole, found))


def _damage(out: Path, generator: np.random.Generator) -> str:
    path = out / FILES[int(generator.integers(len(FILES)))]
    ways: list[Callable[[Path, np.random.Generator], str]] = [damage_bytes, damage_entry]
    if path.suffix == ".pt":
        ways += [_damage_state] * 3
    elif path.suffix == ".json":
        ways += [damage_json] * 3
    elif path.suffix == ".jsonl":
        ways += [damage_lines, _damage_row, _damage_row]
    return ways[int(generator.integers(len(ways)))](path, generator)


def _damage_row(path: Path, generator: np.random.Generator) -> str:
    """Change one place of one row."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    at = int(generator.integers(len(rows)))
    done = damage_tree(rows[at], generator)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{path.name}, line {at + 1}: {done}"


def _damage_state(path: Path, generator: np.random.Generator) -> str:
    """Load a checkpoint, change one place of it, or one tensor, and save it again."""
    state = torch.load(path, weights_only=True)
    tensors = list(_tensors(state))
    if generator.random() < 0.5 and tensors:
        holder, key, name = tensors[int(generator.integers(len(tensors)))]
        way = list(TENSOR_WAYS)[int(generator.integers(len(TENSOR_WAYS)))]
        holder[key] = TENSOR_WAYS[way](holder[key])
        done = f"{name}: {way}"
    else:
        done = damage_tree(state, generator)
    torch.save(state, path)
    return f"{path.name}: {done}"


def _nudged(tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[:1] += 1  # nothing where it is empty
    return changed


TENSOR_WAYS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "its first number changed": lambda tensor: ~tensor if tensor.dtype == torch.bool else _nudged(tensor),
    "not a number": lambda tensor: torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor.float(),
    "another dtype": lambda tensor: tensor.half() if tensor.is_floating_point() else tensor.double(),
    "another shape": lambda tensor: torch.cat((tensor.reshape(-1), torch.ones(1, dtype=tensor.dtype))),
    "empty": lambda tensor: tensor.new_empty(0),
    "turned round": lambda tensor: tensor.reshape(-1).flip(0).reshape(tensor.shape),
}


def _tensors(tree: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every tensor in nested dicts and lists: its holder, its key there, and the path in words."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        if isinstance(value, torch.Tensor):
            yield tree, key, f"{path}.{key}"
        yield from _tensors(value, f"{path}.{key}")


def _run(out: Path, recipe: Any, *, stop_at: int | None = None) -> dict[str, Any]:
    """Begin a run or go on with it, and give what it came to."""
    data = tiny.splits(noise=0.3)
    if stop_at is not None:
        data = replace(data, train=tiny.Signalling(data.train, stop_at, signal.SIGTERM))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        fit(tiny.model(norm=True, dropout=0.3), data, recipe, Run(out, out, torch.device("cpu")))
    config = json.loads((out / "config.json").read_text())
    with np.load(out / "scores.npz") as scores:
        arrays = {f"scores.npz {name}": torch.from_numpy(scores[name]) for name in scores if name != "name"}
    return {
        "metrics.jsonl": [tiny.untimed(row) for row in tiny.rows(out)],
        "summary.json": _plain(json.loads((out / "summary.json").read_text())),
        "config.json": {name: config.get(name) for name in ("recipe", "identity", "samples", "lists", "sampler")},
        **arrays,
        **{f"{name} {key}": value for name in ("best.pt", "last.pt") for key, value in _weights(out / name)},
    }


def _weights(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    saved = read_checkpoint(path)
    yield from saved["model"].items()
    if "optimizer" in saved:
        yield from ((name, holder[key]) for holder, key, name in _tensors(saved["optimizer"]))


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    """Without times, and the digests of files that hold some."""
    return {name: value for name, value in tiny.untimed(summary).items() if name not in ("files", "checksum")}


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Names of what differs, to the last bit."""
    return ", ".join(name for name in {**one, **other} if not _equal(one.get(name), other.get(name)))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one.double().nan_to_num(nan=-7.0), other.double().nan_to_num(nan=-7.0))
    return json.dumps(one) == json.dumps(other)
