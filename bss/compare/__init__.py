"""Arms against each other: train every arm with every seed, and make one page of what came out.

``python -m bss compare`` is :mod:`bss.compare.runner` and then the page; ``python -m bss report`` is the page alone.
The numbers on it come from :mod:`bss.compare.runs` (run folders) through :mod:`bss.compare.statistics`. To work on them
further, :func:`load` reads a comparison into a table of pandas.
"""

import lazy_loader

# Listed in __init__.pyi, and imported when first used: the command line looks into this room before PyTorch is there.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
