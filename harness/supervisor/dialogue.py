"""A program of the user's that answers line by line: bounded in time and size, below a guard, gone when we are.

It works in the world that we work in: no limits, no namespace, our environment. What it writes to stderr is passed on.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from harness.supervisor.guard import FIRST_FREE_FD, STEPS, Guard, Report, check
from harness.supervisor.output import Tail
from harness.supervisor.process import decode_status

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE_S = 10.0
HANGS = 3
LINE_BYTES = 4 << 20
CHUNK_BYTES = 65536
LAST_WORDS = 200
REPORT_MS = 2_000


class DialogueError(Exception):
    """The program did not answer; says how it failed."""


class HangError(DialogueError):
    """The program lives, and does not answer."""


class Dialogue:
    """One program below a guard. Safe to ask from many threads.

    One that has failed is started again for the next question; after three hangs it is given up.
    """

    def __init__(self, command: Sequence[str], patience_s: float = PATIENCE_S) -> None:
        self._command, self._patience_s = list(command), patience_s
        self._lock = threading.Lock()
        self._life: _Life | None = None
        self._hangs = 0

    def ask(self, line: bytes) -> bytes:
        """Send a line and return the answer's. Raises DialogueError, InfraError where no process can be had."""
        with self._lock:
            if self._hangs >= HANGS:
                raise DialogueError(f"it has hung {HANGS} times, and is not asked any more")
            self._life = life = self._life or _Life(self._command)
            try:
                return life.exchange(line.rstrip(b"\n") + b"\n", self._patience_s)
            except DialogueError as error:
                self._hangs += isinstance(error, HangError)
                self._end()
                raise

    def _end(self) -> None:
        life, self._life = self._life, None
        if life:
            life.close()

    def cancel(self) -> None:
        """From another thread: end it now; whoever waits for an answer gets DialogueError."""
        if life := self._life:
            life.cancel()

    def close(self) -> None:
        """End it and all that it has started."""
        with self._lock:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Life:
    """The program from its start to its end."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        with ExitStack() as stack:
            theirs, ours = os.pipe2(os.O_CLOEXEC)
            try:
                self._stdin = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
                stack.callback(os.close, self._stdin)
                self._guard = stack.enter_context(Guard(command, [], os.environ, stdin=theirs))
            finally:
                os.close(theirs)
                os.close(ours)
            for fd in (self._stdin, self._guard.stdout):
                os.set_blocking(fd, False)
            self._errors = Tail(self._guard.stderr, _pass_on)
            self._rest = b""
            self._poller = select.poll()
            for fd in (self._guard.stdout, self._guard.stderr):
                self._poller.register(fd, select.POLLIN)
            self.cancel = self._guard.cancel
            self.close = stack.pop_all().close

    def exchange(self, question: bytes, patience_s: float) -> bytes:
        """Write all of it, and read a line; what it says meanwhile is kept, so that neither waits for the other."""
        end_s = time.monotonic() + patience_s
        self._expect_silence()
        self._poller.register(self._stdin, select.POLLOUT)
        while question or b"\n" not in self._rest:
            left_s = end_s - time.monotonic()
            ready = {fd for fd, _ in self._poller.poll(max(0.0, left_s) * 1000)}
            if not ready or left_s < 0:  # one that never falls silent, and never ends a line, hangs as well
                raise HangError(f"no answer within {patience_s:g} s")
            if self._guard.stderr in ready and self._errors.read() == b"":
                self._poller.unregister(self._guard.stderr)
            if self._guard.stdout in ready:
                self._hear()
            if self._stdin in ready:
                question = self._tell(question)
        answer, _, self._rest = self._rest.partition(b"\n")
        self._expect_silence()
        return answer

    def _expect_silence(self) -> None:
        """Raise DialogueError for a second line: it would be taken for the answer to the next question."""
        self._poll_once()
        if self._rest:
            raise DialogueError(f"says what nobody asked for: {self._rest[:LAST_WORDS].decode(errors='replace')!r}")

    def _poll_once(self) -> None:
        with suppress(BlockingIOError):
            self._rest += os.read(self._guard.stdout, CHUNK_BYTES)

    def _tell(self, question: bytes) -> bytes:
        """Write what the pipe takes, and return what is left: nothing, where it has ended."""
        try:
            left = question[os.write(self._stdin, question[:CHUNK_BYTES]) :]
        except BlockingIOError:
            return question
        except BrokenPipeError:
            left = b""
        if not left:
            self._poller.unregister(self._stdin)
        return left

    def _hear(self) -> None:
        chunk = os.read(self._guard.stdout, CHUNK_BYTES)
        if not chunk:
            raise DialogueError(f"ended without an answer{self._how()}")
        self._rest += chunk
        if len(self._rest) > LINE_BYTES:
            raise DialogueError(f"an answer of more than {LINE_BYTES} bytes")

    def _how(self) -> str:
        """How it ended, if it did, and its last words. Raises DialogueError where it was never started."""
        self._errors.drain()
        waiting = select.poll()
        waiting.register(self._guard.control, select.POLLIN)
        report = self._guard.receive() if waiting.poll(REPORT_MS) else None
        if not isinstance(report, Report):
            return ""
        if report.failed_step == STEPS.index("execute the command"):
            raise DialogueError(f"can't be started: {os.strerror(report.failed_errno)}")
        check(report, self._command)
        last = self._errors.text().strip().splitlines()[-1:]
        return ": ".join(["", str(decode_status(report.wait_status)), *(line[:LAST_WORDS] for line in last)])


def _pass_on(chunk: bytes) -> None:
    with suppress(OSError):
        os.write(2, chunk)
