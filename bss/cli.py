"""The command line of every training script: the same flags, the same errors, the same run folder."""

import argparse
import contextlib
import dataclasses
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch

from bss import distributed
from bss.data import default_workers
from bss.engine import Run
from bss.errors import BssError, RecipeError
from bss.interrupts import Interrupted
from bss.recipe import Recipe, explain, override


class Task(Protocol):
    """What a script hands over: a module of :mod:`bss.tasks`."""

    def sample_recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with the numbers that suit the generated data."""

    def write_sample(self, root: Path) -> None:
        """Write the generated data set to ``root``, unless it is there already."""


@contextlib.contextmanager
def session(
    description: str,
    script: str,
    task: Task,
    recipe: Recipe,
    official: Recipe,
    argv: list[str] | None = None,
) -> Iterator[tuple[Recipe, Run]]:
    """Parse the flags, hand out ``(recipe, run)``, and end in a readable way whatever happens inside.

    Args:
        description: the script's docstring.
        script: the script's ``__file__``: ``CREMAD/train-CL.py`` reads data from its own folder and writes to
            ``runs/cremad-CL-seed42``.
        task: writes sample data.
        recipe: the default numbers.
        official: the numbers of ``--official``.
        argv: the flags; None = those of the process.
    """
    folder = Path(script).resolve().parent
    stem, method = folder.name.lower(), Path(script).stem.partition("-")[2]
    parser = _parser(description, recipe, default_root=folder)
    flags = parser.parse_args(argv)
    run: Run | None = None
    try:
        device = _device(flags.device)
        with distributed.process_group(device):
            chosen = official if flags.official else recipe
            recipe, run = _assembled(flags, task, chosen, folder, f"{stem}-{method}", device)
            yield recipe, run
    except (KeyboardInterrupt, Interrupted) as interrupted:
        if distributed.launched_rank() == 0:
            kept = run is not None and (run.out / "last.pt").exists()
            advice = f": saved in {run.out}, and the same command goes on from there" if kept else ""
            print(f"\ninterrupted{advice}", file=sys.stderr)
        raise SystemExit(getattr(interrupted, "status", 130)) from None
    except BssError as error:
        _tell(_without_worker_traceback(error))
        raise SystemExit(2) from None
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
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


def _fields(recipe: Recipe) -> str:
    lines = []
    for assignment, meaning in explain(recipe):
        lines += textwrap.wrap(meaning, 100, initial_indent=f"  {assignment:28} ", subsequent_indent=" " * 31)
    return "\n".join(lines)


def _parser(description: str, recipe: Recipe, *, default_root: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        epilog="recipe fields, as --set takes them:\n\n" + _fields(recipe),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data-root", type=Path, metavar="DIR", help=f"the data set's folder (default: {default_root.name}/)")
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="the run folder (default: runs/<data set>-<sampler>-seed<seed>)",
    )
    add("--resume", action="store_true", help="fine if the run is finished; an unfinished one goes on in any case")
    add("--sample", action="store_true", help="write a small generated data set and train on it, now")
    add("--official", action="store_true", help="the numbers and habits of the authors' released code")
    add("--seed", type=int, metavar="N", help=f"default {recipe.seed}")
    add("--epochs", type=int, metavar="N", help=f"default {recipe.epochs}")
    add("--batch-size", type=int, metavar="N", help=f"default {recipe.batch_size}")
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, ...")
    add("--workers", type=int, metavar="N", help="processes that load data (default: one per core, at most 8)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a recipe field, again and again: --set schedule.grow_epochs=20; stronger than any other flag",
    )
    return parser


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
    return recipe, Run(out, root, device, workers=_workers(flags.workers), resume=flags.resume)


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
    if number is None:
        return default_workers()
    if number < 0:
        raise RecipeError(f"--workers must be >= 0, got {number}")
    return number


def _without_worker_traceback(error: BssError) -> str:
    """The message alone: a loader's worker process sends its traceback along as text."""
    text = str(error)
    marker = f"{type(error).__module__}.{type(error).__qualname__}: "
    return text.rpartition(marker)[2].strip() if text.startswith("Caught ") else text
