"""harness.isolated: native crashes of any call as exceptions."""

import ctypes
import errno
import functools
import os
import pickle
import select
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness import InfraError, NativeCrash, isolated
from harness.evidence import EndedBy
from harness.pytest_guard.shrinking import isolated_examples
from harness.supervisor.forked import FAILED
from harness.supervisor.limits import LONGEST_S


def crash(address: int = 8) -> bytes:
    """Read where nothing is."""
    return ctypes.string_at(address)


def test_what_a_call_returns_or_raises_comes_back() -> None:
    """Closures and arguments of any kind work; what it changes in memory does not."""
    seen: list[int] = []
    assert isolated(lambda one: [*seen, one])(3) == [3]
    with pytest.raises(ZeroDivisionError) as caught:
        isolated(lambda: 1 // 0)()
    assert "isolated process" in caught.value.__notes__[0]
    isolated(seen.append)(1)
    assert seen == []


def test_an_exception_that_can_neither_travel_nor_be_shown_is_told_all_the_same() -> None:
    """Its class is local, and its text raises: its name and its stack come back."""

    class ShyError(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    def shy() -> None:
        raise ShyError

    with pytest.raises(RuntimeError, match=r"ShyError: <exception str\(\) failed>"):
        isolated(shy)()


def test_an_exit_status_belongs_to_the_call() -> None:
    """No status means that the fork could not be made: not even the one with which such a fork ends."""
    with pytest.raises(NativeCrash, match=f"exit status {FAILED}"):
        isolated(os._exit)(FAILED)


@pytest.mark.parametrize("missing", ["fork", "pidfd_open"])
def test_a_process_that_cant_be_had_is_infra_and_leaves_nothing(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor and no child is left."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    before = os.listdir("/proc/self/fd")  # noqa: PTH208 -- names are all
    monkeypatch.setattr(os, missing, refuse)
    with pytest.raises(InfraError, match="temporarily unavailable"):
        isolated(int)()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 -- as above
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_deadline_may_be_as_long_as_any() -> None:
    """Beyond what poll() takes at once, too."""
    assert isolated(int, deadline_s=LONGEST_S)() == 0


def test_a_crash_is_an_exception_with_evidence() -> None:
    """Signal, code, address, module and offset."""
    with pytest.raises(NativeCrash, match="SIGSEGV SEGV_MAPERR null in libc") as caught:
        isolated(crash)(8)
    evidence = caught.value.evidence
    assert evidence is not None
    assert evidence.fault is not None
    assert (evidence.fault.signal, evidence.fault.address) == ("SIGSEGV", 8)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own
    assert (type(again), str(again), again.evidence) == (type(caught.value), str(caught.value), evidence)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_call_in_a_fork_of_a_fork_crashes_as_ever(depth: int) -> None:
    """Each fork has a record of its own, and what was in front of all in the first is not behind itself in the next."""
    nested = functools.reduce(lambda inner, _: isolated(inner), range(depth - 1), isolated(crash, deadline_s=30))
    with pytest.raises(NativeCrash) as caught:
        nested()
    evidence = caught.value.evidence
    assert evidence is not None
    assert evidence.fault is not None
    assert (evidence.fault.signal, evidence.fault.address, evidence.ended_by) == ("SIGSEGV", 8, EndedBy.SELF)


# The children of a process of pytest's are not ours to wait for: what waits for all has a process of its own.


def wait_for_all(*_: object) -> None:
    """Wait for whatever child has ended, as a handler of SIGCHLD may do."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.mark.parametrize("handler", [signal.SIG_IGN, wait_for_all], ids=["ignored", "waiting for all"])
def test_a_program_that_minds_its_children_loses_no_status(handler: Any) -> None:
    """Its handler is there in the call, and again afterwards."""

    @isolated
    def program() -> None:
        signal.signal(signal.SIGCHLD, handler)
        assert isolated(lambda: signal.getsignal(signal.SIGCHLD))() == handler
        with pytest.raises(NativeCrash, match="SIGSEGV"):
            isolated(crash)()
        assert signal.getsignal(signal.SIGCHLD) == handler

    program()


def test_a_handler_finds_what_ended_meanwhile() -> None:
    """It is called once more after the call, and sees a child of the program's own that has ended beside it."""

    @isolated
    def program() -> None:
        seen: list[int] = []
        signal.signal(signal.SIGCHLD, lambda *_: seen.append(os.waitpid(-1, os.WNOHANG)[0]))
        own = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        fd = os.pidfd_open(own)

        def end() -> None:
            os.kill(own, signal.SIGKILL)
            select.select([fd], [], [])

        isolated(end)()
        assert seen == [own]

    program()


def test_a_status_that_a_thread_takes_is_told_as_lost() -> None:
    """With what to do about it; the thread waits for all children of the process."""

    @isolated
    def program() -> None:
        def take() -> None:
            while True:
                wait_for_all()

        threading.Thread(target=take, daemon=True).start()
        with pytest.raises(InfraError, match=r"the status of a fork is lost: .*fresh=True"):
            [isolated(int)() for _ in range(10_000)]

    program()


def test_a_call_that_closes_all_descriptors_returns(tmp_path: Path) -> None:
    """As a daemon does; and a file of its own that has the number of ours then is left alone."""
    mine = tmp_path / "mine"
    mine.write_text("mine")

    def call() -> int:
        os.closerange(3, 1000)
        return len([os.open(mine, os.O_RDWR) for _ in range(100)])

    assert isolated(call)() == 100
    assert mine.read_text() == "mine"


def test_crashes_at_different_places_are_different_exceptions() -> None:
    """So that Hypothesis reports both."""
    kinds = set()
    for call in (functools.partial(crash), lambda: ctypes.memset(8, 0, 1), os.abort):
        with pytest.raises(NativeCrash) as caught:
            isolated(call)()
        kinds.add(caught.type)
    assert len(kinds) == 3


def test_an_exit_is_no_return() -> None:
    """Whatever its status; a crash in a thread is a crash."""
    with pytest.raises(NativeCrash, match="left with exit status 0"):
        isolated(os._exit)(0)

    def in_thread() -> None:
        thread = threading.Thread(target=crash)
        thread.start()
        thread.join()

    with pytest.raises(NativeCrash, match="SIGSEGV"):
        isolated(in_thread)()


def test_a_call_that_takes_too_long_is_killed() -> None:
    """At its deadline."""
    with pytest.raises(NativeCrash, match="SIGKILL by the deadline"):
        isolated(ctypes.CDLL(None).pause, deadline_s=0.05)()


@pytest.mark.slow
def test_a_new_process_for_what_a_fork_would_break() -> None:
    """With a memory limit; function and arguments must be picklable."""
    assert isolated(divmod, fresh=True)(7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        isolated(divmod, fresh=True)(7, 0)
    with pytest.raises(NativeCrash, match="SIGSEGV"):
        isolated(ctypes.string_at, fresh=True)(8)
    with pytest.raises(harness.InvalidInputError, match="picklable"):
        isolated(lambda: 1, fresh=True)()


def test_wrong_options_are_refused() -> None:
    """Before anything runs."""
    with pytest.raises(harness.InvalidInputError, match="deadline_s"):
        isolated(crash, deadline_s=-1)
    with pytest.raises(harness.InvalidInputError, match="fresh=True"):
        isolated(crash, memory_bytes=1)
    with pytest.raises(harness.InvalidInputError, match=r"expected a function, .* not 3"):
        isolated(3)  # type: ignore[arg-type]  # the mistake


def test_examples_that_do_not_crash_again_are_no_skip() -> None:
    """A crash that is not found again leaves a test that has run: it passes, and what is wrong otherwise fails."""
    plain = settings(max_examples=20, database=None)

    @plain
    @given(st.integers())
    def passes(number: int) -> None:
        assert isinstance(number, int)

    @plain
    @given(st.integers())
    def fails(number: int) -> None:
        assert number < 0

    with isolated_examples(None):
        passes()
        with pytest.raises(AssertionError):
            fails()
