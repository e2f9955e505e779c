"""Room that is kept free on the disk, to be given back when the disk is full, so that the end can still be written."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Ballast:
    """A file without a name in a folder: it takes no other file's place, and is gone with the process.

    Where there is no room for it, or no right to it, it is empty.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._file: IO[bytes] | None = None
        with suppress(OSError):
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 -- it is kept open; O_EXCL, O_NOFOLLOW
            os.posix_fallocate(self._file.fileno(), 0, size)

    def release(self) -> bool:
        """Give the room back. Returns False where that was done before, or no room was kept."""
        if self._file is None:
            return False
        self._file.truncate(0)  # closing would not do while a fork of this process has it open
        self.close()
        return True

    def close(self) -> None:
        """Let it go."""
        if self._file is not None:
            self._file.close()
        self._file = None
