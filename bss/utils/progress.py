"""A progress bar for anything that takes long."""

import time
from collections.abc import Iterable

from torch import Tensor
from tqdm import tqdm

from bss.utils import distributed


class ProgressBar(tqdm):
    """A progress bar on a terminal, nothing elsewhere (the epoch's line is printed in any case)."""

    def __init__(self, loader: Iterable[object], label: str | None, *, steps: int = 0, samples: int = 0):
        hidden = None if label and distributed.is_main() else True
        super().__init__(loader, desc=label, disable=hidden, leave=False, unit="batch", initial=steps)
        self.samples_before = samples
        self.began = self.shown = time.monotonic()

    def show(self, total_loss: Tensor, samples: int) -> None:
        """Mean loss and samples per second, at most once a second: reading the loss waits for the device."""
        now = time.monotonic()
        if not self.disable and now - self.shown > 1:
            self.shown = now
            rate = (samples - self.samples_before) / (now - self.began)
            self.set_postfix_str(f"loss {total_loss.item() / samples:.3f}, {rate:.0f} samples/s", refresh=False)
