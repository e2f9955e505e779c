"""The clock of real runs."""

from __future__ import annotations

import time
from typing import Final

LONGEST_SLEEP_S: Final = 86400.0


class WallClock:
    """Real milliseconds since the epoch; waits only when it is told to."""

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits

    @property
    def now_ms(self) -> float:
        """Milliseconds since the epoch."""
        return float(time.time_ns() // 1_000_000)

    def wait_ms(self, delay_ms: float) -> None:
        """Sleep until the next attempt is due."""
        left_s = delay_ms / 1000 if self._waits else 0.0
        while left_s > 0:
            time.sleep(min(left_s, LONGEST_SLEEP_S))
            left_s -= LONGEST_SLEEP_S
