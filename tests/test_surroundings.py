"""A supervisor in odd surroundings: threads, asyncio, thieves of statuses, pipes for streams, hundreds at once."""

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.evidence import EndedBy, Evidence, Signaled
from harness.machine import environment
from harness.supervisor import Stop, supervise

CRASH = ["sh", "-c", "kill -SEGV $$"]
MANY = 500
DESCRIPTORS = 4096


def test_from_a_thread_that_ends() -> None:
    """A death signal would follow the starting thread; the lifeline does not."""
    seen: list[Evidence] = []
    thread = threading.Thread(target=lambda: seen.append(supervise(CRASH, deadline_s=30)))
    thread.start()
    thread.join()
    assert [str(evidence.termination) for evidence in seen] == ["SIGSEGV"]


def test_from_asyncio() -> None:
    """In the loop's own thread, in its workers, and beside its own child processes."""

    async def all_at_once() -> list[object]:
        other = await asyncio.create_subprocess_exec("true")
        workers = [asyncio.to_thread(supervise, CRASH, deadline_s=30) for _ in range(4)]
        found = [supervise(CRASH, deadline_s=30), *await asyncio.gather(*workers)]
        assert await other.wait() == 0
        return [evidence.termination for evidence in found]

    assert asyncio.run(all_at_once()) == [Signaled("SIGSEGV")] * 5


THIEF = """
import os, threading, time
from harness.supervisor import supervise
stop = threading.Event()
stolen = []
def steal():
    while not stop.is_set():
        try:
            stolen.append(os.waitpid(-1, 0))
        except ChildProcessError:
            stop.wait(0.001)
thief = threading.Thread(target=steal)
thief.start()
for _ in range(20):
    assert str(supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30).termination) == "SIGSEGV"
stop.set()
thief.join()
assert stolen, "nothing was stolen: the test proves nothing"
"""


@pytest.mark.slow
def test_a_foreign_waitpid_steals_nothing_that_matters() -> None:
    """The status comes over the guard's own channel: a thief gets the guard's, which says nothing."""
    subprocess.run([sys.executable, "-c", THIEF], check=True, timeout=60)


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_with_pipes_or_nothing_for_streams(closed: tuple[int, ...]) -> None:
    """Descriptors 0 to 2 as pipes, or not there at all."""
    program = (
        f"import os\n[os.close(fd) for fd in {closed}]\n"
        "from harness.supervisor import supervise\n"
        "evidence = supervise(['sh', '-c', 'echo x; kill -SEGV $$'], deadline_s=30)\n"
        "os._exit(0 if (str(evidence.termination), evidence.stdout) == ('SIGSEGV', 'x\\n') else 1)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=b"", capture_output=True, timeout=60, check=False)
    assert done.returncode == 0


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Three descriptors a victim are more than a soft limit often allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < DESCRIPTORS:
        pytest.skip(f"the hard limit of descriptors is {before[1]}, and {DESCRIPTORS} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], DESCRIPTORS), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
def test_five_hundred_sleepers_keep_their_deadlines() -> None:
    """None is lost, and none is more than a tenth of a second late, scheduling of a busy machine allowed for."""
    seen: list[Evidence] = []
    threads = [
        threading.Thread(target=lambda: seen.append(supervise(["sleep", "600"], deadline_s=3))) for _ in range(MANY)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    late = [(evidence.duration_s or 0) - 3 for evidence in seen]
    assert len(seen) == MANY
    assert {(evidence.termination, evidence.ended_by) for evidence in seen} == {(Signaled("SIGTERM"), EndedBy.DEADLINE)}
    assert min(late) >= 0
    assert sorted(late)[MANY // 2] < 0.1
    assert max(late) < 0.5


def test_more_descriptors_than_select_knows() -> None:
    """A switch with a number above 1,023 is asked, set, and heard by a life."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"the hard limit on descriptors is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with Stop() as stop:
            assert stop.fileno() > 1023
            assert not stop.is_set()
            stop.set()
            assert stop.is_set()
            assert supervise(["sleep", "60"], stop=stop).ended_by is EndedBy.CANCEL
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_secrets_of_the_environment_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history keeps what explains a crash: that a variable was set, and its value only where that is a number."""
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("MALLOC_CONF", "token=hunter2")
    monkeypatch.setenv("LD_PRELOAD", "")
    told = environment()["malloc environment"]
    assert "MALLOC_ARENA_MAX=1" in told
    assert "MALLOC_CONF" in told
    assert "hunter2" not in told


def test_a_commit_that_git_does_not_tell_is_not_dirty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where the checkout is another user's: git refuses to look."""
    refuses = tmp_path / "git"
    refuses.write_text("#!/bin/sh\nexit 128\n")
    refuses.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert environment()["commit"] == "unknown"
