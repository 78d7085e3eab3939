"""Methods that change a training step: what BSS, which changes the order, is compared and combined with."""

from bss.methods.base import Method

__all__ = ["Method"]
