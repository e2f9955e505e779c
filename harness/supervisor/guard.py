"""Starts the guard, and speaks with it."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import shlex
import signal
import socket
import struct
import time
from contextlib import ExitStack, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from harness.child.fault import BOX_FD
from harness.child.function import CHANNEL_FD
from harness.exceptions import InfraError
from harness.supervisor.cgroups import remove, unique_name
from harness.supervisor.launch import extension_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CGROUP_PARENTS: Final = ("--cgroup-parent", "--pids-parent")
INHERITED: Final = 0  # the descriptor of our own standard input
FIRST_FREE_FD = 10  # ours are moved above the descriptors that a victim is given
PATIENCE_S = 10.0  # what a guard may take to clear away
KILLED_S = 2.0
LOOK_EVERY_S = 0.01
CHUNK_BYTES = 65536
REPORT = struct.Struct("<IiiiI7i5Q")
NOTE = struct.Struct("<IIIi")
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
REPORT_MAGIC, NOTE_MAGIC = 0x47484331, 0x47484332
TOLD, CANCEL, RESUME, ASK, ABANDON = b"a", b"c", b"r", b"p", b"x"
SIGNAL, STOPPED, ALIVE = range(3)
EXECUTE, LOST, DOUBT, END = 7, 10, 11, 12
STEPS = [
    *("", "make a PID namespace", "create the cgroups", "fork", "open a pidfd", "set the limits", "join the cgroups"),
    *("execute the command", "wait for the victim", "kill what the victim left behind"),
    *("keep its own processes", "be sure how the victim ended", "end the victim"),
]
WHY = {
    LOST: "status lost: a process of the guard was ended",
    DOUBT: "status lost: the kernel and the guard tell different ends",
}


class Report(msgspec.Struct, frozen=True):
    """What the guard saw. `intent`: 0 none, 1 deadline, 2 cancel, 3 abandoned. Times by CLOCK_MONOTONIC.

    -1 for `oom_kills` and `stuck_in_oom` is not known. `had_terminal`: the victim had been lent it when it ended.
    `victim` and `group`: its pid and the process group that it was born into, as it calls them itself.
    """

    failed_step: int
    failed_errno: int
    wait_status: int
    intent: int
    survivors: int
    oom_kills: int
    victim: int
    group: int
    stuck_in_oom: int
    had_terminal: int
    reserved: int
    cgroup_peak_bytes: int
    peak_rss_bytes: int
    cpu_us: int
    started_ns: int
    ended_ns: int


class Note(msgspec.Struct, frozen=True):
    """What the guard says before its report.

    SIGNAL: this one is about to be sent, for this intent. STOPPED: by this one the victim was stopped, where it has a
    terminal. ALIVE: the answer to a question.
    """

    subject: int
    intent: int
    signal_number: int


def decode_report(data: bytes) -> Report:
    """Decode the guard's report. Raises InfraError if it is not whole: a lost wait status must not read as success."""
    if len(data) != REPORT.size or REPORT.unpack(data)[0] != REPORT_MAGIC:
        raise InfraError("status lost: the guard ended without a report")
    return Report(*REPORT.unpack(data)[1:])


def check(report: Report, command: Sequence[str]) -> None:
    """Raise InfraError for what the guard could not do."""
    if report.failed_step == EXECUTE:
        raise InfraError(f"{shlex.quote(command[0])}: can't be executed: {os.strerror(report.failed_errno)}")
    if report.failed_step in WHY:
        raise InfraError(WHY[report.failed_step])
    if report.failed_step:
        why = os.strerror(report.failed_errno or errno.ETIMEDOUT)
        raise InfraError(f"the guard could not {STEPS[report.failed_step]}: {why}")


def guard_path() -> str:
    """Return the path of the guard, which is installed beside the extension."""
    return str(Path(extension_path()).parent / "guard")


