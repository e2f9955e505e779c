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

import msgspec
import psutil
import pytest

import harness
from harness import Fault, InfraError, InvalidInputError, Limits, Policy, Run
from harness.child import function as job
from harness.child.function import CHANNEL_BYTES, CHANNEL_FD, MOST_TEXT
from harness.supervisor import channel
from harness.wire.errors import parse_error
from harness.wire.schema import Schema

THREE = Policy(3, {"maxAttempts": 3, "minTimeoutInMs": 10, "factor": 1, "randomize": False})


class AbortTaskRunError(Exception):
    """What upstream's tasks throw in order not to be retried."""


def add(left: int, right: int = 0) -> dict[str, int]:
    """Return."""
    return {"sum": left + right}


def hidden() -> None:
    """Stands under another name than it says."""


hidden.__qualname__ = "add"


def closed_over() -> Any:
    """Return a closure."""

    def inner() -> None:
        """Can't be imported."""

    return inner


def echo(**given: Any) -> dict[str, Any]:
    """Return."""
    return given


def fail_twice_removed() -> None:
    """Raise from what was raised while something else was handled."""
    try:
        try:
            os.stat("/no/such/file")  # noqa: PTH116 -- it raises
        except OSError:
            dict[str, int]()["here"]
    except KeyError as error:
        raise ValueError("broken") from error


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


def deep(levels: int) -> list[Any]:
    """Nest a list."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


class Liar(dict[str, int]):
    """A table that has no items."""

    def items(self) -> Any:
        """Raise."""
        raise RuntimeError("no items")


class Mute(Exception):  # noqa: N818 -- a name of the user's
    """An error without words."""

    def __str__(self) -> str:
        raise KeyError


def fail_oddly() -> None:
    """Raise with half a character."""
    raise ValueError("\ud800")


def fail_at_length() -> None:
    """Raise with more text than anybody reads."""
    raise ValueError("x" * (CHANNEL_BYTES + 1))


def fail_mutely() -> None:
    """Raise what raises when it is asked."""
    raise Mute


async def later(number: int) -> int:
    """Return, after a turn of the loop."""
    await asyncio.sleep(0)
    return number * 2


def chatter() -> int:
    """Print what looks like an answer: output is the function's own."""
    sys.stdout.write('{"value": 2}')
    return 1


def hang() -> None:
    """Never return."""
    signal.pause()


@pytest.mark.long
def test_a_value_comes_back() -> None:
    """Arguments go out and the result comes back as JSON."""
    run = harness.run(harness.call(add, 2, right=3))
    assert (run.status, run.value, len(run.attempts)) == ("COMPLETED_SUCCESSFULLY", {"sum": 5}, 1)
    assert harness.run(chatter).value == 1


@pytest.mark.long
def test_a_crash_of_a_function_is_retried(tmp_path: Path) -> None:
    """Twice a real NULL dereference in a C library, then a value: flaky."""
    run = harness.run(harness.call(crash_until, str(tmp_path / "marks"), 2), THREE)
    assert [str(attempt.evidence.termination) for attempt in run.attempts] == ["SIGSEGV", "SIGSEGV", "exited 0"]
    assert (run.value, run.is_flaky) == ("after 2", True)


@pytest.mark.long
def test_a_raised_exception_is_a_thrown_error() -> None:
    """It is retried with the worker's own settings, at once and not by look-up; its text and stack come along."""
    run = harness.run(harness.call(fail, "broken"), THREE)
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


@pytest.mark.long
@pytest.mark.parametrize(
    ("policy", "attempts"), [(Policy(), 1), (Policy(5, retry=None), 1), (Policy(2, {"maxAttempts": 5}), 2)]
)
def test_a_thrown_error_follows_the_policy(policy: Policy, attempts: int) -> None:
    """None means one attempt; the run's max attempts overwrite the policy's."""
    assert len(harness.run(harness.call(fail, "broken"), policy).attempts) == attempts


