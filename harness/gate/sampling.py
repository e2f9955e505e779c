"""Ten thousand seeded questions, drawn at random from all that evidence and requests can be. Pure.

The fixed questions ask what somebody thought of. A judge that is wrong where nobody thought, on one question of a
thousand drawn here, is found by these with a probability of 1 - 5e-5. Python promises the same numbers for a seed in
every version; a change of what is drawn is a new GENERATOR.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Memory, Signaled, Witness
from harness.gate.deaths import ALL_SIGNALS, CRASHES, HANDLER, HEAP_TEXTS, MIB, PAGE_64
from harness.gate.questions import FFMPEG_KILLED, MACHINES, MANUAL_OOM, TICK
from harness.wire.codes import Code
from harness.wire.errors import Kind, TaskError, internal
from harness.wire.request import Request, RunSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

GENERATOR: Final = 1
SEED: Final = 20
COUNT: Final = 10_000

T = TypeVar("T")

CODES: Final = tuple(Code)
INTENTS: Final = (EndedBy.SELF, EndedBy.SELF, EndedBy.SELF, EndedBy.SELF, *EndedBy)
WITNESSES: Final = (*[None] * len(Witness), *Witness)
STATUSES: Final = (*[0, 1, 134, 137, 139] * 25, *range(256))
SIGNALS: Final = (*CRASHES * 8, *["SIGKILL", "SIGTERM"] * 16, *ALL_SIGNALS)
SIGNAL_CODES: Final = (
    None,
    "SEGV_MAPERR",
    "SEGV_ACCERR",
    "SI_KERNEL",
    "SI_USER",
    "SI_QUEUE",
    "SI_TKILL",
    "BUS_ADRERR",
    "FPE_INTDIV",
)
TEXTS: Final = (
    "",
    "",
    "",
    HANDLER,
    *HEAP_TEXTS,
    "received SIGTERM",
    "received SIGSEGV",
    "boom",
    "Killed",
    "std::bad_alloc",
)
NAMES: Final = ("Error", "TypeError", "UnexpectedExitError", "TriggerApiError", "AbortTaskRunError", "X")
MESSAGES: Final = (
    "boom",
    FFMPEG_KILLED,
    MANUAL_OOM,
    "Unexpected exit with code -1 after signal SIGSEGV",
    "Unexpected exit with code -1 after signal SIGKILL",
    "Unexpected exit with code 1",
    "Deadlock detected: x",
    "SIGABRT, then SIGSEGV",
)
STRANGE_POLICIES: Final[tuple[Any, ...]] = (
    None,
    {},
    "3",
    [],
    {"maxAttempts": "3"},
    {"maxAttempts": 2.5},
    {"maxAttempts": -1},
)
MEMBERS: Final[dict[str, tuple[Any, ...]]] = {
    "factor": (0, 0.5, 1, 1.5, 2, 10),
    "minTimeoutInMs": (0, 1, 100, 1000, 60_001),
    "maxTimeoutInMs": (0, 1, 1500, 60_000),
    "randomize": (True, False),
    "outOfMemory": ({}, *({"machine": machine} for machine in MACHINES)),
}
WORDS: Final = ("SIGTERM", "SIGSEGV", "SIGKILL", "SIGABRT", "SIGBUS", "null")


class Draws:
    """A stream of values that is the same on every version of Python: it rests on `Random.random` alone."""

    def __init__(self, seed: int) -> None:
        self.share = Random(seed).random  # noqa: S311 -- in [0, 1), and to be repeated, not to be secret

    def below(self, limit: int) -> int:
        """Return a whole number in [0, limit)."""
        return int(self.share() * limit)

    def one_of(self, values: Sequence[T]) -> T:
        """Return one of them."""
        return values[int(self.share() * len(values))]

    def happens(self, chance: float) -> bool:
        """Whether something happens that has this chance."""
        return self.share() < chance


@cache
def questions(count: int = COUNT, seed: int = SEED) -> tuple[Evidence | Request, ...]:
    """Evidence and requests in turn; the same for the same seed."""
    draws = Draws(seed)
    return tuple(_request(draws) if number % 2 else _evidence(draws) for number in range(count))


def _evidence(draws: Draws) -> Evidence:
    signal = draws.one_of(SIGNALS)
    exited, killed = Exited(draws.one_of(STATUSES)), Signaled(signal, core_dumped=draws.happens(0.25))
    is_exit = draws.happens(0.5)
    faults = () if is_exit or draws.happens(0.5) else tuple(_fault(draws, signal) for _ in range(1 + draws.below(2)))
    return Evidence(
        exited if is_exit else killed,
        ended_by=draws.one_of(INTENTS),
        witness=draws.one_of(WITNESSES),
        faults=faults,
        memory=_memory(draws),
        stderr=draws.one_of(TEXTS),
        deadline_s=draws.one_of((None, None, None, 0.5, 2.0, 60.0, 3600.0)),
        survivors=draws.below(3),
    )


def _fault(draws: Draws, signal: str) -> FaultRecord:
    stack = draws.one_of((None, 0x7F_0000_0000))
    kind = draws.below(5)
    address = (None, 0, draws.below(2 * PAGE_64), draws.below(1 << 47), (stack or 0) + draws.below(2 * PAGE_64))[kind]
    counter = draws.one_of((None, address, 1 << 41))
    known = (signal, draws.one_of(SIGNAL_CODES), address, 7, draws.one_of((None, 9)), counter, stack)
    return FaultRecord(*known, returned=draws.happens(0.1), left=draws.happens(0.1))


def _memory(draws: Draws) -> Memory:
    limit = draws.one_of((None, 64 * MIB, 512 * MIB))
    return Memory(
        limit_bytes=limit,
        limited_by=draws.one_of(("cgroup", "rlimit")) if limit else None,
        peak_cgroup_bytes=limit - draws.below(3 * MIB) if limit and draws.happens(0.5) else None,
        oom_kills=draws.one_of((None, None, 0, 1, 2)),
        allocation_failures=draws.one_of((None, None, 0, 1, 9)),
        stuck_in_oom=draws.happens(0.1) or None,
    )


def _request(draws: Draws) -> Request:
    delay, now = draws.one_of((0, 250, 29_999, 30_000, 30_001, 99_999)), draws.one_of((0, TICK, draws.below(1 << 42)))
    return Request(
        _error(draws),
        attempt=draws.one_of((None, 1, 1, 2, 3, 5, 249, 250, 251, draws.below(300))),
        run=_run(draws) if draws.happens(0.95) else None,
        retry_settings=Settings(now + delay, delay) if draws.happens(0.3) else None,
        force_requeue=draws.happens(0.25),
        now=now,
        random=draws.one_of((0.0, 0.5, draws.share())),
        reported_by_platform=draws.happens(0.25),
    )


def _run(draws: Draws) -> RunSettings:
    return RunSettings(draws.one_of((None, 0, 1, 3, 5, 250, 1000)), _policy(draws), draws.one_of((None, *MACHINES)))


def _policy(draws: Draws) -> Any:
    if draws.happens(0.1):
        return draws.one_of(STRANGE_POLICIES)
    members: dict[str, Any] = {"maxAttempts": draws.one_of((0, 1, 2, 3, 5, 10, 250, 1000)), "randomize": False}
    for name, values in MEMBERS.items():
        if draws.happens(0.4):
            members[name] = draws.one_of(values)
    return members


def _error(draws: Draws) -> TaskError:
    kind = draws.below(10)
    if kind == 0:
        return TaskError(draws.one_of((Kind.CUSTOM, Kind.STRING)), raw=draws.one_of(("boom", "{}", "")))
    if kind <= 2:  # noqa: PLR2004 -- two in ten
        name, message = draws.one_of(NAMES), draws.one_of(MESSAGES)
        return TaskError(Kind.BUILT_IN, name=name, message=message, stack_trace=draws.one_of(MESSAGES))
    if kind <= 5:  # noqa: PLR2004 -- three in ten
        return internal(draws.one_of(CODES), draws.one_of((None, *MESSAGES)), draws.one_of((None, *TEXTS)))
    status, lead = draws.one_of((-1, -1, 1, draws.below(256))), draws.one_of(("", "", "x" * draws.below(100)))
    message = f"{lead}Process exited with code {status} after signal {draws.one_of(WORDS)}."
    return internal(Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, message, draws.one_of((None, *TEXTS)))
