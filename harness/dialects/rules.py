"""A rule of classification, how a table of rules answers, and the words that several tables use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from harness.dialects.protocol import Classification
from harness.evidence import EndedBy, Evidence, Exited, Signaled, Witness
from harness.wire.codes import Code
from harness.wire.errors import TaskError, internal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHELL_BASE: Final = 128  # a shell reports signal n as exit status 128 + n
ASKED: Final = frozenset({EndedBy.DEADLINE, EndedBy.MAX_DURATION})


class Rule(msgspec.Struct, frozen=True):
    """A row of a dialect's table: a name, when it holds, and the error and the cause that it makes of the evidence.

    Where the answer is not upstream's, `reason` says why and `needs` names the evidence that settles it. `example`,
    in words and as evidence, is needed only if the rule looks at what the sweep (harness.dialects.compare) leaves out.
    """

    name: str
    holds: Callable[[Evidence], bool]
    error: Callable[[Evidence], TaskError | None]
    cause: Callable[[Evidence], str]
    reason: str = ""
    needs: str = ""
    example: tuple[str, Evidence] | None = None


class Overruled(msgspec.Struct, frozen=True):
    """A rule of upstream's that a dialect does not believe, why, and the evidence that it goes by instead.

    Where the dialect answers by its own rule `but_for`, that rule's reason is the one that counts.
    """

    name: str
    reason: str
    needs: str
    but_for: str = ""


def classify(evidence: Evidence, rules: Sequence[Rule]) -> Classification:
    """Apply a table: the first rule that holds answers. Total, since the last rule of each table always holds."""
    rule = next(rule for rule in rules if rule.holds(evidence))
    return Classification(rule.error(evidence), rule.name, rule.cause(evidence))


# --- words ---


def status_of(evidence: Evidence) -> int | None:
    """Exit status; None for a death by signal."""
    end = evidence.termination
    return end.status if isinstance(end, Exited) else None


def signal_of(evidence: Evidence) -> str | None:
    """Name of the signal that ended the process; None where it left by itself."""
    end = evidence.termination
    return end.signal if isinstance(end, Signaled) else None


def counted_oom(evidence: Evidence) -> bool:
    """Whether the kernel killed for memory in the attempt's cgroup: the victim, or a helper process of it."""
    return bool(evidence.memory.oom_kills)


def says(cause: str) -> Callable[[Evidence], str]:
    """Give this cause, whatever the evidence."""
    return lambda _: cause


def plain(code: Code) -> Callable[[Evidence], TaskError]:
    """Give an error of this code without a message."""
    return lambda _: internal(code)


def max_duration(evidence: Evidence) -> TaskError:
    """Give the error of a run that took too long."""
    seconds = "?" if evidence.deadline_s is None else f"{evidence.deadline_s:g}"
    return internal(Code.MAX_DURATION_EXCEEDED, f"Run exceeded maximum compute time (maxDuration) of {seconds} seconds")


def noting_helper(evidence: Evidence, cause: str) -> str:
    """Add to a cause that a helper process was killed for memory, where one was."""
    return f"{cause}, and a helper process was OOM-killed" if counted_oom(evidence) else cause


def _did_not_fire(evidence: Evidence) -> bool:
    return evidence.witness is Witness.DID_NOT_FIRE


def _completed(evidence: Evidence) -> bool:
    """Whether the work was done.

    Of a user's command exit status 0 is all that can be known; a fault of ours says more.
    """
    if status_of(evidence) != 0:
        return False
    return evidence.witness in (Witness.DONE, Witness.SILENT) or (
        evidence.witness is None and evidence.ended_by is EndedBy.SELF
    )


def _no_error(_: Evidence) -> None:
    return None


def _completed_cause(evidence: Evidence) -> str:
    """Name a success: of a fault that did harm in silence, which an engine can't see, the cause says so."""
    return noting_helper(evidence, "silent_defect" if evidence.witness is Witness.SILENT else "completed")


ENDS: Final = (
    Rule("did-not-fire", _did_not_fire, _no_error, says("did_not_fire")),
    Rule("completed", _completed, _no_error, _completed_cause),
)
"""The first rows of every table: nothing fired, or the work was done."""
