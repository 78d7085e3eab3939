"""SPL: the learning-based sampler, which draws a weighted order of all samples every epoch."""

import warnings
from typing import Unpack

from torch import Tensor

from bss.pacing import Pacing
from bss.samplers.base import OrderOptions, OrderSampler
from bss.scoring.formulas import check_choice, order_weights
from bss.scoring.orders import race_order
from bss.utils.choices import Order


class SelfPacedSampler(OrderSampler):
    """SPL: every epoch visits all samples once, balanced ones probably earlier.

    The order is drawn without replacement with probability proportional to ``(2 - d + floor) ** (1 / temperature)``. It
    is a weighted permutation, not a resampling. As long as the table is empty all weights are equal, so online scoring
    simply starts from a uniform order.

    Source: released KS/train-SPL.py:165-174, 222-225. All arguments beside these are :class:`OrderSampler`'s.

    Args:
        num_samples: N.
        floor: >= 0, keeps the most imbalanced sample drawable; the released NVGesture uses 0.
        temperature: > 0. 1 is the method; below 1 the order follows the difficulty more strictly, above 1 less. One
            that follows it strictly goes through the classes one after the other unless it is given their ``labels``,
            and that can cost much accuracy, see RESULTS.md.
        order: ``"balanced_first"``, or ``"imbalanced_first"`` as the released Twitter/train-SPL.py:157.
        pacing: None visits all samples; with one, only the first floor(N * pacing) of the draw.
        **options: see :class:`OrderSampler`; one of ``table`` and ``difficulty`` is needed. With ``labels`` the
            draw orders each class's samples, and the classes are interleaved.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        floor: float = 1e-2,
        temperature: float = 1.0,
        order: Order = "balanced_first",
        pacing: Pacing | None = None,
        **options: Unpack[OrderOptions],
    ):
        super().__init__(num_samples, pacing=pacing, **options)
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be a number > 0, got {temperature}")
        if not 0 <= floor < float("inf"):
            raise ValueError(f"floor must be a number >= 0, got {floor}")
        self.floor = floor
        self.temperature = temperature
        check_choice("order", order, Order)
        self.order = order
        self._told_of_empty_table = False

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`OrderSampler.set_epoch`. Warns, once, where an epoch was trained and has left no score at all."""
        trained = self._position > 0 and epoch != self.epoch
        super().set_epoch(epoch)
        if not trained or self._told_of_empty_table or epoch < self.warmup_epochs:
            return
        if self.table is not None and self.table.is_empty:
            self._told_of_empty_table = True
            warnings.warn(
                f"an epoch has ended and the ScoreTable is still empty, so the order of epoch {epoch} is uniform: call "
                "table.update(batch['bss_index'], ...) in the training step and table.synchronize() after the epoch, "
                "or bss.score_dataset(...) before set_epoch",
                stacklevel=2,
            )

    def weights(self) -> Tensor | None:
        """See :meth:`OrderSampler.weights`; from the scores as they are now, relative to the largest weight."""
        if self.epoch < self.warmup_epochs:
            return None
        log_weights = self._log_weights()
        return (log_weights - log_weights.max()).exp()

    def _scored_order(self, epoch: int, count: int) -> Tensor:
        return self._by_class(race_order(self._log_weights(), seed=self.seed, epoch=epoch))[:count]

    def _log_weights(self) -> Tensor:
        weights = order_weights(self._current_difficulty(), floor=self.floor, order=self.order)
        return weights.double().log() / self.temperature
