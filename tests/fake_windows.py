"""Files, names and locks of Windows, on Linux: an open file is neither replaced nor deleted, locks are ``msvcrt``'s."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

from bss.utils import filesystem


def impossible_names(folder):
    """What is below a folder and cannot be there on Windows: reserved names, and names that differ in case alone."""
    from bss.data.datasets.listing import is_reserved  # it needs more than the core

    found = []
    for parent, folders, files in os.walk(folder):
        seen = set()
        for name in (*folders, *files):
            if is_reserved(name) or name.lower() in seen:
                found.append(os.path.join(parent, name))
            seen.add(name.lower())
    return found


def install(monkeypatch):
    """Have locks by ``msvcrt.locking``, and none by ``flock``; a folder cannot be opened."""
    import fcntl

    real_open, real_lock = os.open, fcntl.flock

    def opened(path, flags, *rest, **more):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, flags, *rest, **more)

    def locking(descriptor, mode, count):
        assert (mode, count) == (2, 1)
        try:
            real_lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None

    monkeypatch.setattr(filesystem, "WINDOWS", True)
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))


class Held:
    """Files that another program has open, and the pauses that were made for their sake.

    Args:
        monkeypatch: pytest's; it also takes the time out of the pauses.
        names: of the files.
        looks: after so many refusals the other program closes them.
    """

    def __init__(self, monkeypatch, *names, looks=10**9):
        self.names, self.left, self.pauses = set(names), looks, []
        monkeypatch.setattr(filesystem, "WINDOWS", True)
        monkeypatch.setattr(filesystem, "time", SimpleNamespace(sleep=self.pauses.append))
        for name in ("replace", "unlink", "rename", "remove"):
            monkeypatch.setattr(os, name, self._guarded(getattr(os, name), 2 if name.startswith("re") else 1))

    def _guarded(self, real, count):
        def call(*paths, **more):
            for path in map(Path, paths[:count]):
                if path.name in self.names and path.exists() and self.left > 0:
                    self.left -= 1
                    raise PermissionError(13, "Access is denied", str(path))
            return real(*paths, **more)

        return call
