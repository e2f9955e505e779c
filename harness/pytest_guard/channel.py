"""The parent's end of the way to a guarded process: a socket of its own, never the process's output.

What comes from there is not trusted: it may be the last word of a process whose memory is broken. A message is a pickle
of plain values, and one that names a class or is no pickle at all is refused.
"""

from __future__ import annotations

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
MOST_FDS: Final = 8
REST_S: Final = 30.0  # for the rest of a message that has begun


class ChannelClosed(HarnessError):  # noqa: N818 -- an end, and no error of anybody's
    """The other end is gone, or sent something that is not a message."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Never:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


class Channel:
    """Messages to and from one guarded process. A message is a word, and a table of plain values."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()

    def send(self, word: str, **more: object) -> None:
        """Send a message. Raises ChannelClosed."""
        data = pickle.dumps((word, more))
        try:
            self._ours.settimeout(None)
            self._ours.sendall(HEAD.pack(len(data)) + data)
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, until_s: float | None = None) -> tuple[str, dict[str, Any], list[int]]:
        """Return the next message, with the descriptors that came with it.

        Raises TimeoutError at `until_s` of time.monotonic(), and ChannelClosed.
        """
        fds: list[int] = []
        try:
            self._wait_until(until_s)
            head, fds, _, _ = socket.recv_fds(self._ours, HEAD.size, MOST_FDS)
            self._wait_until(time.monotonic() + REST_S)
            head += self._exactly(HEAD.size - len(head)) if head else b""
            word, more = self._message(HEAD.unpack(head)[0] if head else 0)
        except TimeoutError:
            raise
        except Exception as error:  # -- whatever a broken process may have sent
            for fd in fds:
                os.close(fd)
            raise ChannelClosed(str(error)) from error
        return word, more, fds

    def _message(self, size: int) -> tuple[str, dict[str, Any]]:
        if not 0 < size <= MOST_BYTES:
            raise ChannelClosed(f"a message of {size} bytes")
        word, more = _Plain(io.BytesIO(self._exactly(size))).load()
        return str(word), dict(more)

    def _wait_until(self, until_s: float | None) -> None:
        self._ours.settimeout(None if until_s is None else max(0.001, until_s - time.monotonic()))

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self._ours.recv(min(size - len(data), 1 << 20))
            if not chunk:
                raise ChannelClosed("the end")
            data += chunk
        return bytes(data)

    def hand_over(self) -> None:
        """Forget the other end, which the guarded process has now."""
        self.theirs.close()

    def close(self) -> None:
        """Close both ends."""
        with suppress(OSError):
            self._ours.close()
        self.theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
