"""The suite's end of the conversation: one adapter process, lines out, lines in, each within its time."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from harness.conformance.protocol import LINE_BYTES
from harness.conformance.record import Clock
from harness.exceptions import InfraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPLY_S = 10.0
SLICE_S = 0.1
CHUNK_BYTES = 1 << 16
MOST_LOG_BYTES = 64 << 20
SHOWN = 200
LEAVE_S = 0.2


class GoneError(Exception):
    """The adapter died or fell silent."""


def home(command: Sequence[str]) -> str:
    """The adapter's own folder: that of the first file among its arguments, or of the program itself."""
    files = [word for word in command[1:] if os.path.isfile(word)] or [*command[:1]]  # noqa: PTH113 -- a word may be anything
    return str(Path(files[0]).absolute().parent) if os.sep in files[0] or os.path.isfile(files[0]) else os.getcwd()  # noqa: PTH109, PTH113


def absolute(command: Sequence[str]) -> list[str]:
    """Give words that name files absolute paths, for another folder. Links stay links, as a venv needs."""
    return [os.path.abspath(word) if os.sep in word and os.path.exists(word) else word for word in _named(command)]  # noqa: PTH100, PTH110


def _named(command: Sequence[str]) -> list[str]:
    """Put "./" before words that name files of the present folder, so that they are known for paths."""
    return [command[0], *(os.path.join(".", w) if os.path.isfile(w) else w for w in command[1:])]  # noqa: PTH113, PTH118


class Client:
    """One adapter, asked one thing at a time."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: BinaryIO) -> None:
        self._asked, self._rest, self._noise = 0, b"", 0
        words = absolute(command)
        try:
            self.process = subprocess.Popen(  # noqa: S603 -- the adapter that the user named
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(env),
                cwd=home(words),
                start_new_session=True,
            )
        except OSError as error:
            raise InfraError(f"{words[0]}: can't be started: {error.strerror}") from error
        self._log = log
        self._stdin, self._stdout = self.process.stdin.fileno(), self.process.stdout.fileno()  # type: ignore[union-attr]  # both are pipes

    @property
    def pid(self) -> int:
        """The adapter's process."""
        return self.process.pid

    def ask(self, do: str, limit_s: float = REPLY_S, **members: Any) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises GoneError if none comes in time, InfraError after 1 MiB of noise or 64 MiB of log.
        """
        self._asked += 1
        request = json.dumps({**members, "id": self._asked, "do": do}, separators=(",", ":")) + "\n"
        self._send(do, request.encode())
        clock = Clock.begun(time.monotonic())
        while True:
            reply = self._take()
            if self._noise + len(self._rest) > LINE_BYTES:
                raise InfraError(f"{do}: more than {LINE_BYTES} bytes on its stdout that are no reply")
            if os.fstat(self._log.fileno()).st_size > MOST_LOG_BYTES:
                raise InfraError(f"{do}: more than {MOST_LOG_BYTES} bytes on its stderr")
            if reply is not None:
                return reply
            if clock.look(time.monotonic()) > limit_s:
                raise GoneError(f"{do}: no reply in {limit_s:g} s")
            self._hear(do)

    def _send(self, do: str, data: bytes) -> None:
        """Write a request without waiting for ever: an adapter that does not read lets the pipe fill up."""
        clock = Clock.begun(time.monotonic())
        os.set_blocking(self._stdin, False)
        while data:
            if select.select([], [self._stdin], [], SLICE_S)[1]:
                try:
                    data = data[os.write(self._stdin, data) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise GoneError(f"{do}: its stdin is closed{self._end()}") from None
            elif clock.look(time.monotonic()) > REPLY_S:
                raise GoneError(f"{do}: it does not read its stdin")

    def _take(self) -> dict[str, Any] | None:
        """Return the awaited reply, if it is there; lines before it are noise, and are logged."""
        while b"\n" in self._rest:
            line, self._rest = self._rest.split(b"\n", 1)
            reply = _decoded(line)
            if reply is not None and reply.get("id") == self._asked and not isinstance(reply["id"], bool):
                return reply
            self._noise += len(line) + 1
            self._log.write(b"noise on stdout: " + line[:SHOWN] + b"\n")
            self._log.flush()
        return None

    def _hear(self, do: str) -> None:
        if not select.select([self._stdout], [], [], SLICE_S)[0]:
            return
        data = os.read(self._stdout, CHUNK_BYTES)
        if not data:
            raise GoneError(f"{do}: end of its stdout{self._end()}")
        self._rest += data

    def _end(self) -> str:
        try:
            code = self.process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            return ""
        return f", exit {code}" if code >= 0 else f", signal {-code}"

    def close(self) -> None:
        """Close both pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        reply = _writable(json.loads(line))
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def _writable(value: Any) -> Any:
    """The same in UTF-8: JSON can escape half a character, as where a text was cut in the middle."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_writable(one) for one in value]
    if isinstance(value, dict):
        return {_writable(name): _writable(one) for name, one in value.items()}
    return value
