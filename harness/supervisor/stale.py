"""Removes files of boxes that were left behind because supervisor and guard were killed at once.

The process that makes such a file holds a lock on it while the file is wanted; the kernel releases it with the process.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from functools import cache

PREFIX = "crash-box-"
YOUNG_S = 60.0  # its maker may not have locked it yet


def hold(fd: int) -> None:
    """Keep a new file from being taken for stale, until the last copy of this descriptor is closed."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@cache
def sweep(folder: str) -> None:
    """Remove our user's files that nobody holds. Once a process: they are few."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                remove_unless_held(entry.path)


def remove_unless_held(path: str) -> None:
    """Remove a file, if it is stale."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if is_ours and time.time() - found.st_ctime > YOUNG_S:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)  # noqa: PTH108 -- as it was opened
        finally:
            os.close(fd)
