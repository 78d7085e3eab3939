"""The criteria of the paper's appendix that need more than logits: feature similarity and gradient magnitude.

A :class:`bss.ScoreTable` has two columns, one that says how alike the modalities are and one that says how much is left
to learn. What fills them is a choice of two times two; with one column alone (``criterion`` of :func:`bss.difficulty`)
these are the eight criteria of appendix A, table 1 of the paper (arXiv 2501.01470 v1):

    prediction or feature similarity; loss or gradient magnitude; and the four sums of one of each.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bss.models.late_fusion import TwoStageNetwork
from bss.scoring.formulas import gradient_of, loss_of, similarity_of, tensors_of
from bss.utils.choices import Information, Similarity, Space


def feature_scores(
    model: TwoStageNetwork,
    batch: Mapping[str, Any],
    *,
    similarity: Similarity = "feature",
    information: Information = "gradient",
    space: Space = "probability",
    fused_weight: float = 1.0,
    unimodal_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Similarity and information of every sample from one forward, for ``score_dataset(..., scores=)``.

    The gradient magnitude is the sum of :func:`bss.scoring.gradient_of` over all heads, each times its weight in
    the loss. That is the sum of the norms over the heads' weight matrices, exact for linear heads of their own and
    linear fusion of concatenated features (what the recipes train); for another fusion it stands for such a head with
    the same prediction, and for a shared head it is an upper bound.

    Args:
        model: encodes and decodes the batch.
        batch: with ``"label"``.
        similarity: mean pairwise cosine of the modalities' ``"prediction"``, or of their ``"feature"``.
        information: the weighted ``"loss"``, or its ``"gradient"``'s magnitude.
        space: of the prediction similarity.
        fused_weight: w_f.
        unimodal_weight: w_u.

    Returns:
        Two tensors (B,): what a table's ``similarity`` and ``loss`` get.
    """
    # One forward serves both scores: the encoders are what costs, and the heads' inputs are needed for the gradient.
    features_BD, target = model.encode(batch), batch["label"]
    logits = model.decode(features_BD)
    if similarity == "feature":
        likeness = similarity_of(tensors_of(features_BD), space="logit")
    else:
        likeness = similarity_of(tensors_of(logits.unimodal), space=space)
    if information == "loss":
        weights = {"fused_weight": fused_weight, "unimodal_weight": unimodal_weight}
        return likeness, loss_of(logits.fused, tensors_of(logits.unimodal), target, **weights)
    together_BD = torch.cat(tensors_of(features_BD), dim=1)
    magnitude = fused_weight * gradient_of(logits.fused, target, together_BD)
    for name, logits_BC in logits.unimodal.items():
        magnitude = magnitude + unimodal_weight * gradient_of(logits_BC, target, features_BD[name])
    return likeness, magnitude
