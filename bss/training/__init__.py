"""One run: training, measuring and testing it, and the run folder that it leaves.

:func:`bss.fit` is the way in (:mod:`bss.training.engine`). It is handed the data, the network and the numbers, and
knows no data set.
"""
