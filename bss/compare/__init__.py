"""Arms against each other: train every arm with every seed, and make one page of what came out.

``python -m bss compare`` is :mod:`bss.compare.runner` and then the page; ``python -m bss report`` is the page alone.
The numbers on it come from :mod:`bss.compare.runs` (run folders) through :mod:`bss.compare.statistics`.
"""
