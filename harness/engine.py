"""The attempt loop: runs a task until the dialect says stop. Processes, clock and random are handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from harness.classifier import classify
from harness import retry
from harness.errors import TaskError, enhance, final_status
from harness.retry import Decision, Request, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.errors import Dialect
    from harness.evidence import Evidence

SUCCEEDED: Final = "COMPLETED_SUCCESSFULLY"
DID_NOT_FIRE: Final = "DID_NOT_FIRE"


class Policy(msgspec.Struct, frozen=True):
    """What the user asked for. `retry` is upstream's lockedRetryConfig, as JSON gives it, or None for no policy."""

    max_attempts: int | None = None
    retry: object = None
    machine: str = "small-1x"


class Life(msgspec.Struct, frozen=True):
    """What an executor answers: the evidence, the host it ran on and what was injected ("forced", "safe", "wild")."""

    evidence: Evidence
    host: str | None = None
    injected: str | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One process life and everything that was made of it. `error` is raw, `enhanced` what the decision looked at."""

    number: int
    machine: str
    evidence: Evidence
    error: TaskError | None
    rule: str
    cause: str
    enhanced: TaskError | None = None
    decision: Decision | None = None
    host: str | None = None
    injected: str | None = None

    @property
    def delay_ms(self) -> float | None:
        """Milliseconds until the next attempt; None when there is none."""
        settings = self.decision.settings if self.decision else None
        return settings.delay if settings else None


class Run(msgspec.Struct, frozen=True):
    """All attempts of one task, with its final status."""

    status: str
    attempts: tuple[Attempt, ...]

    @property
    def is_flaky(self) -> bool:
        """Whether it succeeded after at least one failed attempt."""
        return self.status == SUCCEEDED and len(self.attempts) > 1


class Clock(Protocol):
    """Milliseconds since some epoch, and how to let them pass."""

    @property
    def now_ms(self) -> float:
        """Milliseconds since the epoch."""

    def wait_ms(self, delay_ms: float) -> None:
        """Let time pass."""


class VirtualClock:
    """Milliseconds that pass only when waited for: delays are computed and recorded, not slept."""

    def __init__(self) -> None:
        self._now_ms = 0.0

    @property
    def now_ms(self) -> float:
        """Milliseconds since the run began."""
        return self._now_ms

    def wait_ms(self, delay_ms: float) -> None:
        """Let time pass."""
        self._now_ms += delay_ms


def run_task(
    execute: Callable[[int, str], Life],
    policy: Policy,
    dialect: Dialect,
    random: Callable[[], float],
    clock: Clock | None = None,
    observe: Callable[[Attempt], object] | None = None,
) -> Run:
    """Execute attempts 1, 2, … on their machines until there is a final status.

    `execute(number, machine)` lives one process life. `random()` is in [0, 1), drawn once a decision.
    `observe` sees each attempt as it ends.
    """
    clock, attempts, machine = clock or VirtualClock(), list[Attempt](), policy.machine
    while True:
        number = len(attempts) + 1
        life = execute(number, machine)
        attempt = _judge(life, number, machine, policy, dialect, random, clock)
        attempts.append(attempt)
        if observe:
            observe(attempt)
        decision = attempt.decision
        if decision is None or decision.outcome != "retry":
            return Run(_final_status(attempt), tuple(attempts))
        clock.wait_ms(attempt.delay_ms or 0)
        machine = decision.machine or machine


def _judge(
    life: Life,
    number: int,
    machine: str,
    policy: Policy,
    dialect: Dialect,
    random: Callable[[], float],
    clock: Clock,
) -> Attempt:
    found = classify(life.evidence, dialect)
    attempt = Attempt(
        number, machine, life.evidence, found.error, found.rule, found.cause, host=life.host, injected=life.injected
    )
    if found.error is None:
        return attempt
    settings = retry.Run(policy.max_attempts, policy.retry, machine)
    request = Request(found.error, number, settings, now=round(clock.now_ms), random=random())
    return msgspec.structs.replace(
        attempt, enhanced=enhance(found.error, dialect), decision=decide(request, dialect)
    )


def _final_status(attempt: Attempt) -> str:
    """The status that the raw error gives (upstream §2)."""
    if attempt.error is None:
        return DID_NOT_FIRE if attempt.rule == "did-not-fire" else SUCCEEDED
    return final_status(attempt.error)
