"""What a dialect makes of a trial's end while its run has attempts left: retried, final, or cured by a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.dialects import BUILT_IN
from harness.engine.lifecycle import Task
from harness.engine.loop import Engine, Life
from harness.evidence import EndedBy
from harness.experiments.tally import FINAL_FATES, Fate
from harness.wire.policy import DEFAULT_PRESET
from harness.wire.request import MAX_ATTEMPTS, Branch, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.dialects.protocol import Dialect
    from harness.evidence import Evidence

GENEROUS: Final = {"maxAttempts": MAX_ATTEMPTS, "randomize": False}
NO_POLICY: Final = Task()
TIME_OUTS: Final = (EndedBy.DEADLINE, EndedBy.MAX_DURATION)
OUT_OF_MEMORY: Final = (Branch.OOM_NO_MACHINE, Branch.OOM_SAME_MACHINE, Branch.OOM_NO_DELAY)


def generous(policy: Task) -> Task:
    """Return the policy with 250 attempts; it names the larger machine that the given one names, or none."""
    larger = policy.retry.get("outOfMemory") if isinstance(policy.retry, dict) else None
    return Task(MAX_ATTEMPTS, GENEROUS | ({"outOfMemory": larger} if larger else {}), policy.machine or DEFAULT_PRESET)


def fate_of(life: Life, dialect: Dialect, policy: Task = NO_POLICY) -> Fate:
    """Say what would follow if this were the first of 250 attempts; of the policy only its machines count."""
    machine = policy.machine or DEFAULT_PRESET
    attempt = Engine(generous(policy), dialect, lambda: 0.5).judge(life, 1, machine)
    if attempt.error is None or attempt.decision is None:
        return Fate.SUCCEEDED
    if attempt.decision.outcome is Outcome.RETRY:
        return Fate.RETRIED
    if attempt.decision.branch in OUT_OF_MEMORY:
        return Fate.OUT_OF_MEMORY
    return Fate.TIME_OUT if life.evidence.ended_by in TIME_OUTS else Fate.FINAL


def fates_elsewhere(life: Life, own: Fate, policy: Task) -> dict[str, Fate]:
    """What each built-in dialect makes of an end that this dialect never retries, where it is something else."""
    if own not in FINAL_FATES:
        return {}
    found = {name: fate_of(life, dialect, policy) for name, dialect in BUILT_IN.items()}
    return {name: fate for name, fate in found.items() if fate is not own}


def attempts_granted(ends: Iterable[Evidence], dialect: Dialect, policy: Task) -> int | None:
    """Say how often a job is tried that always ends like the first of these that is retried; None where none is."""
    for evidence in ends:
        life = Life(evidence)
        if fate_of(life, dialect, policy) is Fate.RETRIED:
            return len(Engine(policy.stored(), dialect, lambda: 0.5).run(lambda *_, life=life: life).attempts)
    return None
