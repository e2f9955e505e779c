"""The clock of real runs."""

from __future__ import annotations

import time
from typing import Final

LOOK_UP_S: Final = 0.5


class WallClock:
    """Real milliseconds since the epoch; waits only when it is told to."""

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits

    @property
    def now_ms(self) -> float:
        """Milliseconds since the epoch."""
        return float(time.time_ns() // 1_000_000)

    def wait_ms(self, delay_ms: float) -> None:
        """Sleep until the next attempt is due.

        Wakes up twice a second: a Ctrl-C that comes just before a sleep does not interrupt it.
        """
        due_s = time.monotonic() + (delay_ms / 1000 if self._waits else 0.0)
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, LOOK_UP_S))
