"""The attempt loop: runs a task until the dialect says stop. Processes, clock and random are handed in."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 -- msgspec reads the annotations of Engine
from typing import Final, Protocol

import msgspec

from harness.codes import Dialect  # noqa: TC001 -- msgspec reads the annotations of records
from harness.errors import TaskError, enhance, final_status
from harness.evidence import Evidence  # noqa: TC001 -- as above
from harness.judge import BuiltIn, Judge
from harness.retry import Decision, Outcome, Request, RunSettings

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


class Engine(msgspec.Struct, frozen=True):
    """Decides runs under `policy` and `dialect`. `random()` is in [0, 1) and drawn once a decision.

    `foreign` is asked in the dialect's place, if there is one.
    """

    policy: Policy
    dialect: Dialect
    random: Callable[[], float]
    clock: Clock = msgspec.field(default_factory=VirtualClock)
    foreign: Judge | None = None

    def run(self, execute: Callable[[int, str], Life], observe: Callable[[Attempt], object] | None = None) -> Run:
        """Execute attempts 1, 2, … until there is a final status.

        `execute(number, machine)` lives one process life; `observe` sees each attempt as it ends.
        """
        attempts, machine = list[Attempt](), self.policy.machine
        while True:
            number = len(attempts) + 1
            attempt = self.judge(execute(number, machine), number, machine)
            attempts.append(attempt)
            if observe:
                observe(attempt)
            decision = attempt.decision
            if decision is None or decision.outcome is not Outcome.RETRY:
                return Run(_final_status(attempt), tuple(attempts))
            self.clock.wait_ms(attempt.delay_ms or 0)
            machine = decision.machine or machine

    def judge(self, life: Life, number: int, machine: str) -> Attempt:
        """Classify a life, and decide what follows if it failed."""
        asked = self.foreign or BuiltIn(self.dialect)
        found = asked.classify(life.evidence)
        lived = (life.evidence, found.error, found.rule, found.cause)
        attempt = Attempt(number, machine, *lived, host=life.host, injected=life.injected)
        if found.error is None:
            return attempt
        settings = RunSettings(self.policy.max_attempts, self.policy.retry, machine)
        request = Request(found.error, number, settings, now=round(self.clock.now_ms), random=self.random())
        decision = asked.decide(request)
        enhanced = decision.enhanced or enhance(found.error, self.dialect)
        return msgspec.structs.replace(attempt, enhanced=enhanced, decision=decision)


def _final_status(attempt: Attempt) -> str:
    """Give the status of a run that ends with `attempt` (upstream §2, from the raw error)."""
    if attempt.error is None:
        return DID_NOT_FIRE if attempt.rule == "did-not-fire" else SUCCEEDED
    return final_status(attempt.error)
