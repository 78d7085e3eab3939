"""Late fusion: one encoder and one head per modality, and a fusion head over all features."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard

from torch import Tensor, nn

from bss.utils.names import check_modality_names

KEEP_KEY = "bss_keep"
"""Key of a batch under which ``{modality: (B,) bool}`` says which samples keep that modality; see :func:`kept`."""


class Logits(NamedTuple):
    """What a model returns for a batch.

    Attributes:
        fused: logits of the fused head, (B, C).
        unimodal: modality name -> logits of that modality's own head, (B, C).
    """

    fused: Tensor
    unimodal: dict[str, Tensor]


class TwoStageNetwork(Protocol):
    """A network that first encodes every modality by itself, and then decodes the features: LateFusion, or one's own.

    Its forward must be ``self.decode(self.encode(batch))``. Whatever has these three names gets all that this library
    does with features and encoders: Shapley contributions, linear probes, gradient norms, feature scores, and every
    method (MLA needs ``heads`` as well, modality name -> ``torch.nn.Linear``). Networks that return :class:`Logits`
    without them are trained, scored and measured by their logits alone.

    Attributes:
        encoders: modality name -> the part of the network that only this modality passes.
    """

    # For mypy a property, as it is only read, and the call that every network has. A class that inherits gets neither.
    if TYPE_CHECKING:

        @property
        def encoders(self) -> Mapping[str, nn.Module] | nn.ModuleDict:
            """See the attributes."""

        def __call__(self, batch: Mapping[str, Any]) -> Logits:
            """The forward."""

    else:
        encoders: Mapping[str, nn.Module]

    def encode(self, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Features of each modality, (B, D_m); zeros for a sample that does not keep the modality, see :func:`kept`."""

    def decode(self, features_BD: Mapping[str, Tensor]) -> Logits:
        """Logits of all heads from the features of :meth:`encode`."""


def has_two_stages(model: object) -> TypeGuard[TwoStageNetwork]:
    """Whether a network has the names of a :class:`TwoStageNetwork`.

    ``isinstance`` with a protocol would look past the submodules of a network from Python 3.12 on.
    """
    return all(hasattr(model, name) for name in ("encoders", "encode", "decode"))


def kept(features_BD: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """The features, with zeros where the batch says under :data:`KEEP_KEY` that a sample does not keep a modality."""
    features = dict(features_BD)
    for name, keep_B in batch.get(KEEP_KEY, {}).items():
        # where, not a product: what is not finite must not come through
        features[name] = features[name].where(keep_B.unsqueeze(1), 0.0)
    return features


Decode = Callable[[Mapping[str, Tensor]], Logits]
"""Features of each modality (B, D_m) to the logits of all heads: :meth:`TwoStageNetwork.decode`."""


@contextlib.contextmanager
def decoding(model: TwoStageNetwork, instead: Callable[[Decode, Mapping[str, Tensor]], Logits]) -> Iterator[None]:
    """Every forward pass inside the block decodes by ``instead``, which is given the decoding before it and features.

    Args:
        model: the network, not its DistributedDataParallel wrapper.
        instead: blocks within blocks nest: the inner one is given the outer one's.
    """
    before, decode = vars(model).get("decode"), model.decode
    # On the object: the class and other networks keep theirs. (mypy would have no method replaced.)
    model.decode = functools.partial(instead, decode)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.decode
        if before is not None:
            model.decode = before  # type: ignore[method-assign]  # put back as it was


@contextlib.contextmanager
def features_seen(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """A mapping that every forward pass inside the block fills with the features (B, D_m) that the heads see.

    It stays empty for other networks than a :class:`TwoStageNetwork`.

    Args:
        model: the network, not its DistributedDataParallel wrapper.
    """
    seen: dict[str, Tensor] = {}
    if not has_two_stages(model):
        yield seen
        return

    def seeing(decode: Decode, features_BD: Mapping[str, Tensor]) -> Logits:
        seen.update(features_BD)
        return decode(features_BD)

    with decoding(model, seeing):
        yield seen


class LateFusion(nn.Module):
    """Encoders, unimodal heads and a fusion head; any number of modalities from two on.

    Batches are mappings from modality name to tensor, so the order of modalities cannot be confused. Names a batch
    carries beside its modalities (label, index) are left alone, but for :data:`KEEP_KEY`: where a sample does not keep
    a modality, the features of that modality are zeros, for its own head and for the fusion.

    Source: the two-branch networks of the released code, e.g. CREMA-D/models/basic_model.py:10-44 (linear heads on
    pooled features, a linear head on their concatenation).

    Args:
        encoders: modality name -> module that maps that modality's tensor to features (B, D_m).
        fusion: maps {modality name: (B, D_m)} to logits (B, C), see :mod:`bss.models.fusion`.
        num_classes: C.
        feature_dims: modality name -> D_m.
        shared_head: one linear head, ``heads.shared``, serves all modalities, which must have the same D (Sarcasm;
            released Sarcasm ``ITNet.cls_shared``).

    Raises:
        ValueError: fewer than two modalities, names that differ between ``encoders`` and ``feature_dims``, features of
            different length for a shared head, or a modality whose name is something else's already: of another head
            (``"fused"``), of what a batch has beside it (``"label"``) or of ``nn.ModuleDict`` (``"keys"``), or has a
            dot in it.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module,
        num_classes: int,
        *,
        feature_dims: Mapping[str, int],
        shared_head: bool = False,
    ):
        super().__init__()
        if len(encoders) < 2 or set(encoders) != set(feature_dims):
            raise ValueError(
                f"two modalities or more, with the same names, are needed: encoders {list(encoders)}, "
                f"feature_dims {list(feature_dims)}"
            )
        check_modality_names(encoders, taken=dir(nn.ModuleDict()))
        self.encoders = nn.ModuleDict(encoders)
        if shared_head and len(set(feature_dims.values())) > 1:
            raise ValueError(f"a shared head needs features of one length, got {dict(feature_dims)}")
        self.feature_dims = dict(feature_dims)
        self.head_of = {name: "shared" if shared_head else name for name in encoders}
        dim_of_head = {self.head_of[name]: feature_dims[name] for name in encoders}
        self.heads = nn.ModuleDict({head: nn.Linear(dim, num_classes) for head, dim in dim_of_head.items()})
        self.fusion = fusion

    def encode(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Features of each modality, (B, D_m), with zeros where the batch says that a sample does not keep it.

        Raises:
            ValueError: the batch lacks a modality (both lists are named).
        """
        missing = [name for name in self.encoders if name not in batch]
        if missing:
            raise ValueError(f"the batch has {sorted(batch)}, but the model needs {', '.join(missing)} as well")
        features_BD = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        return kept(features_BD, batch)

    def decode(self, features_BD: Mapping[str, Tensor]) -> Logits:
        """Logits of all heads from the features of :meth:`encode`."""
        unimodal_BC = {name: self.heads[self.head_of[name]](features_BD[name]) for name in self.encoders}
        return Logits(fused=self.fusion(features_BD), unimodal=unimodal_BC)

    def forward(self, batch: Mapping[str, Any]) -> Logits:
        """Logits of all heads; see :meth:`encode`."""
        return self.decode(self.encode(batch))
