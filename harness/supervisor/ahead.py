"""Forks made ahead of need, by a fork of the calling process that does nothing else.

After a fork each process copies every page that it writes to. A caller at work pays for that after each of its forks,
as much as for the fork itself. The source is forked once, sleeps between two forks, and so pays nearly nothing; and the
next fork is made while the caller is busy.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import signal
import socket
import time
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Final, NoReturn

from harness.exceptions import InfraError
from harness.supervisor import box
from harness.supervisor.forked import (
    Fork,
    Handler,
    Waited,
    flush,
    fork_here,
    fork_watched,
    native,
    put_back,
    set_aside,
    waited,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[Connection], object]

MOST_BYTES: Final = 4096  # of a message
PARTS: Final = 3  # descriptors of a fork: the pipe to it, its page, itself
MAKE: Final = 0  # what is asked for, where it is no pid to be waited for


class Source:
    """Makes forks that each do `work` with their end of a pipe. `prepare` is done once, for all of them.

    Whoever makes it calls end(). Raises InfraError where no process can be had.
    """

    def __init__(self, work: Work, prepare: Callable[[], object]) -> None:
        flush()
        self._made: list[tuple[Connection, Made]] = []
        self._waited: dict[int, Waited] = {}
        self._ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._pid = fork_here()
            except InfraError:
                self._ours.close()
                raise
            if self._pid == 0:
                self._ours.close()
                _live(theirs, work, prepare)

    def take(self) -> tuple[Connection, Made]:
        """Return a fork with the pipe to it, and have the next one made. Raises InfraError where there is none."""
        while not self._made:
            self._hear()
        self._ask(MAKE)
        pipe, made = self._made.pop()
        made.begin()
        return pipe, made

    def wait(self, pid: int) -> Waited:
        """Wait for one of its forks, which is ending. Raises InfraError where that can't be known any more."""
        self._ask(pid)
        while pid not in self._waited:
            self._hear()
        return self._waited.pop(pid)

    def _ask(self, what: int) -> None:
        with suppress(OSError):  # it is dead, as is found out when it is heard
            self._ours.send(pickle.dumps(what))

    def _hear(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._ours, MOST_BYTES, PARTS)
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            raise InfraError("the process that makes forks ahead is gone")
        pid, said = pickle.loads(data)  # noqa: S301 -- a fork of ours has written it
        if fds:
            self._made.append((Connection(fds[0]), Made(self, pid, *fds[1:])))
        elif isinstance(said, str):
            raise InfraError(said)
        else:
            self._waited[pid] = said

    def end(self) -> None:
        """End it, and with it all its forks."""
        self._ours.close()
        for pipe, made in self._made:
            pipe.close()
            made.forget()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class Made(Fork):
    """A fork that a source has made."""

    def __init__(self, source: Source, pid: int, page: int, process: int) -> None:
        self._source, self.pid, self._page, self.fd = source, pid, page, process
        self.begin()

    def begin(self) -> None:
        """Count its time from here: it has something to do."""
        self._began_s = time.monotonic()

    def _wait(self) -> Waited:
        return self._source.wait(self.pid)

    def forget(self) -> None:
        """Leave its end to its source."""
        os.close(self._page)
        os.close(self.fd)


def _live(asked: socket.socket, work: Work, prepare: Callable[[], object]) -> NoReturn:
    """Be the source, until nobody asks any more."""
    children: set[int] = set()
    try:
        faulthandler.disable()  # what the caller has, goes to the caller's file
        work = _as_before(set_aside(), work)
        native()
        prepare()
        gc.freeze()  # and back: a fork that collects looks at what is younger than this, and copies nothing else
        gc.unfreeze()
        children.add(_make(asked, work))
        while data := asked.recv(MOST_BYTES):
            pid = pickle.loads(data)  # noqa: S301 -- the process that forked this one has written it
            if pid == MAKE:
                children.add(_make(asked, work))
            else:
                children.discard(pid)
                asked.send(pickle.dumps((pid, waited(pid))))
    except InfraError as error:
        with suppress(OSError):
            asked.send(pickle.dumps((MAKE, str(error))))
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os._exit(0)


def _as_before(handler: Handler, work: Work) -> Work:
    """Have a fork's work done with the caller's handler of SIGCHLD."""

    def same(pipe: Connection) -> object:
        put_back(handler)
        return work(pipe)

    return same


def _make(asked: socket.socket, work: Work) -> int:
    page = box.create(memory_limited=False)
    ours, theirs = Pipe()
    with ours, theirs:
        try:
            pid, process = fork_watched(page, partial(_begin, asked, ours, theirs, work))
            socket.send_fds(asked, [pickle.dumps((pid, None))], [ours.fileno(), page, process])
            os.close(process)
        finally:
            os.close(page)
    return pid


def _begin(asked: socket.socket, ours: Connection, theirs: Connection, work: Work) -> None:
    asked.close()
    ours.close()
    work(theirs)
