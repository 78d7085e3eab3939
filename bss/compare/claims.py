"""What the method's authors claim, as plain data: the table of their slides, and which arm here trains each row of it.

Nothing in this file was measured by this package, and nothing that it measures is written here. Another data set is
another entry of :data:`CLAIMS`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from bss.compare.arms import ALONE
from bss.utils.errors import RecipeError, guess, shown

SOURCE = "the authors' slides of IJCAI 2025, number 12"
"""Where the claimed table stands: ``_publications/IJCAI2025_BSS_slide.pdf`` in jiangqy/jiangqy.github.io at 9e31b2c."""


ONE_NUMBER = "no deviation, number of seeds or protocol is given"
"""What has to be said wherever a claimed number stands."""


@dataclass(frozen=True)
class Row:
    """A row of the claimed table, or an arm without one, for one data set.

    Attributes:
        method: name of the row in the slides; empty = they have no such row.
        claimed: accuracy and the data set's second metric in percent; None where the slides have no row.
        arms: names of the arms that train it here; of two readings of what the slides say, two.
        how: how it is trained here, or why it is not, in a few words.
    """

    method: str
    claimed: tuple[float, float] | None
    arms: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class Baseline:
    """A number that the slides set the learning-based sampler (BSS-L) against.

    Attributes:
        name: as the slides call it.
        accuracy: claimed, in percent.
        slide: its number.
        arm: the control here that comes nearest to it.
        remark: how near that is, as a sentence without a full stop.
    """

    name: str
    accuracy: float
    slide: int
    arm: str
    remark: str


@dataclass(frozen=True)
class Ablation:
    """A row of the claimed ablation of the learning-based sampler.

    Attributes:
        criterion: which scores it goes by.
        claimed: accuracy and second metric in percent, of each modality's head and of all heads together (``"all"``).
    """

    criterion: str
    claimed: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Claims:
    """What is claimed for one data set.

    Attributes:
        metric: the second metric, by the name that it has here. Whether the slides' F1 is the macro average is not
            said.
        table: row of the slides -> (accuracy, second metric) in percent, in the slides' order.
        alone: row of the slides -> the modality that it trains by itself.
        baselines: what the claimed gain of the learning-based sampler is measured against.
        ablation: of the learning-based sampler.
        fold_by: who is in one fold alone (``"speaker"``), a value of the recipe's ``split``; None = the data set has no
            such folds.
        remark: what of the recipe is a guess, as a sentence; empty = nothing beyond what the slides leave open.
    """

    metric: Literal["map", "macro_f1"]
    table: Mapping[str, tuple[float, float]]
    alone: Mapping[str, str]
    baselines: tuple[Baseline, ...] = ()
    ablation: tuple[Ablation, ...] = ()
    fold_by: str | None = None
    remark: str = ""

    def rows(self) -> Iterator[Row]:
        """The rows of the claimed table in the slides' order, and then the arms that the slides have no row for."""
        for method, claimed in self.table.items():
            if method in self.alone:
                modality = self.alone[method]
                yield Row(method, claimed, (ALONE + modality,), f"{modality}: its encoder and its head by themselves")
            else:
                yield Row(method, claimed, *METHODS[method])
        for arm, how in UNCLAIMED.items():
            yield Row("", None, (arm,), how)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms of the comparison: the controls first, then in the order of :meth:`rows`."""
        trained = [arm for row in self.rows() for arm in row.arms]
        return tuple(dict.fromkeys([*UNCLAIMED, *trained]))

    @property
    def contrasts(self) -> tuple[tuple[str, str], ...]:
        """What the comparison tests, as (arm, control): :data:`CONTRASTS` of its arms."""
        return tuple(pair for pair in CONTRASTS if set(pair) <= set(self.arms))

    def all_baselines(self) -> tuple[Baseline, ...]:
        """Concatenation, which every data set's table has, and then what else the slides set BSS-L against."""
        concat = Baseline("Concat", self.table["Concat"][0], 12, "joint", "it is trained here as the fused head alone")
        return (concat, *self.baselines)


LEARNED = ("spl-paper", "spl-paper-replacement")
"""The arms of BSS-L: whether its batches are drawn with replacement the slides do not say."""


UNCLAIMED = {
    "uniform": "uniform order; loss and prediction are those of CL and SPL",
    "uniform-replacement": "uniform draws with replacement; loss and prediction are those of CL and SPL",
    "random-pacing": "the sizes of CL's epochs, with random members",
    "ensemble": "no fused loss: each modality by its own loss, and their logits summed",
}
"""Arms that tell the order from the rest, which the slides have no row for -> how they are trained."""


