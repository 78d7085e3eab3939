"""From files to tensors: ``audio`` (waveforms, spectrograms) and ``image`` (frames, their two views)."""
