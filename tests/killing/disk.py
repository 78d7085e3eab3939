"""Disks that become full, in a process that trains on one: from a write on, or for files of some size."""

import errno
import os
import resource
import signal


def fill_after(flushes):
    """Let the disk be full once so many files were put on it: their content is there, and is not known to be."""
    flush, left = os.fsync, [flushes]

    def refuse(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    os.fsync = refuse


def limit_files(size):
    """Let no file grow beyond so many bytes: the half of one is written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def leave_alone(number):
    """A disk with room."""


DISKS = {"full after so many files": fill_after, "no file beyond so many bytes": limit_files, None: leave_alone}
