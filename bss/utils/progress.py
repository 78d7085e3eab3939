"""A progress bar for anything that takes long."""

import sys
import time
from collections.abc import Iterable

from torch import Tensor
from tqdm import tqdm

from bss.utils import distributed


class ProgressBar(tqdm):
    """A progress bar on a terminal or in a notebook, nothing elsewhere (the epoch's line is printed in any case)."""

    def __init__(self, loader: Iterable[object], label: str | None, *, steps: int = 0, samples: int = 0):
        notebook = in_notebook()
        wanted = bool(label) and distributed.is_main()
        super().__init__(
            loader,
            desc=label,
            disable=(False if notebook else None) if wanted else True,  # None: whether it is a terminal
            leave=False,
            unit="batch",
            initial=steps,
            # A notebook shows the other stream in red, and keeps every line that is drawn.
            file=sys.stdout if notebook else None,
            mininterval=1.0 if notebook else 0.1,
            ascii=True if notebook else None,
        )
        self.samples_before = samples
        self.began = self.shown = time.monotonic()

    def show(self, total_loss: Tensor, samples: int) -> None:
        """Mean loss and samples per second, at most once a second: reading the loss waits for the device."""
        now = time.monotonic()
        if not self.disable and now - self.shown > 1:
            self.shown = now
            rate = (samples - self.samples_before) / (now - self.began)
            self.set_postfix_str(f"loss {total_loss.item() / samples:.3f}, {rate:.0f} samples/s", refresh=False)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose output is shown though it is no terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
