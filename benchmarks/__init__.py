"""Measurements by hand; the library imports nothing of it."""
