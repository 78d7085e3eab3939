"""Where a run writes, what it runs on, and with how many processes."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Run:
    """Where and on what a run happens; nothing in it changes a result on the same kind of device.

    Attributes:
        out: the run folder.
        data_root: the data set's folder.
        device: where the network lives.
        workers: processes that load data; 0 = in this one.
        resume: a finished run in the folder is fine, and left as it is.
    """

    out: Path
    data_root: Path
    device: torch.device
    workers: int = 0
    resume: bool = False
