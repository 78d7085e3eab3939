"""Look at a data tree before a GPU hour is spent on it: ``python -m bss doctor``.

It reads the lists, decodes every file, counts classes, and looks for samples, copies and groups that are on both sides
of a split. It knows no data set, only the record that each has (:class:`bss.data.datasets.data_set.DataSet`).

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
import os
from pathlib import Path

from bss.data.datasets.data_set import DataSet, check_root, read
from bss.data.doctor import checks, content, report
from bss.data.doctor.findings import Finding, Occurrence
from bss.data.doctor.media import look_at_all
from bss.data.doctor.tree import Tree
from bss.utils.errors import DataError, DataNotFoundError

__all__ = ["Finding", "Occurrence", "Tree", "examine", "report"]


_NEEDED_SPLITS = ("train", "test")


def examine(data_set: DataSet, root: str | os.PathLike, *, workers: int = 0) -> tuple[Tree, list[Finding]]:
    """Read a data tree and run all checks on it.

    Args:
        data_set: the record of the data set.
        root: the data root.
        workers: processes that decode; 0 for none but this one.

    Returns:
        What was read of the tree, and what was found; :mod:`bss.data.doctor.report` puts both into words.

    Raises:
        DataNotFoundError: ``root`` is not a folder.
        BssError: the files cannot be decoded here, see :func:`bss.data.doctor.media.look`.
        RecipeError: a negative number of workers.
    """
    root = Path(os.path.abspath(root))
    check_root(data_set, root, data_set.layout)
    tree = Tree(data_set, root)
    samples, findings = {}, []
    for split in data_set.splits:
        try:
            if found := read(data_set, root, split):
                samples[split] = found
            else:
                findings.append(Finding("list-unreadable", "error", f"{split}: the list has no rows"))
        except DataNotFoundError as error:
            if split in data_set.optional:
                continue
            severity = "error" if split in _NEEDED_SPLITS else "note"
            findings.append(Finding("list-missing", severity, tree.short(error).partition("\n")[0]))
        except DataError as error:
            findings.append(Finding("list-unreadable", "error", f"{split}: {tree.short(error)}"))
    tree = dataclasses.replace(tree, samples=samples)
    tree = dataclasses.replace(tree, facts=look_at_all(content.jobs(tree), workers=workers))
    for check in (*checks.ALL, content.copies):
        findings += check(tree)
    return tree, findings
