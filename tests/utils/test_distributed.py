"""What several processes share, as far as one process can tell; tests/training/test_distributed.py starts several."""

import torch
import torch.distributed as dist

from bss.utils import distributed


def test_after_the_steps_of_an_epoch_every_rank_gets_the_buffers_of_rank_0(monkeypatch):
    """BatchNorm's statistics are each rank's own, and those of rank 0 are saved: a resumed run measured others."""
    sent = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(dist, "broadcast", lambda tensor, src: sent.append((tensor, src)))
    norm = torch.nn.BatchNorm1d(3)
    distributed.copy_buffers_from_main(norm)
    assert [src for _, src in sent] == [0, 0, 0]
    assert all(tensor is buffer for (tensor, _), buffer in zip(sent, norm.buffers(), strict=True))
