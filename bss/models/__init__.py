"""Networks: late fusion, fusion heads and encoders, and how a network is run.

:class:`LateFusion` makes one network out of an encoder and a head per modality and a fusion head
(:mod:`bss.models.fusion`). Anything that returns :class:`Logits` can be trained in its place.
"""

from bss.models.fusion import FUSIONS, ConcatFusion, SumFusion
from bss.models.late_fusion import KEEP_KEY, LateFusion, Logits
from bss.models.weights import initialize

__all__ = ["FUSIONS", "KEEP_KEY", "ConcatFusion", "LateFusion", "Logits", "SumFusion", "initialize"]
