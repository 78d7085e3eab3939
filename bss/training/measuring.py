"""What is measured after an epoch and at the end: the metrics of every head, and how far the modalities are apart."""

import contextlib
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from bss.models.compiling import as_written
from bss.models.late_fusion import has_two_stages
from bss.models.modes import evaluating
from bss.scoring.heads import unimodal_heads
from bss.scoring.imbalance import contributions, describe_predictions, linear_probes, mean_features
from bss.training.loaders import Checked
from bss.training.loops import Predicted, predict
from bss.training.run_folder import Imbalance
from bss.training.watch import TrainingWatch, gradient_ratio
from bss.utils import distributed
from bss.utils.choices import Masking, Precision, Prediction


@dataclass(frozen=True)
class Measuring:
    """Measures one network, always in the same way.

    Attributes:
        model: the network.
        prediction: which heads the prediction sums, see :func:`bss.scoring.metrics.head_logits`.
        precision: of the forward.
        every: epochs from one measurement of the contributions to the next; 0 = never, and no probes at the end.
        masking: what stands for the features of a modality that is left out.
        compiled: the network is compiled, and runs here as it is written.
    """

    model: nn.Module
    prediction: Prediction | str
    precision: Precision
    every: int
    masking: Masking
    compiled: bool = False

    def predict(self, loader: Checked, *, progress: str | None = None) -> Predicted:
        """What the network says of a data set; its features are kept where contributions are measured."""
        with as_written() if self.compiled else contextlib.nullcontext():
            return predict(
                self.model,
                loader,
                prediction=self.prediction,
                precision=self.precision,
                features=self.every > 0,
                progress=progress,
            )

    def after_epoch(self, epoch: int, predicted: Predicted, watch: TrainingWatch) -> Imbalance:
        """What ``metrics.jsonl`` says of the modalities after an epoch; docs in :mod:`bss.scoring.imbalance`.

        ``shapley`` is None in epochs in which it is not measured; with it ``gradient_norm`` and ``gradient_ratio`` are
        None or empty for networks other than a :class:`bss.models.TwoStageNetwork`.
        """
        norm = watch.gradient_norm()
        due = self.every > 0 and (epoch + 1) % self.every == 0
        row = describe_predictions(unimodal_heads(predicted.heads), predicted.target) | {
            "gradient_norm": norm,
            "gradient_ratio": gradient_ratio(norm),
            "shapley": self._contributions(predicted, watch.mean_features()) if due else None,
        }
        return cast(Imbalance, row)  # a TypedDict cannot be joined of parts

    def at_the_end(self, test: Predicted, train: Predicted | None) -> Imbalance:
        """What ``summary.json`` says of the modalities on the test set, with the weights as they are.

        As after an epoch, with the mean features taken from the training samples as a test sees them, and ``probe``:
        test accuracy of a linear classifier on each frozen encoder; ``probe_unconverged`` names those whose fit was cut
        short.

        Args:
            test: of the test set.
            train: of the training set, where the network has features.
        """
        row = {**describe_predictions(unimodal_heads(test.heads), test.target), "shapley": None}
        row |= {"probe": None, "probe_unconverged": None}
        if train is None:
            return cast(Imbalance, row)
        row["shapley"] = self._contributions(test, mean_features(train.share.features))
        features = [
            {name: distributed.gathered(values) for name, values in part.share.features.items()}
            for part in (train, test)
        ]
        # One process fits: the others would compute the same, and a last digit could tell them apart.
        fitted = linear_probes(features[0], train.target, features[1], test.target) if distributed.is_main() else None
        probes = distributed.from_main(fitted)
        assert probes is not None  # rank 0 has fitted them
        row["probe"], row["probe_unconverged"] = probes
        return cast(Imbalance, row)

    def _contributions(
        self, predicted: Predicted, fill: dict[str, Tensor] | None
    ) -> dict[str, dict[str, float]] | None:
        """Shapley values; ``fill`` is the mean feature of the training samples, None where there is none."""
        features, target = predicted.share
        model = self.model
        if not features or fill is None or not has_two_stages(model):
            return None
        if self.masking == "zero":
            fill = {name: torch.zeros_like(mean) for name, mean in fill.items()}
        with evaluating(self.model):
            return contributions(model, features, fill, target, prediction=self.prediction)
