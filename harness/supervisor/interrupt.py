"""Ctrl-C and SIGTERM come between two steps, never between two halves of one; and what they end is cleaned up."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM came; whoever cleans up after Ctrl-C does after this."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is done; then whoever handles them is told.

    Outside the main thread, where none arrives, and where nothing in Python handles them, the block just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {one: found for one in ENDING if callable(found := signal.getsignal(one))}
    came: list[tuple[int, FrameType | None]] = []
    for one in handlers:
        signal.signal(one, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
    for number, frame in came[:1]:
        handlers[signal.Signals(number)](number, frame)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, by an exception; after the block the process ends by it after all.

    Only in the main thread, and where nothing else handles it or ignores it.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    came = False

    def end(*_: object) -> None:
        nonlocal came
        came = True
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if came:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                with suppress(OSError, ValueError):
                    stream.flush()
            signal.raise_signal(signal.SIGTERM)
