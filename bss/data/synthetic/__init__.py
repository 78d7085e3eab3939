"""Small generated data sets in the layout of the real ones: what ``--sample`` trains on.

Every data set has a module with ``write_sample(root, sizes)``; how a set is written once, and its sounds and pictures,
are in :mod:`bss.data.synthetic.signals`. Every set has one strong and one weak modality.
"""