CONTRASTS = (
    *((arm, "uniform") for arm in LEARNED),
    ("spl-paper-replacement", "uniform-replacement"),  # the weights alone, where resampling as such may help
    ("cl", "random-pacing"),
    *((arm, control) for control in ("ensemble", "joint") for arm in LEARNED),
)
"""What a reproduction tests, as (arm, control): the order alone first, then the whole method."""


_MODULATED = "on the recipe's losses of all heads, in uniform order"


_FUSION = "not trained: the fusion is one for all arms here (--set fusion=), and none of them is about it"


_NO_METHOD = "not trained: this package does not have the method"


METHODS: dict[str, tuple[tuple[str, ...], str]] = {
    "Concat": (("joint",), "one head on concatenated features: its loss alone, and its prediction"),
    **dict.fromkeys(("Affine", "Channel", "ML-LSTM", "Sum", "Weight", "ETMC"), ((), _FUSION)),
    **dict.fromkeys(("MSES", "OGR-GB", "DOMFN", "PMR", "AMSS"), ((), _NO_METHOD)),
    "OGM": (("ogm-ge",), f"OGM-GE, noise included, {_MODULATED}"),
    "MSLR": (("mslr",), f"the dynamic form, by validation accuracy, {_MODULATED}"),
    "AGM": (("agm",), f"AGM {_MODULATED}"),
    "ReconBoost": (("reconboost",), "modalities by stages, each followed by a rectification of all; logits summed"),
    "MMPareto": (("mmpareto",), f"MMPareto {_MODULATED}"),
    "SMV": (("smv",), f"sample-level, {_MODULATED}"),
    "MLA": (("mla",), "modalities by turns through one head; prediction by entropy"),
    "BSS-H": (("cl",), "the heuristic sampler: scored once, before the first epoch"),
    "BSS-L": (LEARNED, "the learning-based sampler, drawn without and with replacement: the slides do not say which"),
}
"""Row of the slides -> the arms that train it, and how or why not; the rows of single modalities are in the claims."""


# ---- the numbers ---------------------------------------------------------------------------------------------------


