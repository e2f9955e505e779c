"""Says which attempt is under way, for how long, and with how much memory, on a terminal where nobody else writes."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cli.relay import Relay
    from harness.engine.executor import Bounds, Executor
    from harness.engine.loop import Life

FIRST_S, EVERY_S = 2.0, 1.0
MIB = 1 << 20


class UnderWay:
    """An executor that lives what another one lives, and tells a relay every second what that is."""

    def __init__(self, executor: Executor, relay: Relay) -> None:
        self._executor, self._relay = executor, relay
        self._now: tuple[int, float] | None = None
        self._over = Event()

    def live(self, number: int, bounds: Bounds) -> Life:
        """Live attempt `number`."""
        self._now = (number, time.monotonic())
        try:
            return self._executor.live(number, bounds)
        finally:
            self._now = None

    def tell(self) -> None:
        """Tell every second, until the attempt is over."""
        while not self._over.wait(EVERY_S):
            if (now := self._now) and (lived_s := time.monotonic() - now[1]) >= FIRST_S:
                self._relay.state(f"attempt {now[0]}: {lived_s:.0f} s, {memory_below(os.getpid()) / MIB:.0f} MiB")

    def stop(self) -> None:
        """End the telling: the attempt is over."""
        self._over.set()


@contextmanager
def under_way(executor: Executor, relay: Relay, *, is_quiet: bool) -> Iterator[Executor]:
    """Yield an executor that tells what is under way, where stderr is a terminal and somebody wants to know."""
    if is_quiet or sys.stderr is None or not sys.stderr.isatty():
        yield executor
        return
    told = UnderWay(executor, relay)
    thread = Thread(target=told.tell, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.stop()
        thread.join()


def memory_below(pid: int) -> int:
    """Bytes of memory that the processes below a process have in use; those that end meanwhile count nothing."""
    total, left = 0, _children(pid)
    while left:
        child = left.pop()
        total += _resident(child)
        left += _children(child)
    return total


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return []


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
