"""Held by the one process that writes a history; the kernel gives it back when that process ends, however it ends.

It lies on the write-ahead log, which SQLite keeps for as long as the file is open: on the file itself, closing our
descriptor would take SQLite's own locks away. It belongs to our descriptor (an "open file description" lock), so that
two threads of one process exclude each other too.
"""

from __future__ import annotations

import fcntl
import os
import struct
import weakref

FORMAT = "hhqqi0q"  # struct flock of 64-bit Linux: type, whence, start, length, process
WHOLE = (0, 0, 0, 0)


class Lock:
    """The right to write a history. A process that was forked off has no part in it."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        HELD.add(self)

    def take(self) -> bool:
        """Take the lock. Returns False where another process or thread has it."""
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, struct.pack(FORMAT, fcntl.F_WRLCK, *WHOLE))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give it back, or give up asking for it."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


HELD: weakref.WeakSet[Lock] = weakref.WeakSet()


def is_held(path: str) -> bool:
    """Whether a process writes the history of this write-ahead log. Asks without taking."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # no log: nobody has the history open
        return False
    try:
        asked = struct.pack(FORMAT, fcntl.F_WRLCK, *WHOLE)
        kind: int = struct.unpack(FORMAT, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0]
    finally:
        os.close(fd)
    return kind != fcntl.F_UNLCK


def _leave_to_the_parent() -> None:
    """Close the descriptor in a fork, which shares it: otherwise the lock would live as long as the fork."""
    for lock in list(HELD):
        lock.close()


os.register_at_fork(after_in_child=_leave_to_the_parent)
