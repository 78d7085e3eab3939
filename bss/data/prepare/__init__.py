"""Preparation: from what is published to the layout that training reads; one module per data set."""
