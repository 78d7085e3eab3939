"""``python -m bss doctor``: look at a data tree before a GPU hour is spent on it.

It reads the lists, decodes every file, counts classes, and looks for samples, copies and groups that are on both sides
of a split. It knows no data set, only what the modules of :mod:`bss.data.datasets` have in common.

``--json`` prints one object:

==============  =======================================================================================
``schema``      1; it changes when a key does
``stem``        of the data set, ``"cremad"``; ``title``: its name, ``"CREMA-D"``
``root``        the folder, absolute
``generated``   whether it is a ``--sample`` data set
``status``      the exit status: 0, or 1 if there is an error
``counts``      number of findings by severity: ``error``, ``warning``, ``note``, ``ok``
``splits``      by name, for each list that could be read: ``list`` (the file), ``rows``, ``published``
                (numbers of rows that published lists have), ``found`` (kind of file -> number of samples
                that have it), ``classes`` (name -> rows), ``majority`` (``class``, ``share`` in [0, 1])
``findings``    objects of ``check`` (a stable name, :mod:`bss.data.doctor.checks`), ``severity``, ``message``,
                and ``examples``: all of them, objects of ``detail``, ``file``, ``row``, ``sample``, each a
                string and empty where it does not apply; paths below the root are relative to it
==============  =======================================================================================

If the tree cannot be looked at at all (status 2), nothing is printed on stdout.
"""

import dataclasses
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from bss.data import datasets
from bss.data.datasets.listing import check_root
from bss.data.doctor import checks, content, report
from bss.data.doctor.findings import Example, Finding
from bss.data.doctor.media import look_at_all
from bss.data.doctor.tree import Tree
from bss.utils.errors import BssError, DataError, DataNotFoundError, RecipeError, first_line
from bss.utils.processes import default_workers

__all__ = ["Example", "Finding", "Tree", "examine", "run"]


_NEEDED_SPLITS = ("train", "test")


def run(stem: str, root: str | os.PathLike, *, as_json: bool = False, workers: int | None = None) -> int:
    """Examine a data tree and print what was found.

    Args:
        stem: the data set's module in :mod:`bss.data.datasets`.
        root: the data root.
        as_json: print the object described above in place of the text.
        workers: processes that decode; 0 for none but this one, None for one a core.

    Returns:
        The exit status: 0 without errors, 1 with, 2 if the tree cannot be looked at at all (said on stderr).
    """
    try:
        module = _module(stem)
        tree, findings = examine(module, root, workers=default_workers() if workers is None else workers)
    except BssError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps(report.as_dict(stem, tree, findings), indent=1))
    else:
        print(report.as_text(tree, findings))
    return report.status(findings)


def examine(module: ModuleType, root: str | os.PathLike, *, workers: int = 0) -> tuple[Tree, list[Finding]]:
    """Run all checks.

    Args:
        module: a data set: ``TITLE``, ``FOLDER``, ``CLASSES``, ``SPLITS``, ``PUBLISHED``, ``GROUP``, optionally
            ``GROUP_HINT``, and ``read_samples(root, split)``.
        root: the data root.
        workers: processes that decode; 0 for none but this one.

    Raises:
        DataNotFoundError: ``root`` is not a folder.
        BssError: the files cannot be decoded here, see :func:`bss.data.doctor.media.look`.
        RecipeError: a negative number of workers.
    """
    root = Path(os.path.abspath(root))
    check_root(root, title=module.TITLE, advice=f"{module.FOLDER}/README.md describes the layout")
    tree = Tree(
        module.TITLE,
        module.FOLDER,
        root,
        module.CLASSES,
        published=module.PUBLISHED,
        group=module.GROUP,
        group_hint=getattr(module, "GROUP_HINT", ""),
    )
    samples, findings = {}, []
    for split in module.SPLITS:
        try:
            if found := module.read_samples(root, split):
                samples[split] = found
            else:
                findings.append(Finding("list-unreadable", "error", f"{split}: the list has no rows"))
        except DataNotFoundError as error:
            severity = "error" if split in _NEEDED_SPLITS else "note"
            findings.append(Finding("list-missing", severity, first_line(tree.short(error))))
        except DataError as error:
            findings.append(Finding("list-unreadable", "error", f"{split}: {tree.short(error)}"))
    tree = dataclasses.replace(tree, samples=samples)
    tree = dataclasses.replace(tree, facts=look_at_all(content.jobs(tree), workers=workers))
    for check in (*checks.ALL, content.copies):
        findings += check(tree)
    return tree, findings


def _module(stem: str) -> ModuleType:
    """The data set of this name.

    Raises:
        RecipeError: there is none.
    """
    stems = [info.name for info in pkgutil.iter_modules(datasets.__path__)]
    module = importlib.import_module(f"bss.data.datasets.{stem}") if stem in stems else None
    if module is None or not hasattr(module, "PUBLISHED"):
        modules = ((name, importlib.import_module(f"bss.data.datasets.{name}")) for name in stems)
        known = ", ".join(name for name, found in modules if hasattr(found, "PUBLISHED"))
        raise RecipeError(f"{stem!r} is no data set; there are {known}")
    return module
