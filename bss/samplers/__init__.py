"""Samplers: they decide which samples an epoch sees, and in which order."""

from bss.samplers.base import OrderSampler
from bss.samplers.curriculum import CurriculumSampler
from bss.samplers.random_pacing import RandomPacingSampler
from bss.samplers.self_paced import SelfPacedSampler

SAMPLERS = (CurriculumSampler, SelfPacedSampler, RandomPacingSampler)
"""Every sampler of the library; the contract tests run over this tuple."""

__all__ = ["SAMPLERS", "CurriculumSampler", "OrderSampler", "RandomPacingSampler", "SelfPacedSampler"]
