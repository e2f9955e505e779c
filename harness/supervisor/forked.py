"""A fork of the calling process, watched like a victim: its crash record is made by a page of its own."""

from __future__ import annotations

import faulthandler
import functools
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any, Final

from harness.child import fault
from harness.evidence import EndedBy, Evidence, Exited, Memory, Signaled
from harness.exceptions import InfraError
from harness.supervisor import box
from harness.supervisor.launch import extension_path
from harness.supervisor.process import decode_status

FAILED: Final = 71  # the exit status of a fork whose work raised, or that could not be made a victim
A_WHILE_S: Final = 3600.0  # poll() takes no more than 24 days at once

LOST: Final = (
    "the status of a fork is lost: a thread of this program waits for children that it has not started, or SIGCHLD is "
    "ignored; harness.isolated(…, fresh=True) does not mind"
)
Handler = Callable[[int, FrameType | None], Any] | int | None  # of SIGCHLD, as signal.signal() takes and returns it

Waited = tuple[Exited | Signaled, int, float]  # how it ended, its peak memory in bytes, its CPU seconds


class Fork:
    """One fork: `work` is what it does, and then it ends with status 0. Whoever makes it calls end().

    What the caller has registered for its own end does not run in the fork. `stacks` is a descriptor where the Python
    stacks of a fork that crashes go. Raises InfraError where no process can be had.
    """

    _aside: Handler = None

    def __init__(self, work: Callable[[], object], stacks: int | None = None) -> None:
        flush()
        self._began_s = time.monotonic()
        with ExitStack() as undo:
            self._page = box.create(memory_limited=False)
            undo.callback(os.close, self._page)
            self._aside = set_aside()
            undo.callback(put_back, self._aside)
            self.pid, self.fd = fork_watched(self._page, functools.partial(self._begin, work), stacks)
            undo.pop_all()

    def _begin(self, work: Callable[[], object]) -> None:
        put_back(self._aside)
        work()

    def end(self, deadline_s: float | None = None) -> Evidence:
        """Wait for its end, or make one at the deadline. With an exception, Ctrl-C for one, it is gone as well."""
        by = EndedBy.SELF
        try:
            if not ready(deadline_s, self.fd):
                by = EndedBy.DEADLINE
        finally:
            if by is not EndedBy.SELF or sys.exception() is not None:
                signal.pidfd_send_signal(self.fd, signal.SIGKILL)
            evidence = self._reaped(by, deadline_s)
        return evidence

    def kill(self, by: EndedBy = EndedBy.CANCEL, deadline_s: float | None = None) -> Evidence:
        """End it now, since `by`: the deadline that it has missed, or that nobody needs it any more."""
        signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        return self._reaped(by, deadline_s)

    def _wait(self) -> Waited:
        return waited(self.pid)

    def _reaped(self, by: EndedBy, deadline_s: float | None) -> Evidence:
        """Raises InfraError where it could not be made a victim; by its exit status alone the work's own may end it."""
        try:
            end, peak_rss_bytes, cpu_s = self._wait()
            contents = box.read(self._page)
        finally:
            put_back(self._aside, look=True)
            os.close(self._page)
            os.close(self.fd)
        if not contents.armed and end == Exited(FAILED):
            raise InfraError("the fork could not be made a victim")
        return Evidence(
            termination=end,
            ended_by=by,
            faults=contents.faults,
            memory=Memory(peak_rss_bytes=peak_rss_bytes),
            deadline_s=deadline_s,
            duration_s=time.monotonic() - self._began_s,
            cpu_s=cpu_s,
            containment="fork",
        )


def set_aside() -> Handler:
    """Set the program's handler of SIGCHLD aside, and return it: it may wait for a fork of ours, or ignore its status.

    None: there is none, or only another thread than this may set it.
    """
    there = signal.getsignal(signal.SIGCHLD)
    if there in {signal.SIG_DFL, None} or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def put_back(handler: Handler, *, look: bool = False) -> None:
    """Put it back; `look` has it look for children that have ended meanwhile."""
    if handler is not None:
        signal.signal(signal.SIGCHLD, handler)
        if look and callable(handler):
            signal.raise_signal(signal.SIGCHLD)


def waited(pid: int) -> Waited:
    """Wait for a child of this process. Raises InfraError where somebody else in this process has done so."""
    try:
        _, status, usage = os.wait4(pid, 0)
    except ChildProcessError as error:
        raise InfraError(LOST) from error
    return decode_status(status), usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def fork_here() -> int:
    """Fork. Raises InfraError where no process can be had."""
    try:
        return os.fork()
    except OSError as error:
        raise InfraError(f"no process can be forked: {error.strerror}") from error


def fork_watched(page: int, work: Callable[[], object], stacks: int | None = None) -> tuple[int, int]:
    """Fork, and return the fork's pid and a pidfd. Raises InfraError where one of them can't be had."""
    pid = fork_here()
    if pid == 0:
        _live(page, work, stacks)
    try:
        return pid, os.pidfd_open(pid)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise InfraError(f"a fork can't be watched: {error.strerror}") from error


def ready(within_s: float | None, *fds: int) -> bool:
    """Wait until one of them can be read, or has ended. None: for as long as that takes."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    end_s = math.inf if within_s is None else time.monotonic() + within_s
    while (left_s := end_s - time.monotonic()) > 0:
        if poller.poll(min(left_s, A_WHILE_S) * 1000):
            return True
    return bool(poller.poll(0))


@functools.cache
def native() -> Any:
    """Return the extension, for a process that is a fork of ours: in the caller's own it has no business."""
    return fault.load(extension_path())


def _live(page: int, work: Callable[[], object], stacks: int | None) -> None:
    """Be the fork: arm the record in front of all, work, and end."""
    status = FAILED
    try:
        faulthandler.disable()  # what the caller has, goes to the caller's file
        if stacks is not None:
            faulthandler.enable(stacks)
        if native().lib.arm_in_front(page) == 0:
            work()
            status = 0
            flush()
    finally:
        os._exit(status)


def flush() -> None:
    """Flush what Python has buffered, which the fork would write once more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue
