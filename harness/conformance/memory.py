"""The suite's own memory cgroup: where a payload is killed for its memory if the engine gives it no machine."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.supervisor import Cgroup

FILES = {
    1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    2: ("memory.max", "memory.swap.max", "memory.events"),
}
TRIES, REST_S = 100, 0.02


class Group:
    """One cgroup with a hard limit, swap included; its counter outlives the victims."""

    def __init__(self, place: Cgroup, name: str, limit_bytes: int) -> None:
        """Make the cgroup. Raises OSError where that is not allowed."""
        self.path = Path(place.parent) / name
        limit, swap, self._counter = FILES[place.version]
        self.path.mkdir()
        try:
            (self.path / limit).write_text(str(limit_bytes))
        except OSError:
            self.path.rmdir()
            raise
        with suppress(OSError):  # a kernel without swap accounting
            (self.path / swap).write_text(str(limit_bytes if place.version == 1 else 0))

    def kills(self) -> int:
        """Processes that the kernel killed in it for want of memory."""
        rows = (line.split() for line in (self.path / self._counter).read_text().splitlines())
        return next((int(row[1]) for row in rows if row[0] == "oom_kill"), 0)

    def remove(self) -> None:
        """Remove the cgroup, once the kernel lets go of it: a moment after its last process was reaped."""
        for _ in range(TRIES):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(REST_S)
            else:
                return
