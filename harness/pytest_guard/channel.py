"""The parent's end of the way to a guarded process: a socket of its own, never the process's output.

What comes from there is not trusted: it may be the last word of a process whose memory is broken. A message is a pickle
of plain values, and one that names a class or is no pickle at all is refused.
"""

from __future__ import annotations

import _socket  # socket.socket may be gevent's
import io
import os
import pickle
import socket
import struct
import time
from contextlib import suppress
from typing import Any, Final, Never, Self

from harness.exceptions import HarnessError

HEAD: Final = struct.Struct("!I")
MOST_BYTES: Final = 1 << 28
INT_BYTES: Final = 4
FDS_BYTES: Final = socket.CMSG_SPACE(8 * INT_BYTES)
CLOSED_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
AT_ONCE: Final = CLOSED_ON_EXEC | int(socket.MSG_DONTWAIT)
SPACE_BYTES: Final = 1 << 18
MOST_RINGS: Final = 4096
REST_S: Final = 30.0  # for the rest of a message that has begun


class ChannelClosed(HarnessError):  # noqa: N818 -- an end, and no error of anybody's
    """The other end is gone, or sent something that is not a message."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Never:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


class Channel:
    """Messages to and from one guarded process. A message is a word, and a table of plain values."""

    def __init__(self) -> None:
        self._ours, self.theirs = _socket.socketpair()
        self._heard, self._at, self._fds = bytearray(), 0, list[int]()
        self._space = bytearray(SPACE_BYTES)
        self._bell: _socket.socket | None = None

    def wait_for(self, bell: int) -> None:
        """Sleep until this socket rings, from here on: what comes before that is only heard then."""
        self._bell = _socket.socket(fileno=os.dup(bell))

    def send(self, word: str, **more: object) -> None:
        """Send a message. Raises ChannelClosed."""
        data = pickle.dumps((word, more))
        try:
            self._ours.sendall(HEAD.pack(len(data)) + data)
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, until_s: float | None = None) -> tuple[str, dict[str, Any], list[int]]:
        """Return the next message, with the descriptors that came with it.

        Raises TimeoutError at `until_s` of time.monotonic(), and ChannelClosed.
        """
        try:
            while (found := self._next()) is None:
                self._hear(until_s)
            word, more = str(found[0]), dict(found[1])
            fds = [self._fds.pop(0) for _ in more["names"]] if word == "files" else []
        except TimeoutError:
            raise
        except Exception as error:  # -- whatever a broken process may have sent
            raise ChannelClosed(str(error)) from error
        return word, more, fds

    def _next(self) -> Any:
        """Return the next message of those that are here."""
        start = self._at + HEAD.size
        if len(self._heard) < start:
            return None
        (size,) = HEAD.unpack_from(self._heard, self._at)
        if not 0 < size <= MOST_BYTES:
            raise ChannelClosed(f"a message of {size} bytes")
        if len(self._heard) < start + size:
            return None
        self._at = start + size
        data = self._heard[start : self._at]
        if self._at == len(self._heard):
            self._heard, self._at = bytearray(), 0
        return _Plain(io.BytesIO(data)).load()

    def _hear(self, until_s: float | None) -> None:
        """Take what has come, or wait for it."""
        if self._heard:
            self._take_within(REST_S)
        elif self._bell is None:
            self._take_within(None if until_s is None else until_s - time.monotonic())
        elif not self._take() and not self._is_rung(self._bell, until_s) and not self._take():
            raise TimeoutError

    def _is_rung(self, bell: _socket.socket, until_s: float | None) -> bool:
        """Wait until it rings. Where that is not to be expected any more, listen all the time. False: time is over."""
        try:
            bell.settimeout(None if until_s is None else max(0.001, until_s - time.monotonic()))
            if bell.recv(MOST_RINGS):
                return True
        except TimeoutError:
            return False
        except OSError:
            pass  # it is no socket
        bell.close()
        self._bell = None
        return True

    def _take_within(self, seconds: float | None) -> None:
        """Wait for more. Raises TimeoutError."""
        try:
            self._ours.settimeout(None if seconds is None else max(0.001, seconds))
            self._take(CLOSED_ON_EXEC)
        finally:
            self._ours.settimeout(None)

    def _take(self, flags: int = AT_ONCE) -> bool:
        """Take what is there, if there is something. Raises ChannelClosed at the end of all."""
        try:
            size, parts, _, _ = self._ours.recvmsg_into([self._space], FDS_BYTES, flags)
        except BlockingIOError:
            return False
        for level, kind, fds in parts:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds += memoryview(fds[: len(fds) // INT_BYTES * INT_BYTES]).cast("i")
        if not size:
            raise ChannelClosed("the end")
        with memoryview(self._space) as space:
            self._heard += space[:size]
        return True

    def hand_over(self) -> None:
        """Forget the other end, which the guarded process has now."""
        self.theirs.close()

    def close(self) -> None:
        """Close both ends."""
        with suppress(OSError):
            self._ours.close()
        self.theirs.close()
        if self._bell is not None:
            self._bell.close()
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