CLAIMS = {
    "cremad": Claims(
        metric="map",
        alone={"Audio": "audio", "Video": "visual"},
        table={
            "Audio": (63.17, 68.61),
            "Video": (45.83, 58.79),
            "Concat": (63.31, 68.31),
            "Affine": (66.26, 71.93),
            "Channel": (66.13, 71.75),
            "ML-LSTM": (62.94, 64.73),
            "Sum": (63.44, 69.08),
            "Weight": (66.53, 73.26),
            "ETMC": (65.86, 71.34),
            "MSES": (61.56, 68.83),
            "OGR-GB": (64.65, 84.54),
            "DOMFN": (67.34, 85.72),
            "OGM": (66.94, 71.73),
            "MSLR": (65.46, 71.38),
            "AGM": (67.07, 73.58),
            "PMR": (66.59, 70.30),
            "ReconBoost": (74.84, 81.24),
            "MMPareto": (74.87, 85.35),
            "SMV": (78.72, 84.17),
            "MLA": (79.43, 85.72),
            "AMSS": (70.30, 76.14),
            "BSS-H": (80.78, 87.86),
            "BSS-L": (82.80, 88.61),
        },
        baselines=(
            Baseline(
                "Vanilla MML", 72.41, 13, "uniform", "whether it is uniform order with the method's loss is not said"
            ),
        ),
        fold_by="speaker",
        remark="Slide 13 finds alpha = 0.2 best and has no formula with it: that it is the fused head's share of the "
        "loss is a guess.",
    ),
    "ks": Claims(
        metric="map",
        alone={"Audio": "audio", "Video": "visual"},
        table={
            "Audio": (54.12, 56.69),
            "Video": (55.62, 58.37),
            "Concat": (64.55, 71.31),
            "Affine": (64.24, 69.31),
            "Channel": (63.51, 68.66),
            "ML-LSTM": (63.84, 69.02),
            "Sum": (64.97, 71.03),
            "Weight": (65.33, 71.33),
            "ETMC": (65.67, 71.19),
            "MSES": (64.71, 70.63),
            "OGR-GB": (67.10, 71.39),
            "DOMFN": (66.25, 72.44),
            "OGM": (66.06, 71.44),
            "MSLR": (65.91, 71.96),
            "AGM": (66.02, 72.52),
            "PMR": (66.56, 71.93),
            "ReconBoost": (70.85, 74.24),
            "MMPareto": (70.00, 78.50),
            "SMV": (69.00, 74.26),
            "MLA": (70.04, 74.13),
            "AMSS": (72.25, 79.13),
            "BSS-H": (72.67, 78.61),
            "BSS-L": (73.95, 79.43),
        },
        baselines=(
            Baseline(
                "BSS-L without a criterion",
                70.44,
                13,
                "uniform",
                "an order by no score is uniform order, as we read it",
            ),
        ),
        ablation=(
            Ablation("none", {"audio": (49.37, 51.07), "visual": (54.03, 57.48), "all": (70.44, 76.62)}),
            Ablation("loss", {"audio": (52.11, 54.40), "visual": (54.23, 57.91), "all": (72.44, 79.41)}),
            Ablation("similarity", {"audio": (52.38, 54.32), "visual": (54.93, 58.52), "all": (73.25, 78.98)}),
            Ablation("both", {"audio": (52.73, 54.43), "visual": (54.74, 58.46), "all": (73.95, 79.43)}),
        ),
    ),
    "twitter15": Claims(
        metric="macro_f1",
        alone={"Text": "text", "Image": "image"},
        table={
            "Text": (73.67, 68.49),
            "Image": (58.63, 43.33),
            "Concat": (70.11, 63.86),
            "Affine": (72.03, 59.92),
            "ML-LSTM": (70.68, 65.64),
            "Sum": (73.12, 66.61),
            "Weight": (72.42, 65.16),
            "ETMC": (73.96, 67.39),
            "MSES": (71.84, 66.55),
            "OGR-GB": (74.35, 68.69),
            "DOMFN": (74.45, 68.57),
            "OGM": (74.92, 68.74),
            "MSLR": (72.52, 64.39),
            "AGM": (74.83, 69.11),
            "PMR": (74.25, 68.60),
            "ReconBoost": (74.42, 68.34),
            "MMPareto": (73.58, 67.29),
            "SMV": (74.28, 68.17),
            "MLA": (73.52, 67.13),
            "AMSS": (75.12, 69.23),
            "BSS-H": (74.73, 68.67),
            "BSS-L": (75.22, 69.51),
        },
    ),
    "sarcasm": Claims(
        metric="macro_f1",
        alone={"Text": "text", "Image": "image"},
        table={
            "Text": (81.36, 80.65),
            "Image": (71.81, 70.73),
            "Concat": (82.86, 82.43),
            "Affine": (82.47, 81.88),
            "ML-LSTM": (82.05, 70.73),
            "Sum": (82.94, 82.47),
            "Weight": (82.65, 82.19),
            "ETMC": (83.69, 83.23),
            "MSES": (84.18, 83.60),
            "OGR-GB": (83.35, 82.71),
            "DOMFN": (83.56, 82.62),
            "OGM": (83.23, 82.66),
            "MSLR": (84.23, 83.69),
            "AGM": (84.02, 83.44),
            "PMR": (83.60, 82.49),
            "ReconBoost": (84.37, 83.17),
            "MMPareto": (83.48, 82.48),
            "SMV": (84.18, 83.68),
            "MLA": (84.26, 83.48),
            "AMSS": (84.35, 83.77),
            "BSS-H": (84.41, 83.86),
            "BSS-L": (85.01, 84.62),
        },
    ),
    "nvgesture": Claims(
        metric="macro_f1",
        alone={"RGB": "rgb", "OF": "flow", "Depth": "depth"},
        table={
            "RGB": (78.22, 78.33),
            "OF": (78.63, 78.65),
            "Depth": (81.54, 81.83),
            "Concat": (81.33, 81.47),
            "Affine": (82.78, 82.81),
            "Channel": (81.54, 81.57),
            "ML-LSTM": (83.20, 83.30),
            "Sum": (82.99, 83.05),
            "Weight": (83.42, 83.57),
            "ETMC": (83.61, 83.69),
            "MSES": (81.12, 81.47),
            "OGR-GB": (82.99, 83.05),
            "MSLR": (82.86, 82.92),
            "AGM": (82.78, 82.82),
            "ReconBoost": (84.13, 86.32),
            "MMPareto": (83.82, 84.24),
            "SMV": (83.52, 83.41),
            "MLA": (83.40, 83.72),
            "AMSS": (84.64, 84.94),
            "BSS-H": (85.06, 85.15),
            "BSS-L": (86.72, 87.04),
        },
    ),
}
"""Name of a task -> what is claimed for its data set: slide 12, tables 1 and 2; slide 13, table 3 and figure 3."""


def claims_of(task: str) -> Claims:
    """What is claimed for a task's data set.

    Raises:
        RecipeError: nothing is known to be (lists the data sets).
    """
    if task not in CLAIMS:
        raise RecipeError(
            f"there is no claimed table for {shown(task)}{guess(task, CLAIMS)}; there is one for {', '.join(CLAIMS)}. "
            "python -m bss compare compares arms on any task"
        )
    return CLAIMS[task]
