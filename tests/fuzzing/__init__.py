"""Damaged files, drawn from a seed: a reader refuses them in a line, or gives what it gives for the whole ones."""