def _ends(pair: Sequence[int], ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """Move a pair above the descriptors a victim is given, so that no dup2 overwrites another's source."""
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

    A `clean` victim is one of ours: default dispositions, an empty mask, no descriptors but the standard ones, `page`
    as 4 and `channel` as 5. Any other inherits what we have ourselves. `stdin` becomes its 0, which is /dev/null
    otherwise; INHERITED is our own. `seen` is a page for the guard alone. Cgroups are called `cgroup_name`.

    Raises InfraError when it can't be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: Sequence[str],
        env: Mapping[str, str],
        page: int | None = None,
        *,
        channel: int | None = None,
        stdin: int | None = None,
        clean: bool = True,
        seen: int | None = None,
    ) -> None:
        self.cgroup_name, self._heard_report = unique_name(), False
        self._cgroups = [Path(after) / self.cgroup_name for one, after in pairwise(options) if one in CGROUP_PARENTS]
        with ExitStack() as theirs, ExitStack() as ours:
            try:
                self.control, control = _ends(_socketpair(), ours, theirs)
                self.stdout, out = _ends(os.pipe2(os.O_CLOEXEC), ours, theirs)
                self.stderr, err = _ends(os.pipe2(os.O_CLOEXEC), ours, theirs)
                given = {1: out, 2: err, control: control}
                words = ["--control", str(control), "--supervisor", str(os.getpid()), "--cgroup-name", self.cgroup_name]
                words += ["--clean"] if clean else _internal_signals()
                for name, fd, at in (
                    ("--box", page, BOX_FD if clean else None),
                    ("--channel", channel, CHANNEL_FD),
                    ("--witness-fd", seen, None),
                ):
                    if fd is not None:
                        copy = _copy(fd, theirs)
                        given[at or copy] = copy
                        words += [name, str(at or copy)]
                self._socket = socket.socket(fileno=self.control)
                ours.callback(self._socket.detach)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                self.pid = _spawn([guard_path(), *words, *options, "--", *command], env, given, stdin)
            except (OSError, ValueError) as error:
                raise InfraError(f"the guard can't be started: {error}") from error
            self.pidfd = self._hold(ours)
            self._ours = ours.pop_all()

    def _hold(self, ours: ExitStack) -> int | None:
        """Return a pidfd; None when the guard is gone and reaped by somebody else already."""
        with suppress(OSError):
            pidfd = os.pidfd_open(self.pid)
            ours.callback(os.close, pidfd)
            return pidfd
        return None

    def _send(self, request: bytes) -> None:
        with suppress(OSError):
            self._socket.send(request, socket.MSG_DONTWAIT)

    def cancel(self) -> None:
        """Ask for the victim's end: SIGTERM, the grace, SIGKILL; asked twice, SIGKILL at once."""
        self._send(CANCEL)

    def acknowledge(self) -> None:
        """Let the guard go on: its intent is journalled."""
        self._send(TOLD)

    def let_go_on(self) -> None:
        """Continue a victim that was stopped, with the terminal where we have it."""
        self._send(RESUME)

    def ask(self) -> None:
        """Ask the guard for a sign of life; it answers ALIVE."""
        self._send(ASK)

    def receive(self, patience_s: float = PATIENCE_S) -> Report | Note | None:
        """Receive what the guard says next; None for what somebody else said in its name.

        Raises InfraError where it is gone without a report, or says nothing in that time.
        """
        if not _wait_readable(self.control, patience_s):
            raise InfraError("status lost: the guard does not answer")
        data, speaker = self._hear()
        if data and speaker != self.pid:
            return None
        if len(data) == NOTE.size and NOTE.unpack(data)[0] == NOTE_MAGIC:
            return Note(*NOTE.unpack(data)[1:])
        report = decode_report(data)
        self._heard_report = True
        return report

    def _hear(self) -> tuple[bytes, int]:
        """Take a message, and the pid of its sender.

        A guard that ends without having read our last word resets the line, once; what it had said is still there.
        """
        for _ in range(2):
            with suppress(OSError):
                data, told, _, _ = self._socket.recvmsg(REPORT.size + 1, socket.CMSG_SPACE(CREDENTIALS.size))
                sent = (CREDENTIALS.unpack(one)[0] for _, kind, one in told if kind == socket.SCM_CREDENTIALS)
                return data, next(sent, 0)
        return b"", self.pid

    def resume(self) -> None:
        """Let a guard go on that someone has stopped."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with suppress(OSError):
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left, and wait until it is gone: the guard clears away, and its death ends the rest.

        The lifeline is cut, not only closed: a process that we have forked may hold it too.
        """
        try:
            self._send(ABANDON)
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self.resume()
            if not self._is_gone(PATIENCE_S):
                self._signal(signal.SIGKILL)
                self._is_gone(KILLED_S)
            if not self._heard_report:
                self._await_silence()
                for one in self._cgroups:
                    remove(one, KILLED_S)
        finally:
            self._ours.close()

    def _is_gone(self, patience_s: float) -> bool:
        """Reap the guard once it ends; False if it does not in time. Where SIGCHLD is ignored, the kernel reaps.

        One that somebody traces has ended for us only when they have looked at it.
        """
        end_s = time.monotonic() + patience_s
        if self.pidfd is not None:
            _wait_readable(self.pidfd, patience_s)
        with suppress(ChildProcessError):
            while not os.waitpid(self.pid, os.WNOHANG)[0]:
                if time.monotonic() > end_s:
                    return False
                time.sleep(LOOK_EVERY_S)
        return True

    def _await_silence(self) -> None:
        """Wait until the guard's other processes are gone: until then they hold the victim's stderr open."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s and _wait_readable(self.stderr, end_s - time.monotonic()):
            with suppress(BlockingIOError):
                if not os.read(self.stderr, CHUNK_BYTES):
                    return


def _copy(fd: int, theirs: ExitStack) -> int:
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
    theirs.callback(os.close, copy)
    return copy


def _is_inherited(fd: int) -> bool:
    """Whether a descriptor was inherited by us. If it was not, its number may belong to a file that we have opened."""
    with suppress(OSError):
        return os.get_inheritable(fd)
    return False


def _internal_signals() -> list[str]:
    """Options for the C library's own signals that this process ignores, as one that `make` has started does.

    Python can't ask for them, and glibc's posix_spawn() has its children ignore them in any case.
    """
    return [word for number in _ignored() for word in ("--ignored", str(number))] if _ignores_some() else []


@cache
def _ignores_some() -> bool:
    """Whether it did when it was asked first: nothing of Python's would ignore one later."""
    return bool(_ignored())


def _ignored() -> list[int]:
    status = Path("/proc/self/status").read_text(errors="replace")
    bits = int(status.partition("SigIgn:")[2].split()[0], 16)
    return [number for number in range(signal.SIGSYS + 1, signal.SIGRTMIN) if bits >> (number - 1) & 1]


def _spawn(argv: list[str], env: Mapping[str, str], given: Mapping[int, int], stdin: int | None) -> int:
    """Start the guard. A descriptor that keeps its number stays open in it."""
    actions: list[tuple[int | str, ...]] = []
    if stdin is None:
        actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
    elif stdin != INHERITED or _is_inherited(INHERITED):
        actions.append((os.POSIX_SPAWN_DUP2, stdin, 0))
    actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in given.items()]
    return os.posix_spawn(argv[0], argv, dict(env), file_actions=actions, setpgroup=0)


def _wait_readable(fd: int, patience_s: float) -> bool:
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(max(0.0, patience_s) * 1000))
