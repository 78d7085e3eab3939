"""The task that tests/kill.py trains: a few seconds with noise, BatchNorm and dropout, and a checkpoint every step."""

from dataclasses import replace

from tests import tiny
from tests.training.kill_worker import CL as EVERY_STEP
from tests.training.kill_worker import Slowly

TITLE = "Killed"
CL = replace(EVERY_STEP, batch_size=12, epochs=4, imbalance_every=2)


def build_data(recipe, root):
    """Samples that take some milliseconds each."""
    data = tiny.splits(noise=0.3)
    return replace(data, **{name: Slowly(getattr(data, name)) for name in ("train", "score", "val", "test")})


def build_model(recipe, root):
    """Initial weights by the seed."""
    return tiny.model(norm=True, dropout=0.3, seed=recipe.seed)
