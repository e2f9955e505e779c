"""A command's output on its way through, beside lines of our own."""

from __future__ import annotations

import sys
from threading import Lock

from harness.cli.output import write

ERASE = b"\r\x1b[K"


class Relay:
    """Passes a command's output on; stdout is ours alone under --json. A stream that is closed gets nothing.

    Where stderr is a terminal, a line of state may stand there while the command is silent; it is erased before
    anything else is written.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._line_is_open = False
        self._has_state = False
        self._lock = Lock()

    def __call__(self, number: int, chunk: bytes) -> None:
        """Write a chunk of stream 1 or 2 at once."""
        stream = sys.stdout if number == 1 and not self._as_json else sys.stderr
        if stream is None:
            return
        with self._lock:
            self._erase()
            self._line_is_open = not chunk.endswith(b"\n")
            stream.buffer.write(chunk)
            stream.buffer.flush()

    def say(self, line: str) -> None:
        """Write a line of ours to stderr, on a line of its own."""
        with self._lock:
            self._erase()
            write(f"\n{line}" if self._line_is_open else line, err=True)
            self._line_is_open = False

    def state(self, text: str) -> None:
        """Put `text`, of one line, in the place of the line of state; nothing where a line of the command's is open."""
        with self._lock:
            if not self._line_is_open:
                self._erase()
                sys.stderr.buffer.write(text.encode())
                sys.stderr.buffer.flush()
                self._has_state = True

    def _erase(self) -> None:
        if self._has_state:
            sys.stderr.buffer.write(ERASE)
            sys.stderr.buffer.flush()
            self._has_state = False
