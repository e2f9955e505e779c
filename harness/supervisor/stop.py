"""A switch that ends victims early."""

from __future__ import annotations

import os
import select
from typing import Self


class Stop:
    """A switch that ends every victim supervised with it. Safe to set from any thread or a signal handler."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)

    def set(self) -> None:
        """Turn it on, for good."""
        os.eventfd_write(self._fd, 1)

    def is_set(self) -> bool:
        """Whether it was turned on."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(0))

    def fileno(self) -> int:
        """Return a descriptor that becomes readable once the switch is set."""
        return self._fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
