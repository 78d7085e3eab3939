"""Small generated data sets in the layout of the real ones: what ``--sample`` trains on.

One module per data set with ``write_sample(root)``; sounds and pictures are in :mod:`bss.data.synthetic.signals`.
Every set has one strong and one weak modality.
"""
