"""SPL: the learning-based sampler, which draws a weighted order of all samples every epoch."""

from typing import Unpack

import torch
from torch import Tensor

from bss.pacing import Pacing
from bss.samplers.base import OrderOptions, OrderSampler
from bss.scoring.formulas import check_weighting, log_weights
from bss.scoring.orders import race_order
from bss.utils.choices import Weighting


class SelfPacedSampler(OrderSampler):
    """The SPL sampler: every epoch visits all samples once, balanced ones probably earlier.

    The order is drawn without replacement, with probability proportional to ``(2 - d + floor) ** (1 / temperature)`` or
    to ``exp((1 - d) / temperature)``. It is a weighted permutation, not a resampling. As long as the table is empty all
    weights are equal, so online scoring simply starts from a uniform order.

    Source: released KS/train-SPL.py:165-174, 222-225; for the softmax see :func:`bss.scoring.log_weights`. All
    arguments beside these are :class:`OrderSampler`'s.

    Args:
        num_samples: N.
        weighting: ``"linear"`` weights as the released code has them, or ``"softmax"`` as in the paper.
        floor: >= 0, keeps the most imbalanced sample drawable by linear weights; the released NVGesture uses 0.
        temperature: > 0. 1 is the method; below 1 the order follows the difficulty more strictly, above 1 less. One
            that follows it strictly goes through the classes one after the other unless it is given their ``labels``,
            and that can cost much accuracy, see RESULTS.md.
        pacing: None visits all samples; with one, only the first floor(N * pacing) of the draw.
        **options: see :class:`OrderSampler`; one of ``table`` and ``difficulty`` is needed. With ``labels`` the
            draw orders each class's samples, and the classes are interleaved. ``order="imbalanced_first"`` is that of
            the released Twitter/train-SPL.py:157.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        weighting: Weighting = "linear",
        floor: float = 1e-2,
        temperature: float = 1.0,
        pacing: Pacing | None = None,
        **options: Unpack[OrderOptions],
    ):
        super().__init__(num_samples, pacing=pacing, **options)
        check_weighting(floor=floor, temperature=temperature, order=self.order, kind=weighting)
        self.weighting = weighting
        self.floor = floor
        self.temperature = temperature
        self._told_of_empty_table = False

    def _before_epoch(self, epoch: int) -> list[str]:
        """See :meth:`OrderSampler._before_epoch`; and, once, that an epoch was trained and has left no score at all."""
        messages = super()._before_epoch(epoch)
        trained = self._position > 0 and epoch != self.epoch and not self._table_was_reset()
        if not trained or self._told_of_empty_table or epoch < self.warmup_epochs:
            return messages
        if self.table is not None and self.table.is_empty and not self.table.is_open:
            self._told_of_empty_table = True
            messages.append(
                f"an epoch has ended and the ScoreTable is still empty, so the order of epoch {epoch} is uniform: call "
                "table.update(batch['bss_index'], ...) in the training step and table.synchronize() after the epoch, "
                "or bss.score_dataset(...) before set_epoch"
            )
        return messages

    def weights(self) -> Tensor | None:
        """See :meth:`OrderSampler.weights`; relative to the largest one."""
        difficulty = self.difficulty()
        if difficulty is None or self.epoch < self.warmup_epochs:
            return None
        relative = self._log_weights(difficulty)
        if relative.isneginf().all():
            return torch.ones_like(relative)  # weights of 0 alone are drawn as equal ones are
        return (relative - relative.max()).exp()

    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        return self._by_class(race_order(self._log_weights(difficulty), seed=self.seed, epoch=epoch))[:count]

    def _log_weights(self, difficulty: Tensor) -> Tensor:
        return log_weights(difficulty, self.floor, self.temperature, self.order, self.weighting)
