"""Networks: late fusion, fusion heads and encoders, and how a network is run.

:class:`LateFusion` makes one network out of an encoder and a head per modality and a fusion head
(:mod:`bss.models.fusion`). Anything that returns :class:`Logits` can be trained in its
place; with the names of :class:`TwoStageNetwork` it gets all that LateFusion gets.
"""

from bss.models.fusion import FUSIONS, ConcatFusion, SumFusion
from bss.models.late_fusion import KEEP_KEY, LateFusion, Logits, TwoStageNetwork, has_two_stages, kept
from bss.models.weights import initialize

__all__ = [
    "FUSIONS",
    "KEEP_KEY",
    "ConcatFusion",
    "LateFusion",
    "Logits",
    "SumFusion",
    "TwoStageNetwork",
    "has_two_stages",
    "initialize",
    "kept",
]
