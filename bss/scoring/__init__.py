"""From logits to numbers: how balanced and how hard a sample is, what a head achieves, how much a modality adds.

The method's formulas are :mod:`bss.scoring.formulas`, and the orders that follow from them :mod:`bss.scoring.orders`:
pure functions, all of which can be had from here. The state, one row per sample, is :class:`bss.ScoreTable`.
"""

import lazy_loader

# Listed in __init__.pyi, and imported when first used: a report takes names from this room and does without PyTorch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
