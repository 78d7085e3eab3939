"""What torchrun tells a process in its environment; apart from :mod:`bss.utils.distributed`, which needs PyTorch."""

import os


def launched() -> bool:
    """Whether torchrun (or an equal) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launched_rank() -> int:
    """The rank that torchrun gave this process, also before it joined the others; 0 without torchrun."""
    return int(os.environ.get("RANK", "0")) if launched() else 0
