"""Methods that change a training step: what BSS, which changes the order, is compared and combined with.

Training on the fused head's loss alone is no method but a recipe: ``unimodal_weight=0, prediction="fused"``, and for an
order by scores ``schedule.criterion="loss"``.
"""

from bss.methods.agm import AGM
from bss.methods.arranging import Arranging
from bss.methods.base import Method
from bss.methods.data_remixing import DataRemixing
from bss.methods.loss_weights import LossWeights
from bss.methods.masking import Masking
from bss.methods.mmpareto import MMPareto
from bss.methods.modality_dropout import ModalityDropout
from bss.methods.mslr import MSLR
from bss.methods.ogm_ge import OGMGE
from bss.methods.sample_valuation import SampleValuation

BY_NAME: dict[str, type[Method]] = {
    "loss-weights": LossWeights,
    "ogm-ge": OGMGE,
    "agm": AGM,
    "mmpareto": MMPareto,
    "mslr": MSLR,
    "modality-dropout": ModalityDropout,
    "smv": SampleValuation,
    "data-remixing": DataRemixing,
}
"""The name that a recipe gives a method -> its class."""


METHODS = tuple(BY_NAME.values())
"""Every method; the contract tests run over all of them."""


__all__ = [
    "AGM",
    "BY_NAME",
    "METHODS",
    "MSLR",
    "OGMGE",
    "Arranging",
    "DataRemixing",
    "LossWeights",
    "MMPareto",
    "Masking",
    "Method",
    "ModalityDropout",
    "SampleValuation",
]
