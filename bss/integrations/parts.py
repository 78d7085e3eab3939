"""What every adapter needs: the index in a batch, and the state of sampler and table over all ranks."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bss import distributed
from bss.data import INDEX_KEY
from bss.samplers import OrderSampler
from bss.scores import OPEN_ROWS, ScoreTable


def index_and_sample(batch: Any) -> tuple[Tensor, Any]:
    """Split a batch of :class:`bss.IndexedDataset` into the (B,) index and what the data set itself returned.

    Raises:
        ValueError: the batch has no index.
    """
    if isinstance(batch, Mapping) and INDEX_KEY in batch:
        return batch[INDEX_KEY], batch
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[0], Tensor):
        if batch[0].ndim == 1 and not batch[0].is_floating_point():
            return batch[0], batch[1]
    raise ValueError(
        f"the training batch, a {type(batch).__name__}, carries no sample index: wrap the training set as "
        "bss.IndexedDataset(dataset)"
    )


def check_filled(table: ScoreTable) -> None:
    """Asked when an epoch was closed.

    Raises:
        ValueError: nobody has filled the table, so the order would stay uniform in silence.
    """
    if table.is_empty:
        raise ValueError(
            "an epoch has ended and the table is still empty: pass heads= and fused=, or call table.update(...) in the "
            "training step"
        )


def run_state(sampler: OrderSampler, *, position: int) -> dict:
    """Sampler and table at this step, for a checkpoint that one rank writes. All ranks call it together.

    Args:
        sampler: with its table, if it has one.
        position: samples of this epoch that were trained on, over all ranks.
    """
    state = {"sampler": {**sampler.state_dict(), "position": position}}
    if sampler.table is not None:
        table = sampler.table.state_dict()
        state["table"] = {**table, **{name: distributed.total(table[name]) for name in OPEN_ROWS}}
    return state


def load_run_state(sampler: OrderSampler, state: dict, *, position: int | None = None) -> None:
    """Continue from :func:`run_state`, on any number of ranks.

    Raises:
        ValueError: the state is of another sampler or table (named), or an epoch was already set by hand.
    """
    if sampler.table is not None:
        sampler.table.load_state_dict(state["table"])
        if not distributed.is_main():
            sampler.table.forget_open()  # the sums are all ranks' together, and rank 0 carries them
    sampler.load_state_dict(state["sampler"], position=position)
    if sampler.epoch != state["sampler"]["epoch"]:
        raise ValueError(
            f"the checkpoint is of epoch {state['sampler']['epoch']}, but sampler.set_epoch({sampler.epoch}) was "
            "called by hand: in this framework leave that to the adapter"
        )
