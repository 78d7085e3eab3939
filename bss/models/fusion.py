"""Fusion heads: each maps features by modality name, {name: (B, D_m)}, to fused logits (B, C).

All take ``feature_dims`` (modality name -> D_m, in the order in which modalities are combined) and ``num_classes``,
and work for two modalities or more. Sources: fusion_modules.py of the released code for the two-modality forms; how a
form is extended to more modalities is said at each class.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bss.utils.names import check_modality_names

Features = Mapping[str, Tensor]


class ConcatFusion(nn.Module):
    """One linear layer on the concatenated features: what all released recipes train."""

    def __init__(self, feature_dims: Mapping[str, int], num_classes: int):
        super().__init__()
        self.names = _checked_names(feature_dims)
        self.classifier = nn.Linear(sum(feature_dims.values()), num_classes)

    def forward(self, features_BD: Features) -> Tensor:
        """{name: (B, D_m)} -> (B, C)."""
        return self.classifier(torch.cat([features_BD[name] for name in self.names], dim=1))


class SumFusion(nn.Module):
    """The sum of one linear layer per modality."""

    def __init__(self, feature_dims: Mapping[str, int], num_classes: int):
        super().__init__()
        self.names = _checked_names(feature_dims)
        self.classifiers = nn.ModuleDict({name: nn.Linear(dim, num_classes) for name, dim in feature_dims.items()})

    def forward(self, features_BD: Features) -> Tensor:
        """{name: (B, D_m)} -> (B, C)."""
        return sum(self.classifiers[name](features_BD[name]) for name in self.names)


class FiLMFusion(nn.Module):
    """Feature-wise linear modulation (Perez et al. 2018): the first modality scales and shifts each other one.

    With more than two modalities the modulated features are averaged before the classifier.

    Args:
        feature_dims: modality name -> D_m; all modalities but the first must have the same D.
        num_classes: C.
    """

    def __init__(self, feature_dims: Mapping[str, int], num_classes: int):
        super().__init__()
        self.condition, *self.modulated = _checked_names(feature_dims)
        dim = _common_dim({name: feature_dims[name] for name in self.modulated})
        self.films = nn.ModuleDict({name: nn.Linear(feature_dims[self.condition], 2 * dim) for name in self.modulated})
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, features_BD: Features) -> Tensor:
        """{name: (B, D_m)} -> (B, C)."""
        outputs = []
        for name in self.modulated:
            scale_BD, shift_BD = self.films[name](features_BD[self.condition]).chunk(2, dim=1)
            outputs.append(scale_BD * features_BD[name] + shift_BD)
        return self.classifier(torch.stack(outputs).mean(dim=0))


class GatedFusion(nn.Module):
    """Gating (Kiela et al. 2018): a sigmoid of the first modality's projection multiplies the others'.

    With more than two modalities the gated projections are averaged before the classifier.

    Args:
        feature_dims: modality name -> D_m.
        num_classes: C.
        hidden_dim: width of the projections; None = the first modality's D.
    """

    def __init__(self, feature_dims: Mapping[str, int], num_classes: int, hidden_dim: int | None = None):
        super().__init__()
        self.gate, *self.gated = _checked_names(feature_dims)
        hidden_dim = hidden_dim or feature_dims[self.gate]
        self.projections = nn.ModuleDict({name: nn.Linear(dim, hidden_dim) for name, dim in feature_dims.items()})
        self.classifier = nn.Linear(hidden_dim, num_classes)

    def forward(self, features_BD: Features) -> Tensor:
        """{name: (B, D_m)} -> (B, C)."""
        gate_BH = self.projections[self.gate](features_BD[self.gate]).sigmoid()
        gated = [gate_BH * self.projections[name](features_BD[name]) for name in self.gated]
        return self.classifier(torch.stack(gated).mean(dim=0))


class DeepFusion(nn.Module):
    """A projection per modality, then a two-layer perceptron on their concatenation (released ``DeepFusion``).

    Args:
        feature_dims: modality name -> D_m.
        num_classes: C.
        hidden_dim: width of each projection and of the hidden layer.
    """

    def __init__(self, feature_dims: Mapping[str, int], num_classes: int, hidden_dim: int = 1024):
        super().__init__()
        self.names = _checked_names(feature_dims)
        self.projections = nn.ModuleDict({name: nn.Linear(dim, hidden_dim) for name, dim in feature_dims.items()})
        self.hidden = nn.Linear(len(feature_dims) * hidden_dim, hidden_dim)
        self.classifier = nn.Linear(hidden_dim, num_classes)

    def forward(self, features_BD: Features) -> Tensor:
        """{name: (B, D_m)} -> (B, C)."""
        projected = torch.cat([self.projections[name](features_BD[name]) for name in self.names], dim=1)
        return self.classifier(self.hidden(projected.relu()).relu())


class AdapterFusion(nn.Module):
    """A residual bottleneck with dropout on the concatenated features (released ``AdvancedAdapterModule``).

    Args:
        feature_dims: modality name -> D_m.
        num_classes: C.
        hidden_dim: width between the two linear layers.
        dropout: probability, between them.
    """

    def __init__(self, feature_dims: Mapping[str, int], num_classes: int, hidden_dim: int = 512, dropout: float = 0.5):
        super().__init__()
        self.names = _checked_names(feature_dims)
        dim = sum(feature_dims.values())
        self.down = nn.Linear(dim, hidden_dim)
        self.up = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, features_BD: Features) -> Tensor:
        """{name: (B, D_m)} -> (B, C)."""
        joined_BD = torch.cat([features_BD[name] for name in self.names], dim=1)
        return self.classifier(joined_BD + self.up(self.dropout(self.down(joined_BD).relu())))


class CrossAttentionFusion(nn.Module):
    """Modalities look at each other in turn (released ``TwoLayerCrossAttention``), then a linear classifier.

    The state starts as the first modality. Each other modality, in order, is updated by attending to the state and
    becomes the new state; before that the state attends to the first of them. For two modalities these are the released
    two layers: A looks at B, then B looks at the updated A. Features without a token axis count as one token.

    Args:
        feature_dims: modality name -> D_m, all equal and divisible by ``num_heads``.
        num_classes: C.
        num_heads: attention heads.
    """

    def __init__(self, feature_dims: Mapping[str, int], num_classes: int, num_heads: int = 4):
        super().__init__()
        self.first, *self.others = _checked_names(feature_dims)
        dim = _common_dim(feature_dims)
        if dim % num_heads:
            raise ValueError(f"feature dimension {dim} is not divisible by num_heads={num_heads}")
        self.layers = nn.ModuleList(_CrossAttention(dim, num_heads) for _ in feature_dims)
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, features_BD: Features) -> Tensor:
        """{name: (B, D)} or {name: (B, tokens, D)} -> (B, C)."""
        tokens = {
            name: features_BD[name] if features_BD[name].ndim == 3 else features_BD[name].unsqueeze(1)
            for name in (self.first, *self.others)
        }
        look_first, *look = self.layers
        state = look_first(tokens[self.first], tokens[self.others[0]])
        for layer, name in zip(look, self.others, strict=True):
            state = layer(tokens[name], state)
        return self.classifier(state.mean(dim=1))


class _CrossAttention(nn.Module):
    """Post-norm cross attention: norm(linear(attention(query, context)) + query)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.linear = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, query_BTD: Tensor, context_BSD: Tensor) -> Tensor:
        attended_BTD, _ = self.attention(query_BTD, context_BSD, context_BSD, need_weights=False)
        return self.norm(self.linear(attended_BTD) + query_BTD)


FUSIONS = {
    "concat": ConcatFusion,
    "sum": SumFusion,
    "film": FiLMFusion,
    "gated": GatedFusion,
    "cross-attention": CrossAttentionFusion,
    "deep": DeepFusion,
    "adapter": AdapterFusion,
}
"""Every fusion head by the name that a recipe gives it; the contract tests run over all of them."""


def _checked_names(feature_dims: Mapping[str, int]) -> list[str]:
    if len(feature_dims) < 2:
        raise ValueError(f"a fusion head needs two modalities or more, got {list(feature_dims)}")
    check_modality_names(feature_dims, taken=dir(nn.ModuleDict()))
    return list(feature_dims)


def _common_dim(feature_dims: Mapping[str, int]) -> int:
    dims = set(feature_dims.values())
    if len(dims) > 1:
        raise ValueError(f"this fusion head needs features of one dimension, got {dict(feature_dims)}")
    return dims.pop()
