"""A guarded process of `pytest --crash-guard`: run by path, it becomes a pytest session that is told what to run.

Descriptor 5 is the way to the parent. What the test suite sees is an ordinary session of its own command line, without
a terminal: standard output, standard error and the exit status belong to the tests.
"""

import ctypes
import fcntl
import io
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

CHANNEL_FD = 5
FIRST_FREE_FD = 100  # out of the way of tests that count on low numbers
HEAD = struct.Struct("!I")
LINE_BUFFERED = 1  # _IOLBF
ORPHANED = 70


class Channel:
    """Messages to and from the parent: a word, and a table of plain values."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=out_of_the_way(CHANNEL_FD))
        self.bell = out_of_the_way(os.eventfd(0))
        self._lock, self._process = threading.Lock(), os.getpid()

    @property
    def is_mine(self) -> bool:
        """Whether this is the process that was started, and not a fork that a test has left behind."""
        return os.getpid() == self._process

    def become_fork(self) -> None:
        """From here on this process speaks, which the one that was started has forked."""
        self._process = os.getpid()

    def send(self, word: str, **more: object) -> None:
        """Send a message. A fork that a test has left must not speak for it."""
        self._put(word, more, is_news=True)

    def note(self, word: str, **more: object) -> None:
        """Send what the parent need not wake up for: it finds that when this process dies, or sends other news."""
        self._put(word, more, is_news=False)

    def _put(self, word: str, more: "dict[str, object]", *, is_news: bool) -> None:
        if not self.is_mine:
            return
        data = packed(word, more)
        with self._lock:
            self._write(memoryview(HEAD.pack(len(data)) + data))
            if is_news:
                self._ring()

    def _write(self, data: memoryview) -> None:
        """Write it all. Where there is no room, the parent is woken up before this waits."""
        while data:
            with suppress(BlockingIOError):
                data = data[self._socket.send(data, socket.MSG_DONTWAIT) :]
            if data:
                self._ring()
                room = select.poll()
                room.register(self._socket, select.POLLOUT)
                room.poll()

    def _ring(self) -> None:
        os.eventfd_write(self.bell, 1)

    def send_files(self, files: "dict[str, int]") -> None:
        """Hand descriptors over, each by a name."""
        data = pickle.dumps(("files", {"names": list(files), "thread": os.getpid()}))
        with self._lock:
            self._ring()  # there may be no room
            socket.send_fds(self._socket, [HEAD.pack(len(data))], list(files.values()))
            self._write(memoryview(data))
            self._ring()

    def receive(self) -> "tuple[str, dict[str, Any]]":
        """Wait for the next message. Ends the process when the parent is gone, or when this is a lost fork."""
        if not self.is_mine:
            os._exit(ORPHANED)
        head = self._socket.recv(HEAD.size, socket.MSG_WAITALL)
        if len(head) < HEAD.size:
            os._exit(ORPHANED)
        word, more = pickle.loads(self._socket.recv(HEAD.unpack(head)[0], socket.MSG_WAITALL))  # noqa: S301 -- our parent's
        return word, more


def out_of_the_way(fd: int) -> int:
    """Move a descriptor to a high number."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
    os.close(fd)
    return moved


class NotPlainError(Exception):
    """A value is of a class of its own."""


class Pickler(pickle.Pickler):
    """Writes plain values, at the speed of C."""

    def reducer_override(self, value: object) -> "NoReturn":
        """Refuse what is none; pickle asks for nothing else."""
        raise NotPlainError(type(value))


def packed(word: str, more: "dict[str, object]") -> bytes:
    """Pack a message, in plain values only."""
    file = io.BytesIO()
    try:
        Pickler(file, 5).dump((word, more))
    except NotPlainError:
        return pickle.dumps((word, plain(more)))
    return file.getvalue()


def plain(value: "Any") -> "Any":
    """Reduce a value to plain ones, which another process can read without our classes; anything else becomes text."""
    kind = type(value)
    if value is None or kind in {bool, int, float, str, bytes}:
        return value
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(plain(one) for one in value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    return _text(value)


def _text(value: object) -> str:
    try:
        return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    except Exception as error:  # noqa: BLE001 -- it is the user's own object, and may do anything
        return f"a {type(value).__name__} that can't be shown: {type(error).__name__}"


def buffer_by_lines() -> None:
    """What C has printed before a crash must not die in its buffer."""
    library = ctypes.CDLL(None)
    library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, LINE_BUFFERED, 1024)


def main() -> int:
    """Become the session, and run it."""
    channel = Channel()
    buffer_by_lines()
    _, orders = channel.receive()
    os.chdir(orders["folder"])
    sys.path[:], sys.argv[:] = orders["path"], orders["argv"]
    signal.signal(signal.SIGINT, signal.default_int_handler)

    from harness.child.guarded_session import run  # noqa: PLC0415 -- the path to it is known only now

    status = run(channel, orders)
    channel.send("finish", status=status)
    return status


if __name__ == "__main__":
    sys.exit(main())
