"""The terminal: handed to a command in the foreground, with Ctrl-C and Ctrl-Z, and given back on every way out."""

import os
import pty
import re
import select
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

PATIENCE_S = 60
CTRL_C, CTRL_Z = b"\x03", b"\x1a"


class Session:
    """A program on a terminal of its own, as a user has it."""

    def __init__(self, *command: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)  # noqa: S606 -- a session's own program
        self.seen = b""
        self._at = 0

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._fd, keys)

    def until(self, text: str) -> None:
        """Read on until this is on the screen, behind what was waited for before."""
        end_s = time.monotonic() + PATIENCE_S
        while text.encode() not in self.seen[self._at :]:
            if not self._read(end_s):
                pytest.fail(f"{text!r} never came: {self.seen.decode(errors='replace')}")
        self._at = self.seen.index(text.encode(), self._at) + len(text)

    def _read(self, end_s: float) -> bool:
        if not select.select([self._fd], [], [], max(0.0, end_s - time.monotonic()))[0]:
            return False
        try:
            chunk = os.read(self._fd, 4096)
        except OSError:  # nobody has the other end open any more
            return False
        self.seen += chunk
        return bool(chunk)

    def end(self) -> int:
        """Wait for its end: the exit status, or the signal's number below zero."""
        end_s = time.monotonic() + PATIENCE_S
        while self._read(end_s):
            continue
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def foreground(self) -> int:
        """The group that has the terminal."""
        return os.tcgetpgrp(self._fd)

    def close(self) -> None:
        """Hang up."""
        os.close(self._fd)


@pytest.fixture
def sessions() -> Iterator[list[Session]]:
    """What the test began, hung up at the end; nothing is left of it."""
    begun: list[Session] = []
    yield begun
    for one in begun:
        one.close()
    left = psutil.Process().children(recursive=True)
    for process in left:
        process.kill()
        process.wait()
    assert left == []


def harness(*words: str, options: tuple[str, ...] = ()) -> list[str]:
    """Spell `crash-harness exec … -- WORDS`, without the library, which has its own tests."""
    bounded = ("--timeout", str(PATIENCE_S), "--black-box", "off")
    return [sys.executable, "-m", "harness", "exec", *bounded, *options, "--", *words]


def start(sessions: list[Session], *command: str) -> Session:
    """Begin a session."""
    sessions.append(Session(*command))
    return sessions[-1]


def shell(sessions: list[Session], line: str) -> Session:
    """Begin a shell with job control that runs a line."""
    session = start(sessions, "bash", "--norc", "--noediting", "-i")
    session.type(line.encode() + b"\n")
    return session


def test_what_is_under_way_is_told_and_erased(sessions: list[Session]) -> None:
    """Attempt, seconds and memory of a silent command; gone before its next word."""
    session = start(sessions, *harness("sh", "-c", "read x </dev/tty; echo got $x"))
    session.until("attempt 1: ")
    session.until(" s, ")
    session.until(" MiB")
    session.type(b"hello\n")
    session.until("\r\x1b[Kgot hello")
    assert session.end() == 0


def test_a_command_reads_the_terminal(sessions: list[Session]) -> None:
    """It is the foreground; a background process that reads is stopped, for ever."""
    session = start(sessions, *harness("sh", "-c", "echo up; read x </dev/tty; echo got $x"))
    session.until("up")
    session.type(b"hello\n")
    session.until("got hello")
    assert session.end() == 0


def test_standard_input_may_be_the_terminal(sessions: list[Session]) -> None:
    """Under --stdin inherit."""
    session = start(sessions, *harness("sh", "-c", "echo up; read x; echo got $x", options=("--stdin", "inherit")))
    session.until("up")
    session.type(b"hello\n")
    session.until("got hello")
    assert session.end() == 0


def test_ctrl_c_ends_command_and_harness(sessions: list[Session]) -> None:
    """130, and the attempt is none: no verdict, no retry."""
    session = start(sessions, *harness("sh", "-c", "echo up; exec sleep 60", options=("--max-attempts", "3")))
    session.until("up")
    session.type(CTRL_C)
    assert session.end() == 130
    assert b"attempt 1" not in re.sub(rb"attempt 1: \d+ s, \d+ MiB", b"", session.seen)  # without what is under way


