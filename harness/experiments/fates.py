"""What a dialect makes of a trial's end while its run has attempts left: retried, final, or cured by a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.dialects import BUILT_IN
from harness.engine.lifecycle import Task
from harness.engine.loop import Engine
from harness.evidence import EndedBy
from harness.experiments.tally import FINAL_FATES, Fate
from harness.wire.request import MAX_ATTEMPTS, Branch, Outcome

if TYPE_CHECKING:
    from harness.dialects.protocol import Dialect
    from harness.engine.loop import Life

GENEROUS: Final = {"maxAttempts": MAX_ATTEMPTS, "randomize": False}
TIME_OUTS: Final = (EndedBy.DEADLINE, EndedBy.MAX_DURATION)
OUT_OF_MEMORY: Final = (Branch.OOM_NO_MACHINE, Branch.OOM_SAME_MACHINE, Branch.OOM_NO_DELAY)


def fate_of(life: Life, dialect: Dialect, machine: str) -> Fate:
    """Say what would follow if this were the first of 250 attempts, under a policy that names no larger machine."""
    attempt = Engine(Task(MAX_ATTEMPTS, GENEROUS, machine), dialect, lambda: 0.5).judge(life, 1, machine)
    if attempt.error is None or attempt.decision is None:
        return Fate.SUCCEEDED
    if attempt.decision.outcome is Outcome.RETRY:
        return Fate.RETRIED
    if attempt.decision.branch in OUT_OF_MEMORY:
        return Fate.OUT_OF_MEMORY
    return Fate.TIME_OUT if life.evidence.ended_by in TIME_OUTS else Fate.FINAL


def fates_elsewhere(life: Life, own: Fate, machine: str) -> dict[str, Fate]:
    """What each built-in dialect makes of an end that this dialect never retries, where it is something else."""
    if own not in FINAL_FATES:
        return {}
    found = {name: fate_of(life, dialect, machine) for name, dialect in BUILT_IN.items()}
    return {name: fate for name, fate in found.items() if fate is not own}
