"""A fork of the calling process, watched like a victim: its crash record is made by a page of its own."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from harness.child import fault
from harness.evidence import EndedBy, Evidence, Memory
from harness.supervisor import box
from harness.supervisor.launch import extension_path
from harness.supervisor.process import decode_status

if TYPE_CHECKING:
    from collections.abc import Callable

LOST: Final = 71  # the exit status of a fork that could not be made a victim


class Fork:
    """One fork: `work` is what it does, and then it ends with status 0. Whoever makes it calls end().

    What the caller has registered for its own end does not run in the fork. `stacks` is a descriptor where the Python
    stacks of a fork that crashes go.
    """

    def __init__(self, work: Callable[[], object], stacks: int | None = None) -> None:
        flush()
        self._began_s = time.monotonic()
        self._page = box.create(memory_limited=False)
        self.pid = os.fork()
        if self.pid == 0:
            _live(self._page, work, stacks)
        self.fd = os.pidfd_open(self.pid)

    def end(self, deadline_s: float | None = None) -> Evidence:
        """Wait for its end, or make one at the deadline. With an exception, Ctrl-C for one, it is gone as well."""
        by = EndedBy.SELF
        try:
            if not _ends(self.fd, deadline_s):
                by = EndedBy.DEADLINE
        finally:
            if by is not EndedBy.SELF or sys.exception() is not None:
                signal.pidfd_send_signal(self.fd, signal.SIGKILL)
            evidence = self._reaped(by, deadline_s)
        return evidence

    def kill(self) -> None:
        """End it now."""
        signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        self._reaped(EndedBy.CANCEL, None)

    def _reaped(self, by: EndedBy, deadline_s: float | None) -> Evidence:
        _, status, usage = os.wait4(self.pid, 0)
        faults = box.read(self._page).faults
        os.close(self._page)
        os.close(self.fd)
        return Evidence(
            termination=decode_status(status),
            ended_by=by,
            faults=faults,
            memory=Memory(peak_rss_bytes=usage.ru_maxrss * 1024),
            deadline_s=deadline_s,
            duration_s=time.monotonic() - self._began_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            containment="fork",
        )


def _ends(process: int, within_s: float | None) -> bool:
    poller = select.poll()
    poller.register(process, select.POLLIN)
    return bool(poller.poll(None if within_s is None else within_s * 1000))


def _live(page: int, work: Callable[[], object], stacks: int | None) -> None:
    """Be the fork: arm the record in front of all, work, and end."""
    status = LOST
    try:
        faulthandler.disable()  # what the caller has, goes to the caller's file
        if stacks is not None:
            faulthandler.enable(stacks)
        if fault.load(extension_path()).lib.arm_in_front(page) == 0:
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
