"""harness.run: faults, commands and functions; what they return, raise or die of comes back as it was."""

import asyncio
import ctypes
import functools
import inspect
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness
from harness import Fault, InfraError, InvalidInputError, Limits, Policy, Run
from harness.child import function as job
from harness.child.function import CHANNEL_BYTES, CHANNEL_FD
from harness.dialects import find
from harness.supervisor import channel

THREE = Policy(3, {"maxAttempts": 3, "minTimeoutInMs": 10, "factor": 1, "randomize": False})


class AbortTaskRunError(Exception):
    """What upstream's tasks throw in order not to be retried."""


def add(left: int, right: int = 0) -> dict[str, int]:
    """Return."""
    return {"sum": left + right}


def fail(text: str) -> None:
    """Raise."""
    raise ValueError(text)


def give_up() -> None:
    """Raise what is not retried."""
    raise AbortTaskRunError("enough")


def crash_until(path: str, times: int) -> str:
    """Dereference NULL the first times, then return."""
    marks = Path(path)
    marks.write_text(marks.read_text() + "x" if marks.exists() else "x")
    if len(marks.read_text()) <= times:
        ctypes.string_at(0)
    return f"after {times}"


def leave(status: int) -> None:
    """End the process without an answer."""
    os._exit(status)


def answer_and_die() -> None:
    """Claim success on the channel, and crash."""
    os.pwrite(CHANNEL_FD, job.pack(b'{"value": "all is well"}'), 0)
    os.kill(os.getpid(), signal.SIGSEGV)


def scribble() -> None:
    """Write garbage where the answer goes, and leave."""
    os.pwrite(CHANNEL_FD, os.urandom(4096), 0)
    os._exit(0)


def unspeakable() -> object:
    """Return what JSON can't hold."""
    return {1, 2}


def huge() -> str:
    """Return more than fits."""
    return "x" * CHANNEL_BYTES


def chatter() -> int:
    """Print what looks like an answer: output is the function's own."""
    sys.stdout.write('{"value": 2}')
    return 1


def hang() -> None:
    """Never return."""
    signal.pause()


def test_a_value_comes_back() -> None:
    """Arguments go out and the result comes back as JSON."""
    run = harness.run(add, Policy(), 2, right=3)
    assert (run.status, run.value, len(run.attempts)) == ("COMPLETED_SUCCESSFULLY", {"sum": 5}, 1)
    assert harness.run(chatter).value == 1


def test_a_crash_of_a_function_is_retried(tmp_path: Path) -> None:
    """Twice a real NULL dereference in a C library, then a value: flaky."""
    run = harness.run(crash_until, THREE, str(tmp_path / "marks"), 2)
    assert [str(attempt.evidence.termination) for attempt in run.attempts] == ["SIGSEGV", "SIGSEGV", "exited 0"]
    assert (run.value, run.is_flaky) == ("after 2", True)


def test_a_raised_exception_is_a_thrown_error() -> None:
    """It is retried with the worker's own settings, at once and not by look-up; its text and stack come along."""
    run = harness.run(fail, THREE, "broken")
    error = run.attempts[0].error
    assert error is not None
    assert (error.type, error.name, error.message) == ("BUILT_IN_ERROR", "ValueError", "broken")
    assert "in fail" in str(error.stack_trace)
    assert [str(attempt.decision.branch) for attempt in run.attempts if attempt.decision] == [
        "worker-settings",
        "worker-settings",
        "run-max-attempts",
    ]
    assert run.status == "COMPLETED_WITH_ERRORS"


@pytest.mark.parametrize(("policy", "attempts"), [(Policy(), 1), (Policy(5), 1), (Policy(2, {"maxAttempts": 5}), 2)])
def test_a_thrown_error_follows_the_policy(policy: Policy, attempts: int) -> None:
    """None means one attempt; the run's max attempts overwrite the policy's."""
    assert len(harness.run(fail, policy, "broken").attempts) == attempts


def test_an_abort_is_not_retried() -> None:
    """By its name, as upstream has it."""
    assert len(harness.run(give_up, THREE).attempts) == 1


def test_the_wait_status_outranks_the_answer() -> None:
    """A value that was there before the crash is none."""
    run = harness.run(answer_and_die)
    assert (run.status, run.value) == ("CRASHED", None)


@pytest.mark.parametrize("function", [leave, scribble])
def test_no_answer_is_no_success(function: Any) -> None:
    """Exit status 0 without a whole answer is a thrown error in words."""
    run = harness.run(function, Policy(), *([0] if function is leave else []))
    assert run.attempts[0].error is not None
    assert run.attempts[0].error.name == "NoAnswer"
    assert run.status == "COMPLETED_WITH_ERRORS"


