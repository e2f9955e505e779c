"""Starts the guard and reads its one report."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import socket
import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from harness.exceptions import InfraError
from harness.victim import BOX_FD, extension_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTROL_FD = 3
FIRST_FREE_FD = 10  # ours are moved above the descriptors that the guard is given
REPORT = struct.Struct("<IiiiIiii5Q")
NOTE = struct.Struct("<IIi")
REPORT_MAGIC, NOTE_MAGIC = 0x47484331, 0x47484332
STEPS = [
    *("", "make a PID namespace", "create the cgroups", "fork", "open a pidfd", "set the limits", "join the cgroups"),
    *("execute the command", "wait for the victim", "kill what the victim left behind"),
]


class Report(msgspec.Struct, frozen=True):
    """What the guard saw. `intent`: 0 none, 1 deadline, 2 cancel, 3 abandoned. Times by CLOCK_MONOTONIC."""

    failed_step: int
    failed_errno: int
    wait_status: int
    intent: int
    survivors: int
    oom_kills: int
    victim: int
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


def _lift(fd: int) -> int:
    """Move a descriptor above those the guard is given, so that one dup2 can't overwrite another's source."""
    lifted = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
    os.close(fd)
    return lifted


class Guard:
    """One guard and our ends of its pipes; what it makes outside is named by its `pid`. Leaving the context ends the victim and everything below it."""

    def __init__(
        self,
        command: Sequence[str],
        options: Sequence[str],
        env: Mapping[str, str],
        page: int | None,
    ) -> None:
        with ExitStack() as theirs, ExitStack() as ours:
            self._control = self._socket(theirs)
            ours.callback(self._control.close)
            self.stdout, out = self._pipe(ours, theirs)
            self.stderr, err = self._pipe(ours, theirs)
            actions: list[tuple[int | str, ...]] = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, err, 2),
                (os.POSIX_SPAWN_DUP2, self._their_control, CONTROL_FD),
            ]
            if page is not None:
                lifted = _lift(os.dup(page))
                theirs.callback(os.close, lifted)
                actions.append((os.POSIX_SPAWN_DUP2, lifted, BOX_FD))
                options = [*options, "--box"]
            argv = [guard_path(), *options, "--", *command]
            self.pid = self._spawn(argv, env, actions)
            self._ours = ours.pop_all()

    def _socket(self, theirs: ExitStack) -> socket.socket:
        ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._their_control = _lift(other.detach())
        theirs.callback(os.close, self._their_control)
        return socket.socket(fileno=_lift(ours.detach()))

    @staticmethod
    def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
        mine, other = (_lift(fd) for fd in os.pipe2(os.O_CLOEXEC))
        ours.callback(os.close, mine)
        theirs.callback(os.close, other)
        return mine, other

    @staticmethod
    def _spawn(argv: list[str], env: Mapping[str, str], actions: list[tuple[int | str, ...]]) -> int:
        try:
            return os.posix_spawn(argv[0], argv, dict(env), file_actions=actions, setpgroup=0)
        except (OSError, ValueError) as error:
            raise InfraError(f"the guard can't be started: {error}") from error

    @property
    def control(self) -> int:
        """Readable when the report is there, or the guard is gone."""
        return self._control.fileno()

    def cancel(self) -> None:
        """Ask for the victim's end: SIGTERM, the grace, SIGKILL; asked twice, SIGKILL at once."""
        with suppress(OSError):
            self._control.send(b"c")

    def receive(self) -> Report | Note:
        """Receive what the guard says next; raises InfraError where it is gone without a report."""
        data = b""
        with suppress(OSError):
            data = self._control.recv(REPORT.size + 1)
        if len(data) == NOTE.size and NOTE.unpack(data)[0] == NOTE_MAGIC:
            return Note(*NOTE.unpack(data)[1:])
        return decode_report(data)

    def acknowledge(self) -> None:
        """Let the guard go on: its intent is journalled."""
        with suppress(OSError):
            self._control.send(b"a")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the lifeline and wait until the guard, and so everything below it, is gone."""
        self._ours.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
