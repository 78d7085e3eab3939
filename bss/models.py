"""Late fusion: one encoder and one head per modality, and a fusion head over all features."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from bss.seeding import seeded


class Logits(NamedTuple):
    """What a model returns for a batch.

    Attributes:
        fused: logits of the fused head, (B, C).
        unimodal: modality name -> logits of that modality's own head, (B, C).
    """

    fused: Tensor
    unimodal: dict[str, Tensor]


class LateFusion(nn.Module):
    """Encoders, unimodal heads and a fusion head; any number of modalities from two on.

    Batches are mappings from modality name to tensor, so the order of modalities cannot be confused. Names a batch
    carries beside its modalities (label, index) are left alone.

    Source: the two-branch networks of the released code, e.g. CREMA-D/models/basic_model.py:10-44 (linear heads on
    pooled features, a linear head on their concatenation).

    Args:
        encoders: modality name -> module that maps that modality's tensor to features (B, D_m).
        fusion: maps {modality name: (B, D_m)} to logits (B, C), see :mod:`bss.fusion`.
        num_classes: C.
        feature_dims: modality name -> D_m.

    Raises:
        ValueError: fewer than two modalities, names that differ between ``encoders`` and ``feature_dims``, or a
            modality called ``"all"`` or ``"fused"``, which are the names of other heads in the metrics.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module,
        num_classes: int,
        *,
        feature_dims: Mapping[str, int],
    ):
        super().__init__()
        if len(encoders) < 2 or set(encoders) != set(feature_dims):
            raise ValueError(
                f"two modalities or more, with the same names, are needed: encoders {list(encoders)}, "
                f"feature_dims {list(feature_dims)}"
            )
        if reserved := {"all", "fused"} & set(encoders):
            raise ValueError(f"a modality cannot be called {reserved.pop()!r}: that is another head in the metrics")
        self.encoders = nn.ModuleDict(encoders)
        self.heads = nn.ModuleDict({name: nn.Linear(feature_dims[name], num_classes) for name in encoders})
        self.fusion = fusion

    def forward(self, batch: Mapping[str, Tensor]) -> Logits:
        """Logits of all heads.

        Raises:
            ValueError: the batch lacks a modality (both lists are named).
        """
        missing = [name for name in self.encoders if name not in batch]
        if missing:
            raise ValueError(f"the batch has {sorted(batch)}, but the model needs {', '.join(missing)} as well")
        features_BD = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        unimodal_BC = {name: head(features_BD[name]) for name, head in self.heads.items()}
        return Logits(fused=self.fusion(features_BD), unimodal=unimodal_BC)


def initialize(model: nn.Module, seed: int) -> nn.Module:
    """Draw the weights of all linear, convolution and BatchNorm layers anew, as a function of the seed alone.

    Returns the model. Other layers (attention) keep the weights that they were made with, so build the network inside
    :func:`bss.seeding.seeded`.

    Linear: Xavier normal, bias 0. Conv2d: Kaiming normal, fan out, ReLU. BatchNorm2d: weight 1, bias 0.
    Source: ``weight_init`` of the released utils/utils.py, applied to KS, CREMA-D and NVGesture.
    """
    with seeded("initialize", seed):
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
    return model
