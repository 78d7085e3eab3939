"""Samplers, which decide what samples an epoch sees, and in which order."""

from bss.samplers.base import OrderSampler
from bss.samplers.class_matched import ClassMatchedSampler
from bss.samplers.curriculum import CurriculumSampler
from bss.samplers.mix import MixSampler
from bss.samplers.random_pacing import RandomPacingSampler
from bss.samplers.resampling import ResamplingSampler
from bss.samplers.self_paced import SelfPacedSampler
from bss.samplers.uniform import UniformSampler

SAMPLERS = (
    CurriculumSampler,
    SelfPacedSampler,
    RandomPacingSampler,
    ClassMatchedSampler,
    UniformSampler,
    MixSampler,
    ResamplingSampler,
)
"""Every sampler of the library; the contract tests run over this tuple."""


__all__ = [
    "SAMPLERS",
    "ClassMatchedSampler",
    "CurriculumSampler",
    "MixSampler",
    "OrderSampler",
    "RandomPacingSampler",
    "ResamplingSampler",
    "SelfPacedSampler",
    "UniformSampler",
]
