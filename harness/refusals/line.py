"""A process below a guard that answers on a socket of its own, whatever it says elsewhere."""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from harness.exceptions import InfraError
from harness.refusals.surroundings import settled
from harness.supervisor.confinement import contain
from harness.supervisor.guard import Guard, Report
from harness.supervisor.output import Tail
from harness.supervisor.process import decode_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REQUEST: Final = struct.Struct("<qq")
LAST_WORDS_S: Final = 0.2
LOOK_UP_S: Final = 0.5
REPLY: Final = struct.Struct("<iIII4096s")


class Reply(NamedTuple):
    """What the server sends; its twin is in native/trials/sweep_server.c."""

    wait_status: int
    hung: int
    tail_bytes: int
    word: int
    tail: bytes

    @property
    def text(self) -> str:
        """The last of what a trial said on stderr."""
        return self.tail[: min(self.tail_bytes, len(self.tail))].decode("utf-8", "replace")


class Line:
    """One process, from its start to its end. What it prints is read, and the end of it kept."""

    def __init__(
        self, name: str, words: Sequence[str], options: Sequence[str], page: int, environment: Mapping[str, str]
    ) -> None:
        self._name = name
        held = ["--namespace"] if contain("auto").namespace else []
        with ExitStack() as stack:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(self._socket.close)
            with theirs:
                self._guard = Guard(words, [*options, *held], settled(environment), page, channel=theirs.fileno())
            stack.enter_context(self._guard)
            self._tails = {fd: Tail(fd) for fd in (self._guard.stdout, self._guard.stderr)}
            self._open = set(self._tails)  # those that somebody may still write to
            self._close = stack.pop_all().close

    def close(self, farewell_s: float = 0.0) -> None:
        """End it and all that it started; before that it may leave by itself."""
        if farewell_s:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._await(self._guard.control, farewell_s)
        self._close()

    def ask(self, deadline_s: float | None, last_words_s: float = LAST_WORDS_S) -> None:
        """Ask for a trial; one that hangs gets a signal, and `last_words_s`. Raises InfraError for one that is gone."""
        deadline_ms = -1 if deadline_s is None else round(deadline_s * 1000)
        try:
            self._socket.send(REQUEST.pack(deadline_ms, round(last_words_s * 1000)))
        except OSError:
            raise InfraError(f"{self._name}: its server {self.ending()}") from None

    def hear(self, patience_s: float | None, doing: str) -> Reply:
        """Receive a reply. Raises InfraError for a process that is gone or silent."""
        if not self._await(self._socket.fileno(), patience_s):
            raise InfraError(f"{self._name}: {doing} it did not end within {patience_s:g} s without a refusal")
        try:
            data = self._socket.recv(REPLY.size + 1)
        except OSError:
            data = b""
        if len(data) != REPLY.size:
            raise InfraError(f"{self._name}: {doing} it, its process {self.ending()}")
        return Reply(*REPLY.unpack(data))

    def finish(self, patience_s: float) -> str:
        """Wait for the end, and return what it has printed."""
        self._await(self._guard.control, patience_s)
        tail = self._tails[self._guard.stdout]
        tail.drain()
        return tail.text()

    def _await(self, wanted: int, patience_s: float | None) -> bool:
        """Read what it prints until there is something on a descriptor; False when the time is over.

        Wakes up twice a second: a Ctrl-C that comes just before a wait does not interrupt it.
        """
        end_s = None if patience_s is None else time.monotonic() + patience_s
        poller = select.poll()
        for fd in (wanted, *self._open):
            poller.register(fd, select.POLLIN)
        while True:
            left_s = math.inf if end_s is None else max(0.0, end_s - time.monotonic())
            ready = {fd for fd, _ in poller.poll(min(left_s, LOOK_UP_S) * 1000)}
            if wanted in ready or (not ready and left_s <= LOOK_UP_S):
                return bool(ready)
            for fd in ready:
                if self._tails[fd].read() == b"":
                    poller.unregister(fd)
                    self._open.discard(fd)

    def ending(self) -> str:
        """How it ended, and its last words."""
        heard = self._guard.receive()
        how = str(decode_status(heard.wait_status)) if isinstance(heard, Report) else "was told to end"
        for tail in self._tails.values():
            tail.drain()
        said = [self._tails[fd].text().strip().splitlines()[-1:] for fd in (self._guard.stderr, self._guard.stdout)]
        return ": ".join([how, *next(filter(None, said), [])])