def test_a_command_that_handles_ctrl_c_goes_on(sessions: list[Session]) -> None:
    """And its own exit status is what counts."""
    session = start(sessions, *harness("sh", "-c", "trap 'echo handled; exit 5' INT; echo up; sleep 60 & wait"))
    session.until("up")
    session.type(CTRL_C)
    session.until("handled")
    session.until("exited 5")
    assert session.end() == 1


def test_a_script_that_ctrl_c_interrupts_stops(sessions: list[Session]) -> None:
    """The group that would have had the Ctrl-C without us gets it: a shell without job control does not go on."""
    line = shlex.join(harness("sh", "-c", "echo up; exec sleep 60"))
    session = start(sessions, "sh", "-c", f"{line}; echo went on")
    session.until("up")
    session.type(CTRL_C)
    assert session.end() == -signal.SIGINT
    assert b"went on" not in session.seen


def test_ctrl_z_stops_both_and_fg_continues_both(sessions: list[Session]) -> None:
    """The shell has its terminal meanwhile; afterwards the command has it again."""
    session = shell(sessions, shlex.join(harness("sh", "-c", "echo u''p; read x </dev/tty; echo got $x")))
    session.until("up\r\n")
    held = session.foreground()
    session.type(CTRL_Z)
    session.until("Stopped")
    assert session.foreground() == session.pid
    session.type(b"fg\n")
    session.until("fg")
    session.type(b"hello\n")
    session.until("got hello")
    session.until("COMPLETED_SUCCESSFULLY")
    session.type(b"exit\n")
    assert session.end() == 0
    assert held != session.pid


def test_a_background_job_asks_for_the_terminal_as_any(sessions: list[Session]) -> None:
    """It stops when it reads, all of it; and goes on in the foreground."""
    session = shell(sessions, shlex.join(harness("sh", "-c", "echo u''p; read x </dev/tty; echo got $x")) + " &")
    session.until("up\r\n")
    stopped = "until jobs | grep -q Stopped; do :; done; echo seen; jobs\n"
    session.type(stopped.encode())
    session.until("seen\r\n")
    session.type(b"fg\n")
    session.until("fg")
    session.type(b"hello\n")
    session.until("got hello")
    session.until("COMPLETED_SUCCESSFULLY")
    session.type(b"exit\n")
    assert session.end() == 0


def test_a_pager_beside_us_keeps_its_terminal(sessions: list[Session]) -> None:
    """In a pipeline others of our group may read too: the command gets the terminal when it asks, not before."""
    command = shlex.join(harness("sh", "-c", "echo up; exec sleep 60"))
    session = shell(sessions, f"{command} | {{ read first; echo we $first; read x </dev/tty; echo have $x; }}")
    session.until("we up")
    session.type(b"it\n")
    session.until("have it")
    session.type(CTRL_C)
    session.type(b"exit 0\n")
    assert session.end() == 0


@pytest.mark.parametrize("who", ["guard", "harness"])
def test_the_terminal_comes_back_whoever_is_killed(sessions: list[Session], who: str) -> None:
    """By SIGKILL, of the process that lent it or of the one that it was lent for; a script above gets it at once."""
    command = shlex.join(harness("sh", "-c", "echo up; exec sleep 60"))
    session = start(sessions, "bash", "-c", f"{command}; until read x </dev/tty; do :; done; echo got $x")
    session.until("up")
    script = psutil.Process(session.pid)
    supervisor = next(one for one in script.children() if "exec" in one.cmdline())
    guard = next(one for one in supervisor.children() if one.name() == "guard")
    assert session.foreground() != session.pid
    (guard if who == "guard" else supervisor).kill()
    psutil.wait_procs([guard, supervisor], timeout=PATIENCE_S)
    session.type(b"hello\n")
    session.until("got hello")
    assert session.end() == 0


def test_modes_come_back_after_a_crash(sessions: list[Session]) -> None:
    """A command that dies without echo on leaves the terminal as it was."""
    command = shlex.join(harness("sh", "-c", "stty -echo </dev/tty; echo up; kill -SEGV $$"))
    session = start(sessions, "bash", "-c", f"{command}; stty -a </dev/tty")
    session.until("up")
    session.end()
    assert b" echo " in session.seen


def test_without_a_terminal_there_is_none(tmp_path: Path) -> None:
    """In a session of its own, as in CI, nothing is lent, and the exit status is as ever."""
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = harness("sh", "-c", "kill -INT $$")
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            setsid=True,
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, out.fileno(), 2)],
        )
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert "SIGINT" in log.read_text()