@pytest.mark.parametrize(
    ("dialect", "causes"), [("upstream-4.8", ["KeyError", "FileNotFoundError"]), ("upstream-4.5", [])]
)
def test_a_thrown_error_has_its_causes(dialect: str, causes: list[str]) -> None:
    """What it was raised from, the nearest first, where the version knows of causes; and the trail names them."""
    run = harness.run(fail_twice_removed, dialect=dialect)
    error = run.attempts[0].error
    assert error is not None
    assert [one.name for one in error.causes or ()] == causes
    assert run.error is not None
    assert [one.name for one in run.error.causes or ()] == causes
    assert ("caused by FileNotFoundError: " in str(run)) == bool(causes)


def test_an_abort_is_not_retried() -> None:
    """By its name, as upstream has it."""
    assert len(harness.run(give_up, THREE).attempts) == 1


def test_the_wait_status_outranks_the_answer() -> None:
    """A value that was there before the crash is none."""
    run = harness.run(answer_and_die)
    assert (run.status, run.value) == ("CRASHED", None)


@pytest.mark.parametrize("job", [harness.call(leave, 0), scribble], ids=["leaves", "scribbles"])
def test_no_answer_is_no_success(job: Any) -> None:
    """Exit status 0 without a whole answer is a thrown error in words."""
    run = harness.run(job)
    assert run.attempts[0].error is not None
    assert run.attempts[0].error.name == "NoAnswer"
    again = parse_error(msgspec.to_builtins(run.attempts[0].error), Schema(causes=True))
    assert again == run.attempts[0].error  # a judge can take it
    assert run.status == "COMPLETED_WITH_ERRORS"


def test_an_exit_is_an_exit() -> None:
    """Status 3 is the classifier's business."""
    assert str(harness.run(harness.call(leave, 3)).attempts[0].evidence.termination) == "exited 3"


RESULTS: dict[str, tuple[Any, str]] = {
    "a set": ({1, 2}, "its result: a value of type set is nothing that JSON has"),
    "no number": (float("nan"), "its result: Out of range float values"),
    "a lone surrogate": ({"key": "\ud800"}, r"its result: a text with a lone surrogate, '\\ud800', can't travel"),
    "itself": (deep(300), "its result: nested deeper than 200"),
    "more than fits": ("x" * CHANNEL_BYTES, "of which 4194286 fit"),
    "digits without end": (10**5000, "4300 digits"),
    "an object that lies": (Liar(a=1), "its result: no items"),
}


def give(name: str, path: str) -> object:
    """Note that it was called, and return what can't travel."""
    with Path(path).open("a") as notes:
        notes.write("x")
    return RESULTS[name][0]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_can_not_travel_is_told_once(name: str, tmp_path: Path) -> None:
    """It is the caller's mistake: no attempt is made again, with a history neither, since side effects are done."""
    notes = tmp_path / "notes"
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=f"test_jobs:give: .*{RESULTS[name][1]}"):
            harness.run(harness.call(give, name, str(notes)), THREE, history=tmp_path / "h")
    assert notes.read_text() == "x"


def test_what_is_raised_always_travels() -> None:
    """A lone surrogate is escaped, a text that is too long is cut, and one that can't be had is named."""
    surrogate, long, mute = (harness.run(job).attempts[0].error for job in (fail_oddly, fail_at_length, fail_mutely))
    assert surrogate is not None
    assert (surrogate.name, surrogate.message) == ("ValueError", "\\ud800")
    assert long is not None
    assert len(str(long.message)) == MOST_TEXT
    assert mute is not None
    assert (mute.name, mute.message) == ("Mute", "a text that can't be had: KeyError")


def test_an_async_function_runs() -> None:
    """What it awaits is awaited, in a loop of its own."""
    assert harness.run(harness.call(later, 2)).value == 4


def test_a_deadline_bounds_a_function() -> None:
    """It is ended, and timed out."""
    assert harness.run(hang, timeout_s=0.2).status == "TIMED_OUT"


def test_faults_and_commands_are_jobs() -> None:
    """Each in its own words, under each dialect."""
    fault = harness.run(Fault("null_read"), THREE, dialect="upstream-4.4")
    assert (fault.status, len(fault.attempts)) == ("CRASHED", 1)
    command = harness.run(["sh", "-c", "kill -SEGV $$"], THREE, dialect="strict", limits=Limits(processes=50))
    assert (command.status, len(command.attempts)) == ("CRASHED", 3)
    assert harness.run(["true"]).status == "COMPLETED_SUCCESSFULLY"


