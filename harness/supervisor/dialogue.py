"""A program of the user's that answers line by line: bounded in time and size, and gone when we are done with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE_S = 10.0
LINE_BYTES = 4 << 20
CHUNK_BYTES = 65536


class DialogueError(Exception):
    """The program did not answer; says how it failed."""


class Dialogue:
    """One program in a session of its own. Safe to ask from many threads; one that has failed is not asked again."""

    def __init__(self, command: Sequence[str], patience_s: float = PATIENCE_S) -> None:
        self._command, self._patience_s = list(command), patience_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = ""
        self._rest = b""

    def ask(self, line: bytes) -> bytes:
        """Send a line and return the answer's. Raises DialogueError."""
        with self._lock:
            if self._failed:
                raise DialogueError(f"it has failed before: {self._failed}")
            try:
                return self._exchange(line)
            except DialogueError as error:
                self._failed = str(error)
                self._end()
                raise

    def _exchange(self, line: bytes) -> bytes:
        process, end_s = self._start(), time.monotonic() + self._patience_s
        self._send(process, line.rstrip(b"\n") + b"\n", end_s)
        while b"\n" not in self._rest:
            self._rest += self._read(process, end_s)
            if len(self._rest) > LINE_BYTES:
                raise DialogueError(f"an answer of more than {LINE_BYTES} bytes")
        answer, _, self._rest = self._rest.partition(b"\n")
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- the user named it
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0
                )
            except OSError as error:
                raise DialogueError(f"can't be started: {error.strerror}") from error
            for stream in (self._process.stdin, self._process.stdout):
                if stream:
                    os.set_blocking(stream.fileno(), False)
        return self._process

    def _send(self, process: subprocess.Popen[bytes], data: bytes, end_s: float) -> None:
        """Write all of it; what it says meanwhile is kept, so that neither waits for the other."""
        assert process.stdin is not None  # noqa: S101 -- a pipe, as asked for
        while data:
            ready, writable = self._wait(process, [process.stdin.fileno()], end_s)
            if ready:
                self._rest += self._read(process, end_s)
            if writable:
                try:
                    data = data[os.write(process.stdin.fileno(), data[:CHUNK_BYTES]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    raise DialogueError(f"hung up{self._how(process)}") from None

    def _read(self, process: subprocess.Popen[bytes], end_s: float) -> bytes:
        assert process.stdout is not None  # noqa: S101 -- as above
        self._wait(process, [], end_s)
        try:
            chunk = os.read(process.stdout.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if not chunk:
            raise DialogueError(f"ended without an answer{self._how(process)}")
        return chunk

    def _wait(self, process: subprocess.Popen[bytes], writing: list[int], end_s: float) -> tuple[list[int], list[int]]:
        assert process.stdout is not None  # noqa: S101 -- as above
        left_s = max(0.0, end_s - time.monotonic())
        ready, writable, _ = select.select([process.stdout.fileno()], writing, [], left_s)
        if not ready and not writable:
            raise DialogueError(f"no answer within {self._patience_s:g} s")
        return ready, writable

    @staticmethod
    def _how(process: subprocess.Popen[bytes]) -> str:
        try:
            status = process.wait(1)
        except subprocess.TimeoutExpired:
            return ""
        return f": signal {-status}" if status < 0 else f": exited {status}"

    def _end(self) -> None:
        """Kill it and its group, and reap it."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        process.wait()

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
