"""Glue for other people's training loops, one module each; a framework is imported with its module only.

PyTorch, torchdata and Accelerate need no glue: there the samplers and the table are used as they are.
"""
