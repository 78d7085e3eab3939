"""Training on several processes, as torchrun starts them: who is who, and the few things that all must agree on.

Everything here also works without a process group, where the world is one process.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bss.utils.errors import RecipeError
from bss.utils.torchrun import launched

Action = Literal["go", "save", "stop"]
T = TypeVar("T")


STEPS_BETWEEN_DECISIONS = 16
"""Ranks ask rank 0 for its decision this often at least: a look into the store takes a fraction of a millisecond."""


SECONDS_BETWEEN_DECISIONS = 2.0
"""And about this often where steps are slow: torchrun kills its processes 30 s after it has sent them SIGTERM."""


def rank() -> int:
    """This process's rank; 0 without a process group."""
    return dist.get_rank() if _active() else 0


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if _active() else 1


def is_main() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes that torchrun started, NCCL on GPUs and gloo elsewhere, and leave them at the end.

    Does nothing in a process that runs alone.
    """
    if not launched():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(minutes=30))
    yield
    dist.destroy_process_group()  # not after an error: the others may be waiting for this process, and it for them


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Rank 0 runs the block before the others do: for what is made once and then found."""
    if not is_main():
        dist.barrier()
    yield
    if _active() and is_main():
        dist.barrier()


def local_device(name: str) -> torch.device:
    """This process's device for ``cpu`` or ``cuda``: with several processes on a node, one GPU each.

    Raises:
        RecipeError: more processes than GPUs, or a GPU number where every process needs its own.
    """
    if not launched() or name == "cpu":
        return torch.device(name)
    if name != "cuda":
        raise RecipeError(f"--device {name}: under torchrun every process has its own GPU, pass cuda, cpu or auto")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        raise RecipeError(
            f"torchrun started process {local} on this node, but PyTorch sees {torch.cuda.device_count()} GPUs"
        )
    return torch.device("cuda", local)


def share_of_batch(batch_size: int) -> int:
    """Samples that one rank takes of a batch: the recipe's batch is the whole world's, so results do not depend on W.

    Raises:
        RecipeError: the batch cannot be cut evenly.
    """
    if batch_size % world_size():
        raise RecipeError(f"batch_size={batch_size} cannot be shared evenly by {world_size()} processes")
    return batch_size // world_size()


def share(items: Sequence[T]) -> Sequence[T]:
    """This rank's items: every W-th one, without padding."""
    return items[rank() :: world_size()]


def gathered(rows: Tensor) -> Tensor:
    """Rows of all ranks, (N, ...) on the CPU, from this rank's share (see :func:`share`); equal on all ranks."""
    rows = rows.cpu()
    if world_size() == 1:
        return rows
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, rows)
    whole = rows.new_empty((sum(len(part) for part in parts), *rows.shape[1:]))
    for number, part in enumerate(parts):
        whole[number :: world_size()] = part
    return whole


def gathered_objects(value: T) -> list[T]:
    """The value of every rank, in the order of ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks; the argument itself stays as it is."""
    if world_size() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value


def averaged(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """The mean of every tensor over all ranks, in one collective; the arguments themselves stay as they are.

    Args:
        gradients: of one type, on one device, and the same on every rank.
    """
    if world_size() == 1 or not gradients:
        return gradients
    flat = total(torch.cat([gradient.reshape(-1) for gradient in gradients])) / world_size()
    parts = flat.split([gradient.numel() for gradient in gradients])
    return [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]


def from_main(value: T) -> T:
    """Rank 0's value on every rank."""
    if world_size() == 1:
        return value
    box: list[Any] = [value if is_main() else None]
    dist.broadcast_object_list(box)
    return box[0]


def copy_from_main(model: nn.Module) -> None:
    """Give every rank rank 0's weights and buffers."""
    if world_size() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


def copy_buffers_from_main(model: nn.Module) -> None:
    """Give every rank rank 0's buffers, as DistributedDataParallel does before a forward, not after it."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def wrapped(model: nn.Module, device: torch.device, *, sync_batchnorm: bool) -> nn.Module:
    """The model as it is trained: itself, or under DistributedDataParallel.

    Raises:
        RecipeError: synchronised BatchNorm without GPUs, where PyTorch has none.
    """
    if world_size() == 1:
        return model
    if sync_batchnorm:
        if device.type != "cuda":
            raise RecipeError("sync_batchnorm=true needs GPUs: PyTorch has no synchronised BatchNorm on CPUs")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return nn.parallel.DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def kept_to_oneself(model: nn.Module, *, wanted: bool) -> contextlib.AbstractContextManager[None]:
    """Let forward and backward of a block add to this rank's gradients alone; the backward after it averages the sum.

    Args:
        model: the network, or its DistributedDataParallel wrapper, the only one that averages.
        wanted: False = the block changes nothing.

    Returns:
        To be entered before the forward.
    """
    if wanted and isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    return contextlib.nullcontext()


class Decisions:
    """Rank 0 decides after a step whether all go on, save or stop; the others follow at the very same step.

    The decision travels through the process group's store, between hosts: no device waits. A signal reaches ranks at
    different steps, and a checkpoint needs all of them at one. With every decision rank 0 says after how many steps the
    next one is due, by how long its steps take.
    """

    def __init__(self) -> None:
        self.count = 0
        self.steps, self.due = (
            0,
            1,
        )  # since the decision before, and when the next one is; the first step tells its time
        self.decided_at = time.monotonic()

    def after_step(self, wish: Action) -> Action:
        """What all ranks do now.

        Args:
            wish: rank 0's; the others' is not looked at.
        """
        if world_size() == 1:
            return wish
        self.steps += 1
        if self.steps < self.due:
            return "go"
        self.count += 1
        store, key = dist.distributed_c10d._get_default_store(), f"bss/decision/{self.count}"
        if is_main():
            now = time.monotonic()
            self.due = steps_until_next((now - self.decided_at) / self.steps)
            self.decided_at = now
            store.set(key, f"{wish} {self.due}")
            action: str = wish
        else:
            action, due = store.get(key).decode().split()  # rank 0 has set it, just above
            self.due = int(due)
        self.steps = 0
        return cast(Action, action)


def steps_until_next(seconds: float) -> int:
    """After how many steps the next decision is due.

    Args:
        seconds: that a step takes.
    """
    return max(1, min(STEPS_BETWEEN_DECISIONS, int(SECONDS_BETWEEN_DECISIONS / max(seconds, 1e-6))))
