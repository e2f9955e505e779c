"""Fixed questions for a retry engine: requests, and errors to be stored, by name. Evidence: harness.gate.deaths. Pure.

The scenarios show what real crashes look like; this shows every code, rule, step and limit to the gate, those too that
no scenario meets. Where the answer turns on a number, both sides of it are asked. Names and numbers are spelt out here:
taken from the tables that are asked about, they would change along with them and hide the change.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness.gate.deaths import HEAP_TEXTS
from harness.wire.codes import Code
from harness.wire.errors import Cause, Kind, TaskError, internal
from harness.wire.request import Request, RunSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

MACHINES: Final = ("micro", "small-1x", "small-2x", "medium-1x", "medium-2x", "large-1x", "large-2x")
FFMPEG_KILLED: Final = "ffmpeg was killed with signal SIGKILL"
MANUAL_OOM: Final = "MANUAL_OOM_KILL_ERROR"
EXITED: Final = Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE
TICK: Final = 1_700_000_000_000


def policy(**members: Any) -> dict[str, Any]:
    """A stored policy without jitter."""
    return {"maxAttempts": 5, "randomize": False, **members}


LARGER: Final = {"outOfMemory": {"machine": "medium-1x"}}
RUN: Final = RunSettings(5, policy(), "small-1x")
BROUGHT: Final = Settings(TICK + 250, 250)
PLAIN: Final = internal(EXITED, "Process exited with code 1 after signal null.")
KILL: Final = internal(EXITED, "Process exited with code -1 after signal SIGKILL.")


def _ask(error: TaskError, **members: Any) -> Request:
    return Request(error, **{"attempt": 1, "run": RUN, "now": TICK, "random": 0.5, **members})


@cache
def of_code(code: str) -> dict[str, Request]:
    """Three requests about a code: is the policy looked up, is a retry allowed at all, is the machine changed."""
    error, larger = internal(code, "message", "stack"), RunSettings(5, policy(**LARGER), "small-1x")
    return {
        "looked_up": _ask(error),
        "retriable": _ask(error, retry_settings=BROUGHT),
        "moved": _ask(error, run=larger),
    }


@cache
def requests() -> dict[str, Request]:
    """Every request by its name, but those of `of_code`."""
    parts = (
        _attempts(),
        _budgets(),
        _policies(),
        _brought(),
        _memory_ran_out(),
        _texts_searched(),
        _kinds(),
        _platform(),
        _swept(),
    )
    return {name: one for part in parts for name, one in part}


def _attempts() -> Iterator[tuple[str, Request]]:
    generous = RunSettings(1000, policy(maxAttempts=1000), "small-1x")
    for attempt in (None, 0, 1, 2, 3, 11, 12, 13, 100, 249, 250, 251, 252, 998, 1000):
        yield f"attempt {attempt} of 1000", _ask(PLAIN, attempt=attempt, run=generous)
        forced = {"retry_settings": BROUGHT, "force_requeue": True}
        yield f"attempt {attempt} of 1000, requeued", _ask(PLAIN, attempt=attempt, run=generous, **forced)


def _swept() -> Iterator[tuple[str, Request]]:
    """Every attempt, every pair of machines, and numbers on both sides of whatever may be compared with them."""
    generous = RunSettings(1000, policy(maxAttempts=1000), "small-1x")
    for attempt in range(1, 252):
        yield f"swept, attempt {attempt}", _ask(PLAIN, attempt=attempt, run=generous)
    for here, there in product(MACHINES, repeat=2):
        run = RunSettings(5, policy(outOfMemory={"machine": there}), here)
        yield f"swept, OOM from {here} to {there}", _ask(KILL, run=run)
    for factor, attempt in product((0.5, 0.999, 1, 1.0001, 1.1, 2, 2.5, 10, 1e6), (1, 2, 3, 7)):
        run = RunSettings(9, policy(maxAttempts=9, factor=factor), "small-1x")
        yield f"swept, factor {factor}, attempt {attempt}", _ask(PLAIN, attempt=attempt, run=run)
    for now in (0, 1, 0.5, TICK - 1, TICK, 2**42, 2**53 - 1):
        yield f"swept, now {now}", _ask(PLAIN, now=now)
    drawn = RunSettings(9, {"maxAttempts": 9}, "small-1x")
    for draw in (0.0, 1e-9, 0.1, 0.25, 0.49, 0.5, 0.51, 0.75, 0.9, 0.999999):
        yield f"swept, draw {draw}", _ask(PLAIN, random=draw, run=drawn)


def _platform() -> Iterator[tuple[str, Request]]:
    """Yield what only upstream-v1 looks at: failures that the platform reports, and its threshold for the queue."""
    for name, one in (*_attempts(), *_policies()):
        yield f"{name}, by the platform", msgspec.structs.replace(one, reported_by_platform=True)
    for delay in (29_999, 30_000, 30_001):
        yield f"worker's settings of {delay} ms", _ask(PLAIN, retry_settings=Settings(delay, delay))


def _budgets() -> Iterator[tuple[str, Request]]:
    for attempt, of_run, of_policy in product((None, 1, 2, 3, 4), (None, 0, 1, 3), (0, 1, 3)):
        run = RunSettings(of_run, policy(maxAttempts=of_policy), "small-1x")
        yield f"attempt {attempt}, run {of_run}, policy {of_policy}", _ask(PLAIN, attempt=attempt, run=run)
    exhausted = {"attempt": 5, "retry_settings": BROUGHT}
    yield "worker's settings, run exhausted", _ask(PLAIN, **exhausted)
    yield "worker's settings, no run", _ask(PLAIN, run=None, retry_settings=BROUGHT)
    yield "not retriable, attempt 251", _ask(internal(Code.UNSPECIFIED_ERROR), attempt=251)
    yield "not looked up, attempt 251", _ask(internal(Code.TASK_INPUT_ERROR), attempt=251)
    yield "no run", _ask(PLAIN, run=None)
    yield "no run, cancelled", _ask(internal(Code.TASK_RUN_CANCELLED, "by me"), run=None)
    yield "no run, not retriable", _ask(internal(Code.TASK_INPUT_ERROR), run=None)


POLICIES: Final[dict[str, Any]] = {
    "null": None,
    "empty": {},
    "a text": "3",
    "a list": [],
    "maxAttempts a text": {"maxAttempts": "3"},
    "maxAttempts 2.5": {"maxAttempts": 2.5},
    "maxAttempts null": {"maxAttempts": None},
    "maxAttempts -1": {"maxAttempts": -1},
    "unknown member": {"maxAttempts": 5, "surprise": 1},
    "unknown machine": {"maxAttempts": 5, "outOfMemory": {"machine": "tiny"}},
    "factor 0": policy(factor=0),
    "factor 1.5": policy(factor=1.5),
    "factor -1": policy(factor=-1),
    "factor 1e300": policy(factor=1e300),
    "factor NaN": policy(factor=float("nan")),
    "minTimeoutInMs 0": policy(minTimeoutInMs=0),
    "maxTimeoutInMs 0": policy(maxTimeoutInMs=0),
    "maxTimeoutInMs 1500": policy(maxTimeoutInMs=1500),
    "randomize null": {"maxAttempts": 5, "randomize": None},
    "beyond 2^53": policy(minTimeoutInMs=2**53 + 1, maxTimeoutInMs=2**60),
    "beyond doubles": policy(maxAttempts=10**400),
    "the largest safe integer": policy(minTimeoutInMs=2**53 - 1, factor=1, maxTimeoutInMs=9),
    "beyond safe integers": policy(minTimeoutInMs=2**53, factor=1, maxTimeoutInMs=9),
    "factor infinite": policy(factor=float("inf")),
    "halves up": policy(minTimeoutInMs=1, factor=0.5),
    "least cap": policy(minTimeoutInMs=60_001),
}


def _policies() -> Iterator[tuple[str, Request]]:
    for (name, stored), attempt in product(POLICIES.items(), (1, 2)):
        yield f"policy {name}, attempt {attempt}", _ask(PLAIN, attempt=attempt, run=RunSettings(9, stored, "small-1x"))
    long = RunSettings(100, {"maxAttempts": 100}, "small-1x")
    for attempt, draw in product((1, 2, 5, 6, 7, 8), (None, 0.0, 0.999)):
        yield f"delay of attempt {attempt}, draw {draw}", _ask(PLAIN, attempt=attempt, random=draw, run=long)
    for attempt in (1, 2, 3):
        yield f"default attempts, attempt {attempt}", _ask(PLAIN, attempt=attempt, run=RunSettings(9, {}, "small-1x"))
    for wait in range(2**53 - 1, 2**53 + 3):
        huge = RunSettings(9, policy(minTimeoutInMs=wait, maxTimeoutInMs=2**60, factor=1), "small-1x")
        yield f"delay of {wait}", _ask(PLAIN, now=0, run=huge)


def _brought() -> Iterator[tuple[str, Request]]:
    for delay, queued in product((-5, 0, 250, 29_999, 30_000, 30_001), (False, True)):
        how = {"retry_settings": Settings(TICK + delay, delay), "force_requeue": queued}
        yield f"worker's {delay} ms{', requeued' if queued else ''}", _ask(PLAIN, **how)
    bare = RunSettings(5, None, "small-1x")
    yield "worker's settings without a policy", _ask(PLAIN, run=bare, retry_settings=BROUGHT)


def _memory_ran_out() -> Iterator[tuple[str, Request]]:
    for here, there in pairwise((*MACHINES, "micro")):
        run = RunSettings(1, policy(outOfMemory={"machine": there}), here)
        yield f"OOM on {here}, policy names {there}", _ask(KILL, run=run)
    ooms = {
        "no machine in it": RunSettings(5, policy(), "small-1x"),
        "empty member": RunSettings(5, policy(outOfMemory={}), "small-1x"),
        "same machine": RunSettings(5, policy(outOfMemory={"machine": "small-1x"}), "small-1x"),
        "no machine known": RunSettings(5, policy(**LARGER), None),
        "no delay": RunSettings(5, policy(minTimeoutInMs=0, **LARGER), "small-1x"),
        "no policy": RunSettings(5, None, "small-1x"),
        "no run attempts": RunSettings(None, policy(**LARGER), "small-1x"),
    }
    for error, (name, run) in product((KILL, internal(Code.TASK_PROCESS_MAYBE_OOM_KILLED)), ooms.items()):
        yield f"OOM {'raw' if error is KILL else 'maybe'}, {name}", _ask(error, run=run)
    larger = RunSettings(1, policy(maxAttempts=1000, **LARGER), "small-1x")
    for attempt in (None, 4, 5, 250, 251):
        yield f"OOM, attempt {attempt}", _ask(KILL, attempt=attempt, run=larger)
    yield "OOM, worker's settings", _ask(KILL, run=larger, retry_settings=BROUGHT)
    yield "OOM, no run", _ask(KILL, run=None)


def _texts_searched() -> Iterator[tuple[str, Request]]:
    larger = RunSettings(5, policy(**LARGER), "small-1x")
    words = ("SIGTERM", "SIGSEGV", "SIGKILL", "SIGABRT", "SIGBUS")
    for word, status, stack in product(words, (-1, 1), ("", *HEAP_TEXTS)):
        message = f"Process exited with code {status} after signal {word}."
        yield f"{message} {stack}".rstrip(), _ask(internal(EXITED, message, stack), run=larger)
    for word, lead in product(words[:4], (92, 93, 94)):
        yield f"{word} after {lead} units", _ask(internal(EXITED, "x" * lead + word))
    for first, second in product(words[:4], repeat=2):
        yield f"{first} before {second}", _ask(internal(EXITED, f"code 1 {first} {second}"))
    yield "no message", _ask(internal(EXITED))


def _kinds() -> Iterator[tuple[str, Request]]:
    unexpected = "Unexpected exit with code -1 after signal SIGSEGV"
    errors = {
        "built-in": TaskError(Kind.BUILT_IN, name="Error", message="boom", stack_trace="at f"),
        "custom": TaskError(Kind.CUSTOM, raw="{}"),
        "string": TaskError(Kind.STRING, raw="boom"),
        "ffmpeg": TaskError(Kind.BUILT_IN, name="Error", message=FFMPEG_KILLED, stack_trace=""),
        "ffmpeg, more words": TaskError(Kind.BUILT_IN, name="Error", message=f"{FFMPEG_KILLED}!", stack_trace=""),
        "ffmpeg, other name": TaskError(Kind.BUILT_IN, name="Other", message=FFMPEG_KILLED, stack_trace=""),
        "manual OOM": TaskError(Kind.BUILT_IN, name="X", message=MANUAL_OOM, stack_trace=""),
        "manual OOM, more words": TaskError(Kind.BUILT_IN, name="X", message=f"{MANUAL_OOM}!", stack_trace=""),
        "unexpected exit": TaskError(
            Kind.BUILT_IN, name="UnexpectedExitError", message=unexpected, stack_trace="SIGSEGV"
        ),
        "unexpected exit 1": TaskError(
            Kind.BUILT_IN, name="UnexpectedExitError", message="Unexpected exit with code 1", stack_trace="SIGSEGV"
        ),
        "deadlock": TaskError(
            Kind.BUILT_IN, name="TriggerApiError", message="Deadlock detected: x", stack_trace="at f"
        ),
        "built-in with causes": _caused(Cause("first", "TypeError"), Cause("second")),
        "deadlock with causes": msgspec.structs.replace(
            _caused(Cause("first")), name="TriggerApiError", message="Deadlock detected: x"
        ),
        "other API error": TaskError(Kind.BUILT_IN, name="TriggerApiError", message="429", stack_trace="at f"),
        "unknown type": TaskError("NOPE"),
        "unknown code": internal("NOPE"),
        "no code": TaskError(Kind.INTERNAL),
    }
    larger = RunSettings(5, policy(**LARGER), "small-1x")
    for name, error in errors.items():
        yield f"{name}", _ask(error, run=larger)
        yield f"{name}, worker's settings", _ask(error, run=larger, retry_settings=BROUGHT)


# --- what is stored ---


@cache
def texts() -> dict[str, TaskError]:
    """Errors whose texts are at the limits of what is stored, by name."""
    made = {f"message of {n}": internal(EXITED, "m" * n) for n in (0, 999, 1000, 1001)}
    made |= {f"message of {n} pairs": internal(EXITED, "\U0001f4a5" * n) for n in (500, 501)}
    made |= {f"line of {n}": internal(EXITED, None, f"Error\n    at {'l' * (n - 7)}") for n in (1023, 1024, 1025)}
    made |= {f"{n} frames": internal(EXITED, None, frames(n)) for n in (49, 50, 51, 60)}
    made |= {f"text of {n}": TaskError(Kind.STRING, raw="s" * n) for n in (1000, 1001)}
    made |= {f"value of {n}": TaskError(Kind.CUSTOM, raw="v" * n) for n in (1000, 1001)}
    made |= {f"{n} causes": _caused(*[Cause("c")] * n) for n in (1, 4, 5, 6)}
    made |= {f"name of {n} of a cause": _caused(Cause("", "n" * n)) for n in (0, 255, 256, 257)}
    made |= {f"{n} frames of a cause": _caused(Cause("", "", frames(n))) for n in (0, 9, 10, 11)}
    made |= {f"message of {n} of a cause": _caused(Cause("m" * n)) for n in (1000, 1001)}
    made["NULs of a cause"] = _caused(Cause("a\0b", "c\0d", "e\0f"))
    made["NULs"] = TaskError(Kind.BUILT_IN, name="a\0b", message="c\0d", stack_trace="e\0f")
    made["unknown"] = TaskError("NOPE")
    made |= {f"frame after U+{ord(c):04X}": internal(EXITED, None, frames(60, f"{c}at first")) for c in SPACES}
    return made


def _caused(*causes: Cause) -> TaskError:
    return TaskError(Kind.BUILT_IN, name="Error", message="boom", stack_trace="", causes=causes)


# White space of JavaScript, and four that only Python strips.
SPACES: Final = (
    "\t\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff\x1c\x1d\x1e\x85"
)


def frames(count: int, first: str = "Error: boom") -> str:
    """A stack trace of so many frames, each another, after a first line."""
    return "\n".join([first, *(f"    at f{number} (file.js:{number})" for number in range(count))])
