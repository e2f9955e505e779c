"""Hostile victims: each ends within its deadline and a second, with a true verdict, and leaves nothing."""

import os
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from likeness import moment_s

from harness.evidence import EndedBy, Exited, Signaled, Termination
from harness.exceptions import InfraError
from harness.supervisor import Cgroup, Limits, box, containment, memory_cgroup, supervise
from harness.supervisor.confinement import Wanted
from harness.supervisor.guard import REPORT, Guard, Report, decode_report

pytestmark = pytest.mark.slow

DEADLINE_S, GRACE_S = 2 * moment_s(), 0.3
SECOND_S = 2 * moment_s()  # one, or more on a machine that is slower
MARK = f"HOSTILE_{os.getpid()}"
RUNGS: list[Wanted] = ["namespace", "bare"] if containment().namespace else ["bare"]
MIB = 1 << 20

SETSID_BOMB = """
import os, time
def daemon(depth):
    if os.fork() == 0:
        os.setsid()
        if depth:
            daemon(depth - 1)
            daemon(depth - 1)
        time.sleep(600)
daemon(4)
os._exit(7)
"""
HOLDS_OUTPUT = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
os._exit(7)
"""
IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
"""
STOPS_ITSELF = """
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
"""
FLOODS = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    os.write(1, b"o" * 65536)
    os.write(2, b"e" * 65536)
"""
FORK_BOMB = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
ENDS_ITS_GROUP = """
import os, signal
os.kill(0, signal.SIGSEGV)
"""

CASES: dict[str, tuple[str, Termination, EndedBy]] = {
    "setsid bomb": (SETSID_BOMB, Exited(7), EndedBy.SELF),
    "holds the output open": (HOLDS_OUTPUT, Exited(7), EndedBy.SELF),
    "ignores SIGTERM": (IGNORES_SIGTERM, Signaled("SIGKILL"), EndedBy.DEADLINE),
    "stops itself": (STOPS_ITSELF, Signaled("SIGKILL"), EndedBy.DEADLINE),
    "floods both streams": (FLOODS, Signaled("SIGKILL"), EndedBy.DEADLINE),
    "fork bomb": (FORK_BOMB, Signaled("SIGKILL"), EndedBy.DEADLINE),
    "signals its group": (ENDS_ITS_GROUP, Signaled("SIGSEGV"), EndedBy.SELF),
}


def alive() -> list[psutil.Process]:
    """Processes that carry the mark in their environment or command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if MARK in process.cmdline() and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process with the mark survives a test."""
    yield
    assert not alive()


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize(("program", "termination", "ended_by"), CASES.values(), ids=CASES.keys())
def test_a_hostile_victim_ends_in_time(program: str, termination: Termination, ended_by: EndedBy, rung: Wanted) -> None:
    """Deadline, grace and one second; the verdict is the victim's true end; bounded output."""
    started = time.monotonic()
    evidence = supervise(
        [sys.executable, "-S", "-c", program, MARK],
        Limits(processes=64),
        DEADLINE_S,
        grace_s=GRACE_S,
        containment=rung,
    )
    assert time.monotonic() - started < DEADLINE_S + GRACE_S + SECOND_S
    assert (evidence.termination, evidence.ended_by) == (termination, ended_by)
    assert max(len(evidence.stdout), len(evidence.stderr)) <= 64 * 1024


@pytest.mark.parametrize("rung", RUNGS)
def test_a_victim_that_eats_memory_is_stopped_by_its_limit(rung: Wanted) -> None:
    """By the kernel where there is a cgroup, by refusal where there is none."""
    program = "keep = []\nwhile True: keep.append(b'x' * (1 << 20))"
    evidence = supervise([sys.executable, "-S", "-c", program], Limits(memory_bytes=64 * MIB), 20, containment=rung)
    if memory_cgroup().version:
        assert (evidence.termination, evidence.memory.oom_kills) == (Signaled("SIGKILL"), 1)
    else:
        assert evidence.termination == Exited(1)
        assert "MemoryError" in evidence.stderr


FORKS = """
import os, time
made = 0
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except OSError:
    pass
print(made)
"""


@pytest.mark.parametrize("rung", RUNGS)
def test_processes_are_bounded(rung: Wanted) -> None:
    """A hundred forks under a limit of 32 give at most 31, whoever the user is."""
    evidence = supervise([sys.executable, "-S", "-c", FORKS, MARK], Limits(processes=32), 20, containment=rung)
    assert evidence.termination == Exited(0)
    assert int(evidence.stdout) <= 31
    assert evidence.survivors == int(evidence.stdout)


def test_a_bound_that_can_not_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """RLIMIT_NPROC does not bind root: without a pids cgroup that is INFRA, not a bomb without a bound."""
    monkeypatch.setattr("harness.supervisor.confinement.pids_cgroup", lambda: Cgroup(0, reason="none here"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(InfraError, match="processes: root can be bounded by a pids cgroup only: none here"):
        supervise(["true"], Limits(processes=32), 20)


SCRIBBLES = """
import mmap, os, random
page = mmap.mmap(4, 4096)
for turn in range(2000):
    page[:] = random.Random(turn).randbytes(4096)
os.ftruncate(4, 0)
os._exit(5)
"""


def test_garbage_over_the_shared_page_changes_no_verdict() -> None:
    """The page is overwritten and cut off under us; the wait status is what counts."""
    page = box.create(memory_limited=False)
    try:
        command = [sys.executable, "-S", "-c", SCRIBBLES, MARK]
        with Guard(command, ["--deadline-ms", "20000"], os.environ, page) as guard:
            heard = guard.receive()
        assert isinstance(heard, Report)
        assert os.WEXITSTATUS(heard.wait_status) == 5
        assert box.read(page).faults == ()
    finally:
        os.close(page)


def test_a_victim_can_not_reach_the_guards_channel() -> None:
    """Descriptor 3 is closed in the victim: nothing it writes there reaches us."""
    program = "import os\ntry:\n    os.write(3, b'x' * 72)\nexcept OSError:\n    os._exit(9)"
    assert supervise([sys.executable, "-S", "-c", program, MARK], deadline_s=20).termination == Exited(9)


def test_a_report_that_is_not_whole_is_a_lost_status() -> None:
    """Short, long and foreign messages are INFRA, never a success."""
    for data in (b"", b"x" * REPORT.size, b"x" * (REPORT.size + 1)):
        with pytest.raises(InfraError, match="status lost"):
            decode_report(data)
