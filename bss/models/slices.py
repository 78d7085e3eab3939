"""Unimodal logits out of one linear head on concatenated features, the usual network of the field."""

import numbers
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Slices:
    """What :func:`slices` returns: a function of features by modality name, {name: (N, D_m)} -> {name: (N, C)}.

    Attributes:
        head: the linear layer, C x sum of D_m; its weights are read whenever logits are asked for.
        dims: modality name -> D_m, in the order of concatenation.
    """

    head: nn.Linear
    dims: Mapping[str, int]

    def __call__(self, features_ND: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{name: (N, D_m)} -> {name: (N, C)}.

        Raises:
            ValueError: no mapping, a modality that is missing or unknown, or features of another shape (named).
        """
        if not isinstance(features_ND, Mapping):
            given = f"a {type(features_ND).__name__}"
            raise ValueError(
                f"features of {list(self.dims)} are needed by name, got {given}: of_joined takes joined ones"
            )
        if set(features_ND) != set(self.dims):
            raise ValueError(f"features of {list(self.dims)} are needed, got {list(features_ND)}")
        for name, width in self.dims.items():
            shape = tuple(features_ND[name].shape)
            if len(shape) != 2 or shape[1] != width:
                raise ValueError(
                    f"features of {name!r} must be (N, {width}), as dims= says, got {shape}: "
                    "what the network concatenates, after its pooling"
                )
        bias = None if self.head.bias is None else self.head.bias / len(self.dims)
        parts = self.head.weight.split(list(self.dims.values()), dim=1)
        return {
            name: functional.linear(features_ND[name].to(part.dtype), part, bias)
            for name, part in zip(self.dims, parts, strict=True)
        }

    def of_joined(self, joined_ND: Tensor) -> dict[str, Tensor]:
        """Concatenated features, (N, sum of D_m), as the head gets them -> {name: (N, C)}."""
        if joined_ND.ndim != 2 or joined_ND.shape[1] != self.head.in_features:
            raise ValueError(f"the head must be given (N, {self.head.in_features}), got {tuple(joined_ND.shape)}")
        parts = joined_ND.split(list(self.dims.values()), dim=1)
        return self(dict(zip(self.dims, parts, strict=True)))


def slices(head: nn.Linear, dims: Mapping[str, int]) -> Slices:
    """Unimodal logits out of one linear head on concatenated features, where no modality has a head of its own.

    logits_of = bss.slices(model.fusion_module.fc_out, {"audio": 512, "visual": 512})
    audio, visual, fused = model(spectrogram, image)
    table.update(index, unimodal=logits_of({"audio": audio, "visual": visual}), fused=fused, target=target)

    With ``W = [W^1 .. W^M]`` the head's weight, cut as the features are concatenated, and ``b`` its bias,

        z^m = W^m f^m + b / M        so that        sum_m z^m = W cat(f^1 .. f^M) + b

    The weights are read at every call, so they are those of the training as it goes on; the logits have a gradient, as
    any others. A modality's slice is trained by the joint loss alone, unless its logits are in the loss as well.
    :func:`bss.attach` takes what this returns as its ``heads``, where the network keeps its features to itself.

    Source: Peng et al., "Balanced Multimodal Learning via On-the-Fly Gradient Modulation", CVPR 2022; released code
    main.py:105-150 (GeWu-Lab/OGM-GE_CVPR2022 @343dc1d), which takes ``W^m f^m + b / 2`` for a modality's prediction.

    Args:
        head: an ``nn.Linear``, also inside DistributedDataParallel or ``torch.compile``.
        dims: modality name -> width D_m of its features, in the order of concatenation.

    Returns:
        A function, {name: (N, D_m)} -> {name: (N, C)}.

    Raises:
        ValueError: a head that is no linear layer, fewer than two modalities, or widths that do not add up to what the
            head takes.
    """
    layer: nn.Module = head
    while isinstance(inner := getattr(layer, "module", getattr(layer, "_orig_mod", None)), nn.Module):
        layer = inner  # DistributedDataParallel, torch.compile
    if not isinstance(layer, nn.Linear) or type(layer).forward is not nn.Linear.forward:
        raise ValueError(
            f"the head must be one nn.Linear, got a {type(layer).__name__}: what several layers or a nonlinear one "
            "make of concatenated features is no sum of unimodal logits; give each modality a head of its own"
        )
    dims = dict(dims)
    if len(dims) < 2:
        raise ValueError(f"dims= needs two modalities or more, in the order of concatenation, got {dims}")
    if not all(isinstance(width, int | numbers.Integral) and width >= 1 for width in dims.values()):
        raise ValueError(f"dims= must map each modality to the width of its features, a whole number >= 1, got {dims}")
    if sum(dims.values()) != layer.in_features:
        raise ValueError(
            f"the widths {dims} add up to {sum(dims.values())}, and the head takes {layer.in_features} features"
            + (": a lazy head has no weights before its first forward pass" if not layer.in_features else "")
        )
    return Slices(layer, {name: int(width) for name, width in dims.items()})
