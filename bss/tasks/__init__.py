"""Tasks: what can be trained. A task brings a data set, its network and its recipes together.

The tasks of ``bss`` are the modules here, one for each data set; what they share is beside them:
:mod:`bss.tasks.parts`, and by kind :mod:`bss.tasks.audiovisual` and :mod:`bss.tasks.imagetext`. A Python file of one's
own is a task like them, if it has what :class:`Task` says.
"""

import ast
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Protocol, cast

from bss.recipes.recipe import Recipe
from bss.utils.errors import DataNotFoundError, RecipeError, shown

if TYPE_CHECKING:  # `python -m bss --help` lists the tasks, and PyTorch takes seconds
    from torch import nn

    from bss.data.indexed import MapDataset
    from bss.data.parts import Part
    from bss.data.prepare.raw import Form, RawInput
    from bss.data.splits import Splits

REQUIRED = ("CL", "build_data", "build_model")
"""What a task must define; ``compare`` needs no more."""


class Task(Protocol):
    """A module that can be trained.

    Every task defines :data:`REQUIRED`. The tasks of ``bss`` define the rest too: a script trains ``CL`` or ``SPL``, or
    with ``--preset`` the ``_OFFICIAL`` or ``_PAPER`` ones, and with ``--sample`` it needs the last two functions.
    ``evaluate --list`` needs ``build_list``, and ``predict`` the form of raw inputs and ``build_inputs``.

    Attributes:
        CL: the recipe of a curriculum; ``compare`` makes the recipes of all arms from it.
        SPL: the recipe of self-paced learning.
        CL_OFFICIAL: the recipe of a curriculum with the numbers of the released script.
        SPL_OFFICIAL: the recipe of self-paced learning with the numbers of the released script.
        CL_PAPER: the recipe of a curriculum as the authors' slides have it.
        SPL_PAPER: the recipe of self-paced learning as the authors' slides have it.
        INPUTS: what raw inputs are made of.
    """

    CL: Recipe
    SPL: Recipe
    CL_OFFICIAL: Recipe
    SPL_OFFICIAL: Recipe
    CL_PAPER: Recipe
    SPL_PAPER: Recipe
    INPUTS: "Form"

    def build_data(self, recipe: Recipe, root: Path) -> "Splits":
        """Find all samples under the data root, check their files and make the parts."""

    def build_list(self, recipe: Recipe, root: Path, path: Path) -> "Part":
        """The samples of a list of one's own, in the form of the data set's, as a test sees them."""

    def build_inputs(self, recipe: Recipe, root: Path, inputs: Sequence["RawInput"], folder: Path) -> "MapDataset":
        """Raw inputs, prepared in a folder, as a test sees them; their labels say nothing."""

    def build_model(self, recipe: Recipe, root: Path) -> "nn.Module":
        """The network with its initial weights; files of pretrained ones are looked for under the data root."""

    def sample_recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with the numbers that suit the generated data."""

    def write_sample(self, root: Path) -> Path:
        """Write the generated data set to ``root``, unless it is there already."""


def names() -> list[str]:
    """Names of the tasks of ``bss``, sorted: whatever has a module here and one in :mod:`bss.data.prepare`."""
    return sorted(_modules("bss.tasks") & _modules("bss.data.prepare"))


def _modules(package: str) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}


def load(reference: str) -> Task:
    """Load a task by its name, or from a Python file.

    Raises:
        RecipeError: there is none of this name (lists them), or the file lacks what a task must define.
        DataNotFoundError: the file is not there.
    """
    if reference.endswith(".py"):
        task = _load_file(Path(reference).resolve())
    elif reference in names():
        task = importlib.import_module(f"bss.tasks.{reference}")
    else:
        raise RecipeError(
            f"unknown task {shown(reference)}; the tasks are {', '.join(names())}, or pass a Python file (.py) that "
            f"defines {', '.join(REQUIRED)}"
        )
    if missing := [name for name in REQUIRED if not hasattr(task, name)]:
        raise RecipeError(f"the task {reference} does not define {', '.join(missing)}, as bss/tasks/cremad.py does")
    return cast(Task, task)


_FILE = "bss.tasks.file_"  # and the file's path in hexadecimal


_LOADED: dict[str, bytes] = {}  # module name -> text that it was made of


class _Loader(importlib.machinery.SourceFileLoader):
    """Reads a task's file itself: compiled code on the disk is known by its second and size, and edits are quick."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module of a task's file by its name.

    Loader processes that are not forked (the rule on macOS, and where a program says so) get their data set pickled,
    and import the module of its class.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The module's spec, or None if it is not a task's file."""
        encoded = fullname.removeprefix(_FILE)
        if encoded == fullname:
            return None
        file = os.fsdecode(bytes.fromhex(encoded))
        return importlib.util.spec_from_file_location(fullname, file, loader=_Loader(fullname, file))


sys.meta_path.append(_Finder())


def _load_file(path: Path) -> object:
    """The file as a module of its own name; its neighbours can be imported from it, as from a script.

    It is made anew when its text has changed: the modules that it imports are not.
    """
    if not path.is_file():
        raise DataNotFoundError(f"the task {path} is not a file")
    name, text = _FILE + os.fsencode(path).hex(), path.read_bytes()
    before = sys.modules.pop(name, None)
    if before is not None and _LOADED.get(name) == text:
        sys.modules[name] = before
        return before
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = importlib.import_module(name)
    _LOADED[name] = text
    return module


def task_name(reference: str) -> str:
    """How run folders name a task: its stem, or the whole path of its file."""
    return str(Path(reference).resolve()) if reference.endswith(".py") else reference


def task_file(reference: str) -> str | None:
    """SHA-256 of the code in a task's own file, comments and layout aside; None of the library's tasks.

    It is the same task wherever the file lies.
    """
    if not reference.endswith(".py"):
        return None
    code = ast.unparse(ast.parse(Path(reference).read_text(encoding="utf-8")))
    return hashlib.sha256(code.encode()).hexdigest()


def title(task: Task, recipe: Recipe) -> str:
    """What a page calls the task.

    Args:
        task: its ``title_of(recipe)`` if it has one, or its ``TITLE``, or what its docstring begins with.
        recipe: says which data set it is, where a task has several.
    """
    if hasattr(task, "title_of"):
        return task.title_of(recipe)
    first = (task.__doc__ or Path(task.__file__).stem).strip().partition("\n")[0]
    return getattr(task, "TITLE", first.partition(":")[0])
