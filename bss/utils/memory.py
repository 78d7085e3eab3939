"""How much memory this machine has."""

import os
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says what a container, or a job of a cluster, may have: in version 2 and 1 of its control groups."""


def total() -> int | None:
    """Bytes of memory that this process may have, or less; None where the system does not say (Windows)."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        return None
    for path in _LIMITS:
        try:
            found.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # no control group of this version; "max"
            continue
    return min(size for size in found if size > 0)
