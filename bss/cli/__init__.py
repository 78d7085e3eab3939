"""The command line: that of every training script is here, with the same flags and the same help for all.

What happens once the flags are known is in :mod:`bss.cli.launch`, which is imported then: PyTorch takes seconds, and
``--help`` or a mistyped flag needs nothing of it.
"""

import argparse
import contextlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import bss
from bss.cli import endings
from bss.cli.flags import Parser, path, processes
from bss.recipes.fields import explain, flatten
from bss.recipes.recipe import Recipe
from bss.utils.extras import need, refuse_other_distribution
from bss.utils.interrupts import interruptible

if TYPE_CHECKING:
    from bss.tasks import Task
    from bss.training.run import Run


NAMED = {"default": "", "released": "-official"}
"""Preset -> what the name of its run folder has more than the data set and the sampler; others have their own name."""


@contextlib.contextmanager
def session(
    description: str,
    script: str,
    presets: Mapping[str, Recipe],
    argv: list[str] | None = None,
) -> Iterator[tuple["Task", Recipe, "Run"]]:
    """Parse the flags, hand out ``(task, recipe, run)``, and end in a readable way whatever happens inside.

    Args:
        description: the script's docstring.
        script: the script's ``__file__``: ``CREMAD/train-CL.py`` trains ``bss.tasks.cremad``, reads data from its own
            folder and writes to ``runs/cremad-CL-seed42``.
        presets: name of each form of the method -> its numbers: ``"default"``, and with it ``"released"``, for which
            ``--official`` is another word, and others.
        argv: the flags; None = those of the process.
    """
    endings.let_output_pass()
    with endings.quiet_if_unread(), _session(description, script, presets, argv) as handed:
        yield handed


@contextlib.contextmanager
def _session(
    description: str, script: str, presets: Mapping[str, Recipe], argv: list[str] | None
) -> Iterator[tuple["Task", Recipe, "Run"]]:
    folder = Path(script).resolve().parent
    parser = Parser(
        description=description,
        epilog="recipe fields, as --set takes them:\n\n" + _listed(explain(presets["default"])),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.fields = lambda: flatten(presets["default"])
    defaults = {name: f"default {getattr(presets['default'], name)}" for name in ("seed", "epochs", "batch_size")}
    add_run_flags(parser, f"default: {folder.name}/", "default: runs/<data set>-<sampler>-seed<seed>", defaults)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--preset",
        choices=presets,
        default="default",
        help="which form of the method: our default, what the authors' released code does, or what their slides show",
    )
    form.add_argument("--official", action="store_const", const="released", dest="preset", help="--preset released")
    flags = parser.parse_args(argv)
    try:
        refuse_other_distribution(Path(bss.__file__))
        need("training", "train")
        with interruptible():
            from bss.cli import launch, recipe_file

            way = Path(script).stem.partition("-")[2] + NAMED.get(flags.preset, f"-{flags.preset}")
            base, stem = presets[flags.preset], folder.name.lower()
            file = None if flags.recipe is None else recipe_file.read(flags.recipe, stem)
            with launch.launched(flags, stem, way, base=base, file=file, default_root=folder) as handed:
                yield handed
    except endings.ENDINGS as error:
        raise SystemExit(endings.status_of(error, "\ninterrupted")) from None


def _listed(explained: Iterable[tuple[str, str]]) -> str:
    lines = []
    for assignment, meaning in explained:
        lines += textwrap.wrap(meaning, 100, initial_indent=f"  {assignment:28} ", subsequent_indent=" " * 31)
    return "\n".join(lines)


def add_run_flags(parser: argparse.ArgumentParser, root: str, out: str, defaults: Mapping[str, str]) -> None:
    """Add the flags of a single run, which every script has and ``python -m bss train`` too.

    Args:
        parser: of the script or the command.
        root: which data root is taken without a flag, in words.
        out: which run folder is taken without a flag, in words.
        defaults: which ``seed``, ``epochs`` and ``batch_size`` are taken without a flag, in words.
    """
    add = parser.add_argument
    add("--data-root", type=path, metavar="DIR", help=f"the data set's folder ({root})")
    add(
        "--out",
        type=path,
        metavar="DIR",
        help=f"the run folder ({out}); sample-data beside it is for --sample",
    )
    add(
        "--resume",
        action="store_true",
        help="fine if the run is finished: with more --epochs it goes on; an unfinished one goes on in any case",
    )
    add("--sample", action="store_true", help="train now on a small generated data set, in sample-data beside OUT")
    for name in ("seed", "epochs", "batch_size"):
        add(f"--{name.replace('_', '-')}", type=int, metavar="N", help=defaults[name])
    add(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto (default), cpu, cuda, cuda:1, mps, ...",
    )
    add(
        "--workers",
        type=processes,
        metavar="N",
        help="processes that load data (default: one per core, at most 8; none for few samples)",
    )
    add_recipe_flag(parser)
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a recipe field, again and again: --set schedule.grow_epochs=20; stronger than any other flag",
    )


def add_recipe_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names a file of recipe fields."""
    parser.add_argument(
        "--recipe",
        type=path,
        metavar="FILE",
        help="recipe fields from a TOML file, or the recipe of a run: its config.json; all other flags are stronger",
    )
