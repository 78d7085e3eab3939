"""Tasks: one module per data set, which brings together its files, its network and its recipes.

Every task has ``CL``, ``SPL``, ``CL_OFFICIAL`` and ``SPL_OFFICIAL`` (from :mod:`bss.recipes`), ``RELEASED_KEYS``
(names of the released network's state dict), ``build_data(recipe, root)``, ``build_model(recipe, root)``,
``sample_recipe(recipe)`` and ``write_sample(root)``. What tasks share is beside them: :mod:`bss.tasks.parts`, and by
kind :mod:`bss.tasks.audiovisual` and :mod:`bss.tasks.imagetext`. Nothing else in ``bss`` imports a task.
"""

import hashlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Protocol

from torch import nn

from bss.data.splits import Splits
from bss.recipes.recipe import Recipe
from bss.utils.errors import DataNotFoundError, RecipeError, shown

CONTRACT = ("CL", "build_data", "build_model")
"""What a task must define: its curriculum's recipe, which all arms are made from, its data and its network."""


def load_task(reference: str) -> ModuleType:
    """A task by its stem, or from a Python file.

    Raises:
        RecipeError: there is none of this name (lists them), or the file lacks what a task must define.
        DataNotFoundError: the file is not there.
    """
    if reference.endswith(".py"):
        return _checked(_load_file(Path(reference).resolve()), reference)
    stems = sorted(_modules("bss.tasks") & _modules("bss.data.prepare"))
    if reference not in stems:
        raise RecipeError(
            f"unknown task {shown(reference)}; the tasks are {', '.join(stems)}, or pass a Python file (.py) that "
            f"defines {', '.join(CONTRACT)}"
        )
    return _checked(importlib.import_module(f"bss.tasks.{reference}"), reference)


def _modules(package: str) -> set[str]:
    """Names of the modules in a package; it is imported by name, since the library itself stays free of tasks."""
    return {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}


def _load_file(path: Path) -> ModuleType:
    """The file as a module of its own name; its neighbours can be imported from it, as from a script."""
    name = f"bss_task_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise DataNotFoundError(f"the task {path} is not a file")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _checked(task: ModuleType, reference: str) -> ModuleType:
    missing = [name for name in CONTRACT if not hasattr(task, name)]
    if missing:
        raise RecipeError(f"the task {reference} does not define {', '.join(missing)}, as bss/tasks/cremad.py does")
    return task


def title(task: ModuleType) -> str:
    """What a page calls the task: its ``TITLE``, or what its docstring begins with."""
    first = (task.__doc__ or task.__name__).strip().partition("\n")[0]
    return getattr(task, "TITLE", first.partition(":")[0])


class Task(Protocol):
    """What a script trains: a module of :mod:`bss.tasks`."""

    def build_data(self, recipe: Recipe, root: Path) -> Splits:
        """Find all samples, check their files and make the parts."""

    def build_model(self, recipe: Recipe, root: Path) -> nn.Module:
        """The network with its initial weights."""

    def sample_recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with the numbers that suit the generated data."""

    def write_sample(self, root: Path) -> None:
        """Write the generated data set to ``root``, unless it is there already."""
