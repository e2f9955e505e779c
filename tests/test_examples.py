"""Examples of Hypothesis tests in forks that are made ahead: crashes found and shrunk, and nothing left behind."""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness import InfraError, NativeCrash
from harness.pytest_guard.shrinking import isolated_examples
from harness.supervisor.ahead import Source
from harness.supervisor.limits import LONGEST_S

pytestmark = pytest.mark.slow

few = settings(max_examples=20, database=None, suppress_health_check=list(HealthCheck), derandomize=True)


def crash() -> None:
    """Read where nothing is."""
    ctypes.string_at(8)


def shrunk(test: Callable[[], None], deadline_s: float | None = None) -> NativeCrash:
    """Return the crash that Hypothesis ends with."""
    with isolated_examples(deadline_s), pytest.raises(NativeCrash) as caught:
        test()
    return caught.value


def test_the_longest_deadline_is_one() -> None:
    """It is more than the kernel's poll() takes at once."""

    @few
    @given(st.integers(0, 100))
    def test(number: int) -> None:
        if number > 3:
            crash()

    assert "number=4," in "\n".join(shrunk(test, LONGEST_S).__notes__)


def test_an_example_that_hangs_is_ended_at_its_deadline() -> None:
    """It is shrunk as a crash is, and the evidence has the deadline."""

    @few
    @given(st.booleans())
    def test(hangs: bool) -> None:
        if hangs:
            signal.pause()

    found = shrunk(test, 0.5)
    assert str(found).startswith("SIGKILL by the deadline")
    assert found.evidence is not None
    assert found.evidence.deadline_s == 0.5
    assert "hangs=True," in "\n".join(found.__notes__)


def test_a_crash_of_what_examples_leave_is_none_of_an_example() -> None:
    """From then on each has a fork of its own, and the test passes."""
    seen: list[int] = []

    @few
    @given(st.integers())
    def test(number: int) -> None:
        seen.append(number)
        if len(seen) > 2:
            crash()

    with isolated_examples(None):
        test()
    assert seen == []


def test_an_example_that_can_not_be_sent_runs_too() -> None:
    """It is taken along by a fork of its own: a value of a class that is local, in an explicit example."""

    class Local:
        crashes = True

    @few
    @given(st.builds(Local))
    def drawn(one: Local) -> None:
        if one.crashes:
            crash()

    @few
    @example(Local())
    @given(st.none())
    def told(one: Local | None) -> None:
        if one is not None:
            crash()

    assert str(shrunk(drawn)).startswith("SIGSEGV")
    assert str(shrunk(told)).startswith("SIGSEGV")


def test_a_test_within_an_example_has_workers_of_its_own() -> None:
    """What the outer example had drawn is not lost by that."""

    @few
    @given(st.integers(0, 9))
    def outer(number: int) -> None:
        @few
        @given(st.integers(0, 9))
        def inner(other: int) -> None:
            assert other < 10

        inner()
        if number > 5:
            crash()

    assert "number=6," in "\n".join(shrunk(outer).__notes__)


def idle(pipe: Connection) -> None:
    """Wait for the end."""
    pipe.recv_bytes()


def take_all(source: Source) -> None:
    """Take forks until there is none."""
    while True:
        source.take()


def test_forks_can_not_be_had_from_a_source_that_is_gone() -> None:
    """It is said so, and nothing waits for ever; its forks are ended all the same."""
    source = Source(idle, lambda: None)
    pipe, made = source.take()
    os.kill(source._pid, signal.SIGKILL)
    with pytest.raises(InfraError, match="is gone"):
        made.kill()
    with pytest.raises(InfraError, match="is gone"):
        take_all(source)
    pipe.close()
    source.end()


def test_a_source_that_can_make_no_fork_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong there is told here."""

    def refuse(*_: object, **__: object) -> int:
        raise InfraError("no page")

    monkeypatch.setattr("harness.supervisor.box.create", refuse)
    source = Source(idle, lambda: None)
    with pytest.raises(InfraError, match="no page"):
        source.take()
    source.end()


KILLED = """
import os, signal, sys
from hypothesis import given, strategies as st
from harness.pytest_guard.shrinking import isolated_examples

@given(st.integers())
def test(number):
    os.write(int(sys.argv[1]), b"!")
    signal.pause()

with isolated_examples(None):
    test()
"""


def test_nothing_outlives_a_session_that_is_killed() -> None:
    """Neither the worker at work, nor those that wait, nor what makes them: a pipe that all of them have is closed."""
    alive, theirs = os.pipe()
    with subprocess.Popen([sys.executable, "-c", KILLED, str(theirs)], pass_fds=[theirs]) as session:
        os.close(theirs)
        assert os.read(alive, 1) == b"!"
        session.kill()
    assert select.select([alive], [], [], 20)[0]
    assert os.read(alive, 1) == b""
    os.close(alive)
