"""What a modality may be called."""

from collections.abc import Iterable

from bss.utils.errors import DataError, shown

HEADS = ("all", "fused")
"""Heads that are no modality's, in metrics and messages."""

FIELDS = ("label", "bss_index", "bss_keep", "bss_variant")
"""What else a sample or a batch carries."""


TAKEN = frozenset((*HEADS, *FIELDS))
"""Names that no modality has, whatever the network."""


def check_modality_names(names: Iterable[object], *, taken: Iterable[str] = ()) -> None:
    """Refuse names under which a modality would be lost, or which a network cannot have.

    Args:
        names: of modalities.
        taken: further names that are something else's here, such as the attributes of an ``nn.ModuleDict``.

    Raises:
        DataError: the first one that cannot be, and why.
    """
    taken = TAKEN.union(taken)
    for name in names:
        if not isinstance(name, str) or not name or "." in name or name in taken:
            raise DataError(
                f"a modality cannot be called {shown(name)}: any text without a dot will do, but for "
                f"{', '.join(map(repr, HEADS))}, {', '.join(map(repr, FIELDS))} and what every network has, such as "
                "'keys', 'type' or 'forward'"
            )
