"""A command's output on its way through, beside lines of our own."""

from __future__ import annotations

import sys

from harness.cli.output import write


class Relay:
    """Passes a command's output on; stdout is ours alone under --json. A stream that is closed gets nothing."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._line_is_open = False

    def __call__(self, number: int, chunk: bytes) -> None:
        """Write a chunk of stream 1 or 2 at once."""
        stream = sys.stdout if number == 1 and not self._as_json else sys.stderr
        if stream is None:
            return
        self._line_is_open = not chunk.endswith(b"\n")
        stream.buffer.write(chunk)
        stream.buffer.flush()

    def say(self, line: str) -> None:
        """Write a line of ours to stderr, on a line of its own."""
        write(f"\n{line}" if self._line_is_open else line, err=True)
        self._line_is_open = False
