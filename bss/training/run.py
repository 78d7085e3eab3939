"""Where a run writes, what it runs on, and with how many processes."""

from dataclasses import dataclass
from pathlib import Path

import torch

from bss.utils.claim import Claim


@dataclass(frozen=True)
class Run:
    """Where and on what a run happens; nothing in it changes a result on the same kind of device.

    Attributes:
        out: the run folder.
        data_root: the data set's folder.
        device: where the network lives.
        workers: processes that load data; 0 = in this one; None = as many as the data are worth, see
            :func:`bss.utils.processes.enough_workers`.
        resume: a finished run in the folder is fine: it is left as it is, or goes on if the recipe has more epochs.
        task: name of what is trained, or the path of its file; for ``config.json``, as all that follow.
        task_hash: SHA-256 of the code in that file.
        title: what a page calls the data set.
        arm: name of the way to train, where the run is one of :data:`bss.compare.arms.ARMS`.
        claim: on ``out``, where the caller writes into it too, see :func:`bss.training.run_folder.claimed`; the caller
            releases it. None = the run claims its folder itself.
    """

    out: Path
    data_root: Path
    device: torch.device
    workers: int | None = 0
    resume: bool = False
    task: str | None = None
    task_hash: str | None = None
    title: str | None = None
    arm: str | None = None
    claim: Claim | None = None