def test_a_run_prints_its_trail() -> None:
    """A line an attempt, and the status."""
    text = str(harness.run(Fault("null_read"), THREE))
    first = text.splitlines()[0]
    assert first.startswith("attempt 1 on small-1x: SIGSEGV, SEGV_MAPERR at 0x0 in ")
    assert first.endswith("; segmentation_fault; TASK_PROCESS_SIGSEGV; retry (policy) in 10 ms")
    assert text.splitlines()[-1] == "CRASHED"


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (lambda: 1, "job: .*a lambda has no name"),
        (functools.partial(add, 1), "job: .*give a function, and its arguments by harness.call"),
        (closed_over(), "job: .*it is defined inside another function"),
        (Path("x").exists, "job: .*a method of an object stays with it"),
        (hidden, "job: .*test_jobs:add is something else"),
        (None, "job: expected a fault, a list of words, a function or a harness.call, not None"),
        ("true", "job: expected a fault, a list of words, a function or a harness.call, not 'true'"),
        (["sh", 1], "job: expected a fault, a list of words"),
        ([], "job: expected a fault, a list of words"),
        (add, r"arguments of test_jobs:add: missing a required argument: 'left'"),
        (Fault("refused_allocation"), "limits.memory_bytes: expected, since refused_allocation runs under a limit"),
    ],
    ids=[
        "lambda",
        "partial",
        "closure",
        "method",
        "another's name",
        "None",
        "text",
        "number",
        "empty",
        "bare",
        "hungry",
    ],
)
def test_what_is_no_job_is_wrong_use(job: Any, message: str) -> None:
    """One sentence that says what to do, and nothing was started."""
    with pytest.raises(InvalidInputError, match=message):
        harness.run(job)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"left": object()}, "arguments of test_jobs:add: a value of type object is nothing that JSON has"),
        ({"left": "x" * CHANNEL_BYTES}, "of which 4194286 fit"),
        ({"left": "x" * (CHANNEL_BYTES - 100)}, "which do not fit"),
        ({"left": "\ud800"}, "a lone surrogate"),
        ({"left": deep(300)}, "nested deeper than 200"),
        ({"left": 1, "timeout_s": 3}, "got an unexpected keyword argument 'timeout_s'"),
    ],
    ids=["object", "huge", "too large with its path", "surrogate", "deep", "an option of ours"],
)
def test_arguments_that_can_not_travel_are_wrong_use(arguments: dict[str, Any], message: str) -> None:
    """They are refused where they are written, by name of the function."""
    with pytest.raises(InvalidInputError, match=message):
        harness.call(add, **arguments)


def test_the_harness_takes_nothing_from_the_job() -> None:
    """Arguments that are called as options of ours are the function's; a misspelt option is nobody's."""
    given = {"name": "a", "seed": 1, "limits": 2, "history": "h", "timeout_s": 3, "function": 4}
    assert harness.run(harness.call(echo, **given)).value == given
    with pytest.raises(TypeError, match="timeout"):
        harness.run(echo, timeout=3)  # type: ignore[call-arg]  # which is what is tested


def test_a_job_that_can_not_start_is_no_crash() -> None:
    """INFRA, as an exception of its own."""
    with pytest.raises(InfraError, match="can't be executed"):
        harness.run(["/no/such/program"])


def test_two_jobs_beside_the_event_loop() -> None:
    """Both at once, and both come back."""

    async def both() -> tuple[Run, Run]:
        return await asyncio.gather(
            harness.run_async(harness.call(add, 1)), harness.run_async(Fault("null_read"), THREE)
        )

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
    with channel.open_channel(harness.call(add, 1).question()) as fd:
        assert channel.answer(fd) is None  # what was asked is no answer
        several = b'{"value": 1, "mistake": "x"}'
        for payload in (b"", b"[]", b"{", b"{}", b"[" * 100_000, several, b'{"other": 1}', b"\xff"):
            os.pwrite(fd, job.pack(payload), 0)
            assert channel.answer(fd) is None
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(fd, 1)


def test_the_public_names_are_there() -> None:
    """__all__ is what the package offers, sorted, each with a docstring."""
    assert sorted(harness.__all__) == harness.__all__
    assert all(inspect.getdoc(getattr(harness, name)) for name in harness.__all__)
