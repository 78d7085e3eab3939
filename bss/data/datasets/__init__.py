"""Data sets, one module each: the files on disk, and what a sample is. They know nothing of training.

Every module has ``DATA_SET``, the record of what is known of its data set, and ``read_list(path)``. What data sets
share is beside them: :mod:`bss.data.datasets.data_set` (the record, and the way from a folder to samples),
:mod:`bss.data.datasets.listing` (lists and files), and by kind :mod:`bss.data.datasets.clips`,
:mod:`bss.data.datasets.audiovisual` and :mod:`bss.data.datasets.imagetext`.
"""
