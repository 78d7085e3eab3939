"""Runs that several files of this folder load again."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from bss.training.engine import fit
from bss.training.run import Run
from tests.tasks.test_tasks import shortened, small, task_of


@pytest.fixture(scope="session")
def finished(samples, tmp_path_factory):
    """A function from the stem of a data set to a run of it on a few generated samples, trained when first asked for.

    It hands out ``folder``, ``task``, ``root``, and ``data``, whose ``test.dataset`` is the whole test part.
    """
    made = {}

    def of(stem):
        if stem not in made:
            task, root = task_of(stem), samples / "sample-data" / stem
            task.write_sample(root)
            recipe = replace(small(task.CL, stem), batch_size=4, imbalance_every=0)
            data = shortened(task.build_data(recipe, root), train=8, test=2)
            folder = tmp_path_factory.mktemp(stem) / "run"
            run = Run(folder, root, torch.device("cpu"), task=stem, title=task.DATA_SET.title)
            fit(task.build_model(recipe, root), data, recipe, run)
            made[stem] = SimpleNamespace(folder=folder, task=task, root=root, data=data)
        return made[stem]

    return of
