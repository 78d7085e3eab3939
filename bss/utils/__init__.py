"""The ground floor: errors, seeds, processes, files. It knows no sample, no network and no recipe."""
