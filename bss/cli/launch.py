"""From a script's flags to a run: task, recipe, device and folder; and how a run ends when it cannot go on."""

import argparse
import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from bss import tasks
from bss.recipes.fields import override
from bss.recipes.recipe import Recipe
from bss.tasks import Task, title
from bss.training.run import Run
from bss.utils import distributed
from bss.utils.errors import BssError, RecipeError, first_line
from bss.utils.interrupts import Interrupted
from bss.utils.processes import default_workers


@contextlib.contextmanager
def session(flags: argparse.Namespace, folder: Path, method: str, recipe: Recipe) -> Iterator[tuple[Task, Recipe, Run]]:
    """Hand out ``(task, recipe, run)``, and end in a readable way whatever happens inside.

    Args:
        flags: of :func:`bss.cli.session`.
        folder: the script's; its name in small letters is the task's.
        method: of the script: CL or SPL.
        recipe: the numbers that the flags change.
    """
    stem = folder.name.lower()
    run: Run | None = None
    try:
        task = tasks.load(stem)
        device = _device(flags.device)
        with distributed.process_group(device):
            recipe, run = _assembled(flags, task, recipe, folder, f"{stem}-{method}", device)
            yield task, recipe, run
    except (KeyboardInterrupt, Interrupted) as interrupted:
        if distributed.launched_rank() == 0:
            advice = ""
            if run is not None and (run.out / "last.pt").exists():
                advice = f": saved in {run.out}, and the same command goes on from there"
            print(f"\ninterrupted{advice}", file=sys.stderr)
        raise SystemExit(getattr(interrupted, "status", 130)) from None
    except BssError as error:
        _tell(_without_worker_traceback(error))
        raise SystemExit(2) from None
    except RuntimeError as error:
        reason = first_line(error)
        if "DataLoader worker" in reason:
            _tell(
                f"a process that loads data died ({reason}).\n"
                "Most often memory ran out: pass fewer --workers, or --workers 0"
            )
            raise SystemExit(2) from None
        if distributed.launched() and re.search(r"closed by peer|reset by peer|NCCL|gloo", str(error)):
            _tell(f"another process ended first, see its own error ({reason})")
            raise SystemExit(1) from None
        raise


def _tell(message: str) -> None:
    """An error on stderr; of several processes, the others than the first say who they are."""
    who = f" in process {distributed.launched_rank()}" if distributed.launched_rank() else ""
    print(f"error{who}: {message}", file=sys.stderr)


def _assembled(
    flags: argparse.Namespace, task: Task, recipe: Recipe, folder: Path, name: str, device: torch.device
) -> tuple[Recipe, Run]:
    if flags.sample and flags.data_root:
        raise RecipeError("--sample makes its own data under the run folder's parent: give it or --data-root, not both")
    if flags.sample:
        recipe = task.sample_recipe(recipe)
    given = {field: getattr(flags, field) for field in ("seed", "epochs", "batch_size")}
    recipe = dataclasses.replace(recipe, **{field: value for field, value in given.items() if value is not None})
    recipe = override(recipe, flags.set)
    variant = "-official" * flags.official + "-sample" * flags.sample
    out = flags.out or Path("runs") / f"{name}{variant}-seed{recipe.seed}"
    root = flags.data_root or folder
    if flags.sample:
        root = out.parent / "sample-data" / name.partition("-")[0]
        with distributed.main_first():
            task.write_sample(root)
    run = Run(
        out,
        root,
        device,
        workers=_workers(flags.workers),
        resume=flags.resume,
        task=folder.name.lower(),
        title=title(task),
    )
    return recipe, run


def _device(name: str) -> torch.device:
    if name == "auto":
        return distributed.local_device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise RecipeError(f"--device {name!r} is not a device: auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RecipeError(f"--device {name}: PyTorch sees {torch.cuda.device_count()} GPUs here; pass --device cpu")
    return distributed.local_device(name)


def _workers(number: int | None) -> int:
    return default_workers() if number is None else number


def _without_worker_traceback(error: BssError) -> str:
    """The message alone: a loader's worker process sends its traceback along as text."""
    text = str(error)
    marker = f"{type(error).__module__}.{type(error).__qualname__}: "
    return text.rpartition(marker)[2].strip() if text.startswith("Caught ") else text
