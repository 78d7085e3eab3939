"""From the flags of a single run to its task, recipe, device and folder: one path for the scripts and for ``train``."""

import argparse
import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from bss import tasks
from bss.cli.recipe_file import RecipeFile
from bss.compare.arms import Arm, adapted, of_base, partly_reaching
from bss.recipes.fields import override
from bss.recipes.recipe import Recipe
from bss.tasks import Task
from bss.training.build import check_memory, check_method
from bss.training.run import Run
from bss.training.run_folder import claimed
from bss.training.screen import growth_note, say
from bss.utils import distributed
from bss.utils.claim import Claim
from bss.utils.devices import accelerators
from bss.utils.errors import RecipeError
from bss.utils.interrupts import Interrupted
from bss.utils.processes import preload
from bss.utils.screen_log import kept


@contextlib.contextmanager
def launched(
    flags: argparse.Namespace,
    reference: str,
    way: str,
    *,
    base: Recipe | None = None,
    arm: Arm | None = None,
    file: RecipeFile | None = None,
    default_root: Path | None = None,
) -> Iterator[tuple[Task, Recipe, Run]]:
    """Hand out ``(task, recipe, run)`` inside the process group, if torchrun started several processes.

    Args:
        flags: those of :func:`bss.cli.add_run_flags`.
        reference: stem of the task, or path of its file.
        way: the way to train in a word, for the name of the run folder.
        base: the numbers that the flags change; None = the task's curriculum recipe.
        arm: makes its recipe of them; None = they are the recipe.
        file: of ``--recipe``; the flags are stronger.
        default_root: the data root where no flag names one; None = a flag must.

    Raises:
        KeyboardInterrupt, Interrupted: with a note on how to go on, if there is something to go on from.
        BssError: flags, data or a run folder that cannot be worked with.
    """
    run: Run | None = None
    preload(Path(reference).stem)
    try:
        task = tasks.load(reference)
        check_source(task, reference, sample=flags.sample, root=flags.data_root, default=default_root)
        device = device_of(flags.device)
        with distributed.process_group(device):
            base = base or task.CL
            given = {name: getattr(flags, name) for name in ("seed", "epochs", "batch_size")}
            given = {name: value for name, value in given.items() if value is not None}
            recipe = task.sample_recipe(base) if flags.sample else base
            if file is not None:
                recipe = file.applied(recipe) if arm is None else file.for_arm(recipe, arm)
            own = [] if arm is None or file is None else file.of_draws(recipe)
            recipe = dataclasses.replace(recipe, **given)
            recipe = override(recipe, flags.set if arm is None else of_base(recipe, flags.set))
            if file is not None and flags.epochs is not None:
                file.check_epochs(recipe)
            if arm is not None:
                partly_reaching([arm], flags.set, recipe)  # an assignment that is for another arm is refused
                recipe = adapted(arm, recipe, [*own, *flags.set])
            check_method(recipe)
            check_memory(recipe, device)
            if note := growth_note(recipe):  # before minutes of reading and decoding
                say(note)
            name = f"{Path(reference).stem}-{way}{'-sample' * flags.sample}-seed{recipe.seed}"
            out = flags.out or Path("runs") / name
            root = sample_root(reference, out) if flags.sample else flags.data_root or default_root
            assert root is not None  # check_source has refused it
            if flags.sample:
                with distributed.main_first():
                    task.write_sample(root)
            with _written_by_this_process(out, overwrite=recipe.overwrite) as claim:
                run = Run(
                    out,
                    root,
                    device,
                    workers=flags.workers,
                    resume=flags.resume,
                    task=tasks.task_name(reference),
                    task_hash=tasks.task_file(reference),
                    title=tasks.title(task, recipe),
                    arm=None if arm is None else arm.name,
                    claim=claim,
                )
                yield task, recipe, run
    except (KeyboardInterrupt, Interrupted) as interrupted:
        if run is not None and (run.out / "last.pt").exists():
            interrupted.add_note(f"saved in {run.out}, and the same command goes on from there")
        raise


@contextlib.contextmanager
def _written_by_this_process(out: Path, *, overwrite: bool) -> Iterator[Claim | None]:
    """Claim the run folder, and keep what the block says in its ``log.txt``; of several processes the first does."""
    made = [path for path in (out, *out.parents) if not path.exists()]
    claim = claimed(out, overwrite=overwrite, tell=say) if distributed.is_main() else None
    if claim is None:  # or the run is finished, and its folder stays as it is
        yield None
        return
    try:
        with claim, kept(out / "log.txt", screen=True):
            yield claim
    finally:
        with contextlib.suppress(OSError):  # nothing came of it, for example since there are no data
            for path in made:
                path.rmdir()


def check_source(task: Task, reference: str, *, sample: bool, root: Path | None, default: Path | None = None) -> None:
    """Check that there is one source of data.

    Args:
        task: what is trained.
        reference: its stem, or the path of its file.
        sample: generated data are asked for.
        root: the data root that a flag names.
        default: the data root without a flag.

    Raises:
        RecipeError: there is none or two, or the task has no generated data.
    """
    if sample and root is not None:
        raise RecipeError("--sample makes its own data under the run folder's parent: give it or --data-root, not both")
    if not sample and root is None and default is None:
        raise RecipeError("pass --data-root DIR, the data set's folder, or --sample for a small generated data set")
    missing = [name for name in ("sample_recipe", "write_sample") if not hasattr(task, name)]
    if sample and missing:
        raise RecipeError(
            f"--sample: the task {reference} has no generated data, since it does not define {', '.join(missing)}: "
            "pass --data-root"
        )


def sample_root(reference: str, out: Path) -> Path:
    """The folder of a task's generated data: beside the run folder, or the comparison, that is made of it."""
    return out.parent / "sample-data" / Path(reference).stem


def device_of(name: str) -> torch.device:
    """This process's device by what ``--device`` says.

    Raises:
        RecipeError: it is none that PyTorch sees here.
    """
    gpus = accelerators()
    kind = gpus[0].partition(":")[0] if gpus else "cpu"
    if name == "auto":
        return distributed.local_device(kind)
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", name) and name not in (kind, *gpus):
        known = ["auto", "cpu", *(gpus or ["cuda", "cuda:1", "mps", "xpu"])]
        raise RecipeError(f"--device {name!r} is not a device: {', '.join(known)}")
    if name not in ("cpu", kind, *gpus, "mps:0" if kind == "mps" else kind):
        listed = f" ({', '.join(gpus)})" if gpus else ""
        raise RecipeError(f"--device {name}: PyTorch sees {len(gpus)} GPUs here{listed}; pass --device cpu or auto")
    return distributed.local_device(name)
