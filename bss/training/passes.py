"""Passes over the training samples that come before an epoch: the scoring pass, and what a method wants to see."""

import contextlib
from dataclasses import dataclass

from torch import nn
from torch.utils.data import DataLoader

from bss.methods import Method
from bss.models.compiling import as_written
from bss.scoring.scoring_pass import SampleScores, score_dataset
from bss.scoring.table import ScoreTable
from bss.training.loaders import Checked, begin_pass
from bss.training.loops import show_samples
from bss.utils.choices import Precision, ScoringMode
from bss.utils.interrupts import Interrupts


@dataclass(frozen=True)
class Passes:
    """Scores the training samples of one run, always in the same way.

    Attributes:
        model: the network.
        table: gets the scores.
        loader: this process's share of the samples.
        calibration: batches that all processes calibrate on, None = the loader's first ones.
        mode: how the network is run, see :func:`bss.score_dataset`.
        calibration_batches: their number.
        scores: other scores than the method's.
        precision: of the forward.
        compiled: the network is compiled, and runs here as it is written.
    """

    model: nn.Module
    table: ScoreTable
    loader: DataLoader
    calibration: DataLoader | None
    mode: ScoringMode
    calibration_batches: int
    scores: SampleScores | None
    precision: Precision
    compiled: bool = False

    def score(self, epoch: int, interrupts: Interrupts) -> None:
        """Score every sample, and close the table's epoch."""
        for loader in (self.loader, self.calibration):
            if loader is not None:
                begin_pass(loader, epoch)
        checked = Checked(self.loader, interrupts)
        with as_written() if self.compiled else contextlib.nullcontext():
            score_dataset(
                self.model,
                checked,
                self.table,
                mode=self.mode,
                calibration_batches=self.calibration_batches,
                calibration=checked if self.calibration is None else self.calibration,
                scores=self.scores,
                precision=self.precision,
                progress=f"scoring before epoch {epoch + 1}",
            )

    def show(self, method: Method, epoch: int, interrupts: Interrupts) -> None:
        """Show a method every sample."""
        begin_pass(self.loader, epoch)
        loader, progress = Checked(self.loader, interrupts), f"valuing modalities before epoch {epoch + 1}"
        show_samples(self.model, loader, method, precision=self.precision, progress=progress)
