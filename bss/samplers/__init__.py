"""Samplers, which decide what samples an epoch sees, and in which order."""

from bss.samplers.base import OrderSampler
from bss.samplers.class_matched import ClassMatchedSampler
from bss.samplers.curriculum import CurriculumSampler
from bss.samplers.mix import MixSampler
from bss.samplers.random_pacing import RandomPacingSampler
from bss.samplers.resampling import ResamplingSampler
from bss.samplers.self_paced import SelfPacedSampler
from bss.samplers.uniform import UniformSampler
from bss.samplers.uniform_resampling import UniformResamplingSampler

BY_NAME: dict[str, type[OrderSampler]] = {
    "curriculum": CurriculumSampler,
    "self_paced": SelfPacedSampler,
    "random_pacing": RandomPacingSampler,
    "class_matched": ClassMatchedSampler,
    "uniform": UniformSampler,
    "uniform_resampling": UniformResamplingSampler,
    "mix": MixSampler,
    "resampling": ResamplingSampler,
}
"""The name that a recipe's schedule gives a sampler -> its class."""


SAMPLERS = tuple(BY_NAME.values())
"""Every sampler of the library; the contract tests run over this tuple."""


__all__ = [
    "BY_NAME",
    "SAMPLERS",
    "ClassMatchedSampler",
    "CurriculumSampler",
    "MixSampler",
    "OrderSampler",
    "RandomPacingSampler",
    "ResamplingSampler",
    "SelfPacedSampler",
    "UniformResamplingSampler",
    "UniformSampler",
]
