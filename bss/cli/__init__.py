"""The command line of every training script: the same flags and the same help.

What happens once the flags are known is in :mod:`bss.cli.launch`, which is imported then: PyTorch takes seconds, and
``--help`` or a mistyped flag needs nothing of it.
"""

import argparse
import contextlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bss.cli.flags import Parser, count
from bss.recipes.fields import explain
from bss.recipes.recipe import Recipe

if TYPE_CHECKING:
    from bss.tasks import Task
    from bss.training.run import Run


@contextlib.contextmanager
def session(
    description: str, script: str, recipe: Recipe, official: Recipe, argv: list[str] | None = None
) -> Iterator[tuple["Task", Recipe, "Run"]]:
    """Parse the flags, hand out ``(task, recipe, run)``, and end in a readable way whatever happens inside.

    Args:
        description: the script's docstring.
        script: the script's ``__file__``: ``CREMAD/train-CL.py`` trains ``bss.tasks.cremad``, reads data from its own
            folder and writes to ``runs/cremad-CL-seed42``.
        recipe: the default numbers.
        official: the numbers of ``--official``.
        argv: the flags; None = those of the process.
    """
    folder = Path(script).resolve().parent
    flags = _parser(description, recipe, default_root=folder).parse_args(argv)
    try:
        from bss.cli import launch
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        raise SystemExit(130) from None
    method = Path(script).stem.partition("-")[2]
    with launch.session(flags, folder, method, official if flags.official else recipe) as handed:
        yield handed


def _fields(recipe: Recipe) -> str:
    lines = []
    for assignment, meaning in explain(recipe):
        lines += textwrap.wrap(meaning, 100, initial_indent=f"  {assignment:28} ", subsequent_indent=" " * 31)
    return "\n".join(lines)


def _parser(description: str, recipe: Recipe, *, default_root: Path) -> argparse.ArgumentParser:
    parser = Parser(
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
        help="the run folder (default: runs/<data set>-<sampler>-seed<seed>); sample-data beside it is for --sample",
    )
    add("--resume", action="store_true", help="fine if the run is finished; an unfinished one goes on in any case")
    add("--sample", action="store_true", help="train now on a small generated data set, in sample-data beside OUT")
    add("--official", action="store_true", help="the numbers and habits of the authors' released code")
    add("--seed", type=int, metavar="N", help=f"default {recipe.seed}")
    add("--epochs", type=int, metavar="N", help=f"default {recipe.epochs}")
    add("--batch-size", type=int, metavar="N", help=f"default {recipe.batch_size}")
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, ...")
    add("--workers", type=count, metavar="N", help="processes that load data (default: one per core, at most 8)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a recipe field, again and again: --set schedule.grow_epochs=20; stronger than any other flag",
    )
    return parser
