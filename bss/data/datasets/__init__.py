"""Data sets, one module each: the files on disk, and what a sample is. They know nothing of training.

Every data set has ``TITLE``, ``FOLDER``, ``CLASSES``, ``SPLITS``, ``PUBLISHED`` (rows of the published lists),
``GROUP`` (what a sound split keeps apart), ``read_samples(root, split)``, ``find_samples(root, split)`` and
``write_sample(root)``. What data sets share is beside them: :mod:`bss.data.datasets.listing`, and by kind
:mod:`bss.data.datasets.audiovisual` and :mod:`bss.data.datasets.imagetext`.
"""
