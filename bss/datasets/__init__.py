"""Data sets, one module each: the files on disk, and what a sample is. They know nothing of training."""
