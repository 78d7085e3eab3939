"""Methods that change a training step: what BSS, which changes the order, is compared and combined with.

Training on the fused head's loss alone is no method but a recipe: ``unimodal_weight=0, prediction="fused"``, and for an
order by scores ``schedule.criterion="loss"``.
"""

from collections.abc import Mapping

from bss.methods.agm import AGM
from bss.methods.alternating import Alternating
from bss.methods.arranging import Arranging
from bss.methods.base import Method
from bss.methods.constants import default_settings
from bss.methods.data_remixing import DataRemixing
from bss.methods.loss_weights import LossWeights
from bss.methods.masking import Masking
from bss.methods.mla import MLA
from bss.methods.mmpareto import MMPareto
from bss.methods.modality_dropout import ModalityDropout
from bss.methods.mslr import MSLR
from bss.methods.ogm_ge import OGMGE
from bss.methods.reconboost import ReconBoost
from bss.methods.sample_valuation import SampleValuation

BY_NAME: dict[str, type[Method]] = {
    "loss-weights": LossWeights,
    "ogm-ge": OGMGE,
    "agm": AGM,
    "mla": MLA,
    "mmpareto": MMPareto,
    "mslr": MSLR,
    "reconboost": ReconBoost,
    "modality-dropout": ModalityDropout,
    "smv": SampleValuation,
    "data-remixing": DataRemixing,
}
"""The name that a recipe gives a method -> its class."""


METHODS = tuple(BY_NAME.values())
"""Every method; the contract tests run over all of them."""


def settings_of_run(name: str | None, settings: Mapping[str, object]) -> dict[str, object]:
    """The ``method_settings`` of a run, with the defaults of constants that came into the library after it.

    Args:
        name: of the method's class, as ``config.json`` has it.
        settings: as ``config.json`` has them.
    """
    newer = next((default_settings(kind) for kind in METHODS if kind.__name__ == name), {})
    return {**newer, **settings}


__all__ = [
    "AGM",
    "BY_NAME",
    "METHODS",
    "MLA",
    "MSLR",
    "OGMGE",
    "Alternating",
    "Arranging",
    "DataRemixing",
    "LossWeights",
    "MMPareto",
    "Masking",
    "Method",
    "ModalityDropout",
    "ReconBoost",
    "SampleValuation",
    "settings_of_run",
]