def test_an_exit_is_an_exit() -> None:
    """Status 3 is the classifier's business."""
    assert str(harness.run(leave, Policy(), 3).attempts[0].evidence.termination) == "exited 3"


@pytest.mark.parametrize(("function", "name"), [(unspeakable, "TypeError"), (huge, "OverflowError")])
def test_what_can_not_travel_is_said(function: Any, name: str) -> None:
    """A result that JSON or the channel can't hold is a thrown error."""
    error = harness.run(function).attempts[0].error
    assert error is not None
    assert error.name == name


def test_a_deadline_bounds_a_function() -> None:
    """It is ended, and timed out."""
    assert harness.run(hang, timeout_s=0.2).status == "TIMED_OUT"


def test_faults_and_commands_are_jobs() -> None:
    """Each in its own words, under each dialect."""
    fault = harness.run(Fault("null_read"), THREE, dialect="upstream-4.4")
    assert (fault.status, len(fault.attempts)) == ("CRASHED", 1)
    command = harness.run(["sh", "-c", "kill -SEGV $$"], THREE, dialect=find("strict"), limits=Limits(processes=50))
    assert (command.status, len(command.attempts)) == ("CRASHED", 3)
    assert harness.run(["true"]).status == "COMPLETED_SUCCESSFULLY"


def test_a_run_prints_its_trail() -> None:
    """A line an attempt, and the status."""
    text = str(harness.run(Fault("null_read"), THREE))
    assert text.splitlines()[0] == (
        "attempt 1 on small-1x: SIGSEGV; segmentation_fault; TASK_PROCESS_SIGSEGV; retry (policy) in 10 ms"
    )
    assert text.splitlines()[-1] == "CRASHED"


@pytest.mark.parametrize(
    ("what", "arguments", "message"),
    [
        (lambda: 1, {}, "can't be imported"),
        (functools.partial(add, 1), {}, "can't be imported"),
        ("true", {}, "expected a fault, a list of words or a function"),
        (["sh", 1], {}, "expected a fault, a list of words or a function"),
        (["true"], {"left": 1}, "arguments are for functions"),
        (add, {"left": object()}, "arguments of test_jobs:add"),
        (add, {"left": "x" * CHANNEL_BYTES}, "fit"),
        (add, {"dialect": "upstream-9"}, "dialect: expected one of"),
    ],
)
def test_what_is_no_job_is_wrong_use(what: Any, arguments: dict[str, Any], message: str) -> None:
    """One sentence, and nothing was started."""
    with pytest.raises(InvalidInputError, match=message):
        harness.run(what, Policy(), **arguments)


def test_a_job_that_can_not_start_is_no_crash() -> None:
    """INFRA, as an exception of its own."""
    with pytest.raises(InfraError, match="can't be executed"):
        harness.run(["/no/such/program"])


def test_two_jobs_beside_the_event_loop() -> None:
    """Both at once, and both come back."""

    async def both() -> tuple[Run, Run]:
        return await asyncio.gather(harness.run_async(add, Policy(), 1), harness.run_async(Fault("null_read"), THREE))

    first, second = asyncio.run(both())
    assert (first.value, second.status) == ({"sum": 1}, "CRASHED")


def test_a_cancelled_task_leaves_nothing() -> None:
    """The victim is dead before the cancellation is told."""

    async def cut() -> float:
        task = asyncio.ensure_future(harness.run_async(hang))
        while not psutil.Process().children(recursive=True):  # noqa: ASYNC110 -- processes set no event
            await asyncio.sleep(0)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    assert asyncio.run(cut()) < 10
    assert psutil.Process().children(recursive=True) == []


def test_a_garbled_channel_never_raises() -> None:
    """Whatever a victim leaves there, the answer is whole or none."""
    with channel.open_channel("m", "f", [], {}) as fd:
        assert channel.answer(fd) is None  # what was asked is no answer
        for payload in (b"", b"[]", b"{", b"[" * 100_000, b'{"value": 1, "thrown": 2}', b'{"other": 1}', b"\xff"):
            os.pwrite(fd, job.pack(payload), 0)
            assert channel.answer(fd) is None
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(fd, 1)


def test_the_public_names_are_there() -> None:
    """__all__ is what the package offers, sorted, each with a docstring."""
    assert sorted(harness.__all__) == harness.__all__
    assert all(inspect.getdoc(getattr(harness, name)) for name in harness.__all__)
