"""What every adapter needs: the state of sampler and table over all ranks."""

from typing import Any

from bss.samplers import OrderSampler
from bss.scoring.table import OPEN_ROWS, ScoreTable
from bss.utils import distributed


def reads(loader: Any, sampler: OrderSampler) -> bool:
    """Whether a loader, as PyTorch or Accelerate makes it, takes its indices from the very sampler."""
    parts, looked_at = [loader], set()
    while parts:
        part = parts.pop()
        if part is sampler:
            return True
        if part is not None and id(part) not in looked_at:
            looked_at.add(id(part))
            parts += [getattr(part, name, None) for name in ("sampler", "batch_sampler", "base_dataloader")]
    return False


def check_arguments(sampler: object, heads: object, fused: object) -> None:
    """Asked of what an adapter is made with.

    Raises:
        ValueError: no sampler (its table in its place, for example), or heads that belong to nothing.
    """
    if not isinstance(sampler, OrderSampler):
        raise ValueError(
            f"sampler must be one of bss's, which has its table with it: SelfPacedSampler(..., table=table), got a "
            f"{type(sampler).__name__}"
        )
    if (heads is None) != (fused is None):
        raise ValueError("heads= and fused= belong together: give both, or neither")
    if heads is not None and sampler.table is None:
        raise ValueError("heads= fills a table, but the sampler has none: construct it with table=")


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


def forget_other_runs(table: ScoreTable | None) -> bool:
    """Asked when a training begins at its first epoch: another one's scores must not give this one's order.

    Scores that nobody has trained by yet, as those of a scoring pass before the training, stay.

    Returns:
        Whether the table was reset.
    """
    if table is None or table.used_in is None:
        return False
    table.reset()
    return True


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
