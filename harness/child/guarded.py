"""A guarded process of `pytest --crash-guard`: run by path, it becomes a pytest session that is told what to run.

Descriptor 5 is the way to the parent. What the test suite sees is an ordinary session of its own command line, without
a terminal: standard output, standard error and the exit status belong to the tests.
"""

import _socket  # socket.socket is Python's, and a test may put something else in the place of its methods
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from os import getpid  # a report may be sent while a test has replaced os.getpid, or pickle.dumps
from pickle import dumps, loads
from select import POLLOUT, poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHANNEL_FD = 5
FIRST_FREE_FD = 100
HEAD = struct.Struct("!I")
LINE_BUFFERED = 1  # _IOLBF
ORPHANED = 70
AT_ONCE = int(socket.MSG_DONTWAIT)
PLAIN = frozenset({type(None), bool, int, float, str, bytes})
MOST_DEEP = 40  # of values in values; what is deeper, or contains itself, becomes text


class Channel:
    """Messages to and from the parent: a word, and a table of plain values."""

    def __init__(self) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, self.out_of_the_way(CHANNEL_FD))
        self._socket.setblocking(True)  # the parent's may be a socket of gevent's
        ends = [_socket.socket(fileno=self.out_of_the_way(one.detach())) for one in _socket.socketpair()]
        self._bell, self.bell = ends
        self._lock, self._process = threading.Lock(), getpid()

    @staticmethod
    def out_of_the_way(fd: int) -> int:
        """Move a descriptor to where tests that count on low numbers don't meet it."""
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
        os.close(fd)
        return moved

    @property
    def is_mine(self) -> bool:
        """Whether this is the process that was started, and not a fork that a test has left behind."""
        return getpid() == self._process

    def become_fork(self) -> None:
        """From here on this process speaks, which the one that was started has forked."""
        self._process = getpid()

    def send(self, word: str, **more: object) -> None:
        """Send a message. A fork that a test has left must not speak for it."""
        self._put(word, more, is_news=True)

    def note(self, word: str, **more: object) -> None:
        """Send what the parent need not wake up for: it finds that when this process dies, or sends other news."""
        self._put(word, more, is_news=False)

    def _put(self, word: str, more: "dict[str, object]", *, is_news: bool) -> None:
        if not self.is_mine:
            return
        data = dumps((word, plain(more)))
        with self._lock:
            self._write(memoryview(HEAD.pack(len(data)) + data))
            if is_news:
                self._ring()

    def _write(self, data: memoryview) -> None:
        """Write it all. Where there is no room, the parent is woken up before this waits."""
        while data:
            with suppress(BlockingIOError):
                data = data[self._socket.send(data, AT_ONCE) :]
            if data:
                self._ring()
                room = poll()
                room.register(self._socket, POLLOUT)
                room.poll()

    def _ring(self) -> None:
        with suppress(OSError):  # enough has been rung, or a test has closed it: then the parent listens all the time
            self._bell.send(b"!", AT_ONCE)

    def send_files(self, files: "dict[str, int]") -> None:
        """Hand descriptors over, each by a name."""
        data = dumps(("files", {"names": list(files), "thread": getpid()}))
        with self._lock:
            self._ring()  # there may be no room
            socket.send_fds(self._socket, [HEAD.pack(len(data))], list(files.values()))  # type: ignore[arg-type]  # it only calls its sendmsg()
            self._write(memoryview(data))
            self._ring()

    def receive(self) -> "tuple[str, dict[str, Any]]":
        """Wait for the next message. Ends the process when the parent is gone, or when this is a lost fork."""
        if not self.is_mine:
            os._exit(ORPHANED)
        head = self._socket.recv(HEAD.size, socket.MSG_WAITALL)
        if len(head) < HEAD.size:
            os._exit(ORPHANED)
        word, more = loads(self._socket.recv(HEAD.unpack(head)[0], socket.MSG_WAITALL))  # noqa: S301 -- our parent's
        return word, more


def plain(value: "Any", depth: int = 0) -> "Any":
    """Reduce a value to plain ones, which another process can read without our classes; anything else becomes text."""
    kind = type(value)
    if kind in PLAIN or (kind in {dict, list, tuple} and is_flat(value)):
        return value
    if depth < MOST_DEEP and isinstance(value, dict):
        return {plain(key, depth + 1): plain(one, depth + 1) for key, one in value.items()}
    if depth < MOST_DEEP and isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)([plain(one, depth + 1) for one in value])
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    return _text(value)


def is_flat(value: "dict[Any, Any] | list[Any] | tuple[Any, ...]") -> bool:
    """Whether a value has plain ones in it, and none of these has others."""
    return PLAIN.issuperset(map(type, value)) and (
        type(value) is not dict or PLAIN.issuperset(map(type, value.values()))
    )


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
