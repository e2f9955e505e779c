"""Attempts of one test under a policy: what the engine decides, attempt by attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.engine.draw import draw
from harness.engine.loop import Attempt, Engine, Life, Run, Saved, VirtualClock
from harness.evidence import EndedBy, Evidence, Exited
from harness.pytest_guard.death import headline
from harness.pytest_guard.settings import DEADLINE, EXCEPTIONS
from harness.supervisor import Limits
from harness.wire.errors import Kind, TaskError
from harness.wire.policy import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.dialects.protocol import Dialect
    from harness.engine.policy import Policy
    from harness.pytest_guard.attempt import Outcome

LIVES_ON = Evidence(Exited(0))  # of a process that has run a test, and goes on to the next


def tried(
    first: Outcome,
    again: Callable[[int | None], Outcome],
    policy: Policy,
    dialect: Dialect,
    *,
    memory: int | None,
    retry_on: frozenset[str],
) -> tuple[list[Outcome], Run, list[Saved]]:
    """Let the engine decide what follows the first attempt. `again` lives one more, within so much memory.

    Delays between attempts are computed, and not slept. The last of what is returned is for a history.
    """
    outcomes, saved = [first], list[Saved]()

    def execute(number: int, machine: str) -> Life:
        if number > 1:
            outcomes.append(again(_larger(memory, machine, policy.machine)))
        return life(outcomes[-1], retry_on)

    engine = Engine(policy, dialect, lambda: draw(0, len(outcomes), "delay"), VirtualClock())
    run = engine.run(execute, save=saved.append)
    attempts = tuple(_with_death(one, outcomes) for one in run.attempts)
    steps = [msgspec.structs.replace(one, attempt=one.attempt and _with_death(one.attempt, outcomes)) for one in saved]
    return outcomes, msgspec.structs.replace(run, attempts=attempts), steps


def _with_death(attempt: Attempt, outcomes: list[Outcome]) -> Attempt:
    """Give an attempt the evidence of its death, which the engine has not seen where it was told an exception."""
    death = outcomes[attempt.number - 1].death
    return attempt if death is None else msgspec.structs.replace(attempt, evidence=death.evidence)


def _larger(memory: int | None, machine: str, first: str) -> int | None:
    return Limits(memory_bytes=memory).scaled(memory_bytes(machine) / memory_bytes(first)).memory_bytes


def life(outcome: Outcome, retry_on: frozenset[str]) -> Life:
    """What the engine sees of an attempt. A test's own exception is hidden from it, unless its retry is asked for.

    A time-out is final to every dialect; where its retry is asked for, it is told as an exception.
    """
    if outcome.death is None:
        failed = next((one for one in outcome.reports if one.failed), None) if EXCEPTIONS in retry_on else None
        return Life(LIVES_ON, thrown=failed and _thrown("AssertionError", failed))
    if DEADLINE in retry_on and outcome.death.evidence.ended_by is EndedBy.DEADLINE:
        return Life(LIVES_ON, thrown=_error("TimeoutError", headline(outcome.death), ""))
    if outcome.death.evidence.succeeded:  # it left with status 0, and no test ends so
        return Life(outcome.death.evidence, thrown=_error("ProcessExited", headline(outcome.death), ""))
    return Life(outcome.death.evidence)


def _thrown(name: str, report: Any) -> TaskError:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = str(getattr(crash, "message", report.longrepr))
    named = message.partition(":")[0]
    return _error(named if named.isidentifier() else name, message, str(report.longrepr))


def _error(name: str, message: str, stack: str) -> TaskError:
    return TaskError(Kind.BUILT_IN, name=name, message=message, stack_trace=stack)
