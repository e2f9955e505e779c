"""A victim's output: bounded in memory, the end kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TAIL_BYTES = 64 * 1024
DRAIN_READS = 32  # a pipe holds 64 KiB by default; whoever still writes after the death is not followed


class Tail:
    """Reads one pipe without blocking and keeps its last bytes; `relay` sees every byte."""

    def __init__(self, fd: int, relay: Callable[[bytes], object] | None = None) -> None:
        self.fd = fd
        self._relay = relay
        self._kept = bytearray()
        os.set_blocking(fd, False)

    def read(self) -> bytes | None:
        """Take what is there: b"" at end of file, None when there is nothing now."""
        try:
            chunk = os.read(self.fd, TAIL_BYTES)
        except BlockingIOError:
            return None
        if self._relay and chunk:
            self._relay(chunk)
        self._kept += chunk
        del self._kept[:-TAIL_BYTES]
        return chunk

    def drain(self) -> None:
        """Take what the dead left in the pipe."""
        for _ in range(DRAIN_READS):
            if not self.read():
                return

    def text(self) -> str:
        """Decode with replacement."""
        return self._kept.decode("utf-8", "replace")
