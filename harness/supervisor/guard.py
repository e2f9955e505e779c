"""Starts the guard and reads its one report."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import signal
import socket
import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from harness.child.fault import BOX_FD
from harness.child.function import CHANNEL_FD
from harness.exceptions import InfraError
from harness.supervisor.launch import extension_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTROL_FD, WITNESS_FD = 3, 6
FIRST_FREE_FD = 10  # ours are moved above the descriptors that the guard is given
REPORT = struct.Struct("<IiiiIiiiii5Q")
NOTE = struct.Struct("<IIi")
REPORT_MAGIC, NOTE_MAGIC = 0x47484331, 0x47484332
STEPS = [
    *("", "make a PID namespace", "create the cgroups", "fork", "open a pidfd", "set the limits", "join the cgroups"),
    *("execute the command", "wait for the victim", "kill what the victim left behind"),
]


class Report(msgspec.Struct, frozen=True):
    """What the guard saw. `intent`: 0 none, 1 deadline, 2 cancel, 3 abandoned. Times by CLOCK_MONOTONIC.

    -1 for `oom_kills` and `stuck_in_oom` is not known.
    """

    failed_step: int
    failed_errno: int
    wait_status: int
    intent: int
    survivors: int
    oom_kills: int
    victim: int
    stuck_in_oom: int
    reserved: int
    cgroup_peak_bytes: int
    peak_rss_bytes: int
    cpu_us: int
    started_ns: int
    ended_ns: int


class Note(msgspec.Struct, frozen=True):
    """What the guard is about to do: its intent, and the signal it sends next."""

    intent: int
    signal_number: int


def decode_report(data: bytes) -> Report:
    """Raises InfraError for anything but one whole report: the victim's status is lost, which is no success."""
    if len(data) != REPORT.size or REPORT.unpack(data)[0] != REPORT_MAGIC:
        raise InfraError("status lost: the guard ended without a report")
    return Report(*REPORT.unpack(data)[1:])


def check(report: Report, command: Sequence[str]) -> None:
    """Raise InfraError for what the guard could not do."""
    if report.failed_step == STEPS.index("execute the command"):
        raise InfraError(f"{shlex.quote(command[0])}: can't be executed: {os.strerror(report.failed_errno)}")
    if report.failed_step:
        why = os.strerror(report.failed_errno) if report.failed_errno else errno.errorcode[errno.ETIMEDOUT]
        raise InfraError(f"the guard could not {STEPS[report.failed_step]}: {why}")


def guard_path() -> str:
    """The guard is installed beside the extension."""
    return str(Path(extension_path()).parent / "guard")


def _ends(pair: Sequence[int], ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """Move a pair above the descriptors the guard is given, so that no dup2 overwrites another's source."""
    with ExitStack() as raw:
        for fd in pair:
            raw.callback(os.close, fd)
        mine = fcntl.fcntl(pair[0], fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
        ours.callback(os.close, mine)
        other = fcntl.fcntl(pair[1], fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
        theirs.callback(os.close, other)
    return mine, other


def _socketpair() -> list[int]:
    return [end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]


class Guard:
    """One guard and our ends of its pipes. Leaving the context ends the victim and everything below it.

    What it makes outside is named by its `pid`. `page` becomes the victim's descriptor 4, `channel` its 5; `stdin`
    its 0, which is /dev/null otherwise. `seen` is a page for the guard alone.

    Raises InfraError when it can't be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: Sequence[str],
        env: Mapping[str, str],
        page: int | None,
        channel: int | None = None,
        *,
        stdin: int | None = None,
        seen: int | None = None,
    ) -> None:
        with ExitStack() as theirs, ExitStack() as ours:
            try:
                self.control, their_control = _ends(_socketpair(), ours, theirs)
                self.stdout, out = _ends(os.pipe2(os.O_CLOEXEC), ours, theirs)
                self.stderr, err = _ends(os.pipe2(os.O_CLOEXEC), ours, theirs)
                given = {1: out, 2: err, CONTROL_FD: their_control}
                for fd, mine in ((0, stdin), (BOX_FD, page), (CHANNEL_FD, channel), (WITNESS_FD, seen)):
                    if mine is not None:
                        given[fd] = fcntl.fcntl(mine, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
                        theirs.callback(os.close, given[fd])
                self._socket = socket.socket(fileno=self.control)
                ours.callback(self._socket.detach)
                kept = [word for fd, word in ((BOX_FD, "--box"), (CHANNEL_FD, "--channel")) if fd in given]
                self.pid = self._spawn([guard_path(), *options, *kept, "--", *command], env, given)
            except (OSError, ValueError) as error:
                raise InfraError(f"the guard can't be started: {error}") from error
            self._pidfd = self._hold(ours)
            self._ours = ours.pop_all()

    @staticmethod
    def _spawn(argv: list[str], env: Mapping[str, str], given: Mapping[int, int]) -> int:
        actions: list[tuple[int | str, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in given.items()]
        return os.posix_spawn(argv[0], argv, dict(env), file_actions=actions, setpgroup=0)

    def _hold(self, ours: ExitStack) -> int | None:
        """Return a pidfd; None when the guard is gone and reaped by somebody else already."""
        with suppress(OSError):
            pidfd = os.pidfd_open(self.pid)
            ours.callback(os.close, pidfd)
            return pidfd
        return None

    def cancel(self) -> None:
        """Ask for the victim's end: SIGTERM, the grace, SIGKILL; asked twice, SIGKILL at once."""
        with suppress(OSError):
            self._socket.send(b"c")

    def receive(self) -> Report | Note:
        """Receive what the guard says next; raises InfraError where it is gone without a report."""
        data = b""
        with suppress(OSError):
            data = self._socket.recv(REPORT.size + 1)
        if len(data) == NOTE.size and NOTE.unpack(data)[0] == NOTE_MAGIC:
            return Note(*NOTE.unpack(data)[1:])
        return decode_report(data)

    def acknowledge(self) -> None:
        """Let the guard go on: its intent is journalled."""
        with suppress(OSError):
            self._socket.send(b"a")

    def resume(self) -> None:
        """Let a guard go on that someone has stopped."""
        with suppress(OSError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the lifeline and wait until the guard, and so everything below it, is gone."""
        self.resume()
        self._ours.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
