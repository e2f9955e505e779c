"""Where strict says otherwise than upstream-4.5, cell by cell: a sweep of evidence, requests, and reasons."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from harness.dialects.retry import Request, RunSettings, Settings
from harness.dialects.rules import OOM_TEXTS, classify
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Memory, Signaled, Termination, Witness
from harness.wire.codes import Code, Dialect
from harness.wire.errors import TaskError, internal

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
NULL = FaultRecord("SIGSEGV", "SEGV_MAPERR", 0, 1)
SENT = FaultRecord("SIGSEGV", "SI_USER", None, 1, sender=7)
OWN = Memory(limit_bytes=64 * MIB, limited_by="cgroup", peak_cgroup_bytes=64 * MIB, oom_kills=1)
OUTER = Memory(limit_bytes=64 * MIB, limited_by="cgroup", peak_cgroup_bytes=MIB, oom_kills=1)
REFUSED = Memory(limit_bytes=64 * MIB, limited_by="cgroup", oom_kills=0, allocation_failures=1)
NOT_KILLED = Memory(limit_bytes=64 * MIB, limited_by="cgroup", oom_kills=0)

ENDS: Final[tuple[Termination, ...]] = (
    *map(Exited, (0, 1, 134, 135, 137, 139)),
    *map(Signaled, ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGTERM", "SIGKILL", "SIGHUP")),
)
"""One of each kind that a rule can tell apart: SIGBUS stands for all crash signals but two, SIGHUP for all the rest."""

MEMORIES: Final = {
    "": Memory(),
    "OOM counted at the own limit": OWN,
    "OOM counted, own limit not reached": OUTER,
    "an allocation refused": REFUSED,
    "no OOM counted": NOT_KILLED,
}
FAULTS: Final = {"": (), "a null address": (NULL,), "sent by kill(2)": (SENT,)}
STDERRS: Final = {"": "", "stderr says OOMErrorHandler": "OOMErrorHandler", "stderr says heap limit": OOM_TEXTS[1]}


def sweep() -> Iterator[tuple[str, Evidence]]:
    """Every combination of what the rules look at, in words and as evidence; the plainest first."""
    combined = itertools.product(EndedBy, STDERRS.items(), MEMORIES.items(), FAULTS.items(), ENDS)
    for by, (said, text), (counted, memory), (seen, faults), end in combined:
        asked = "" if by is EndedBy.SELF else f"{by.value} asked for"
        words = ", ".join(filter(None, (str(end), asked, said, counted, seen)))
        yield words, Evidence(end, by, stderr=text, memory=memory, faults=faults, witness=Witness.ARMED)


def rules(evidence: Evidence) -> tuple[str, str]:
    """Name the rules that answer: upstream-4.5's and strict's."""
    return classify(evidence, Dialect.UPSTREAM_4_5).rule, classify(evidence, Dialect.STRICT).rule


_STATUS_FIRST: Final = ("The wait status outranks intent: what crashed was not ended as asked.", "the wait status")
_TEXT: Final = (
    "A text on stderr is the victim's own, and proves nothing about memory (quirk 6).",
    "the wait status, and the memory's own counters",
)

OVERRULED: Final = {
    "max-duration": _STATUS_FIRST,
    "cancelled": _STATUS_FIRST,
    "cleanup": _STATUS_FIRST,
    "stderr-oom-handler": _TEXT,
}
"""Why strict does not believe a rule of upstream's, and what it needs to know; else the reason is its own rule's."""

AMBIGUOUS: Final = "oom-kill-or-asked"
OWN_RULE: Final = {
    AMBIGUOUS: (
        "Either could have been first. It is said to be ambiguous, and treated as a shortage of memory.",
        "the counter, and our own journalled intent",
    ),
    "outer-oom-kill": (
        "The kernel killed for somebody else's limit: a larger machine for this run is the wrong cure.",
        "the counter, and the peak of the attempt's own cgroup",
    ),
    "oom-kill": (
        "The kernel's counter says so, and so it is no longer a maybe. What follows is the same.",
        "memory.oom_kill of the attempt's own cgroup",
    ),
    "killed": (
        "An operator's kill -9 or an eviction is no shortage of memory: it follows the policy (quirk 5).",
        "memory.oom_kill of the attempt's own cgroup, which stood still or is not known",
    ),
    "sent-signal": (
        "A signal that somebody sent says nothing about the program, and an abort is no shortage of memory (quirk 1).",
        "si_code of the crash record",
    ),
    "refused-allocation": (
        "What fails for a refused allocation fails again on a machine of the same size; a larger one helps.",
        "the count of refused allocations, by the black box",
    ),
    "crash-signal": (
        "abort(), a failed assertion, a double free: no shortage of memory, as upstream has it (quirk 1).",
        "no refused allocation and no word of a heap limit",
    ),
    "wrapped-signal": (
        "A shell's word for a signal: the same defect has the same name, whoever reports it (quirk 2).",
        "the exit status alone; a program may choose it itself",
    ),
    "exit-status": (
        "A shell's word for SIGKILL, whose sender is not known: an exit status is no proof of a shortage.",
        "memory.oom_kill of the attempt's own cgroup, which stood still or is not known",
    ),
}


def because(evidence: Evidence) -> tuple[str, str]:
    """Return the reason and the evidence it needs. Raises KeyError where nobody has argued it."""
    upstreams, own = rules(evidence)
    return OVERRULED[upstreams] if upstreams in OVERRULED and own != AMBIGUOUS else OWN_RULE[own]


class Asked(NamedTuple):
    """A request that strict answers otherwise, and why."""

    what: str
    request: Request
    reason: str


_POLICY: Final = {"maxAttempts": 3, "randomize": False}
_MOVING: Final = _POLICY | {"outOfMemory": {"machine": "medium-1x"}}
_MAYBE: Final = internal(Code.TASK_PROCESS_MAYBE_OOM_KILLED)
_FFMPEG: Final = TaskError("BUILT_IN_ERROR", name="Error", message="ffmpeg was killed with signal SIGKILL, it says")
_HERE: Final = RunSettings(3, _MOVING, "small-1x")
_THERE: Final = RunSettings(3, _MOVING, "medium-1x")
_NO_MACHINE: Final = RunSettings(3, _POLICY, "small-1x")
_NO_POLICY: Final = RunSettings(3, None, "small-1x")
_STAYS: Final = "A run that can't be moved may still be flaky: where memory is only a maybe, its policy is followed."
_NO_NAME: Final = "The classifier names the code, by evidence; the decision reads none out of a text (quirks 4 and 6)."
_THROWN: Final = "An error that the worker threw is retried as the worker says, where no machine can be changed."


def _exit(signal: str) -> TaskError:
    text = f"Process exited with code -1 after signal {signal}."
    return internal(Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, text)


_UNEXPECTED: Final = TaskError(
    "BUILT_IN_ERROR", name="UnexpectedExitError", message="Unexpected exit with code -1", stack_trace="SIGKILL"
)

DECISIONS: Final = (
    Asked("maybe out of memory, on the larger machine already", Request(_MAYBE, 1, _THERE), _STAYS),
    Asked("maybe out of memory, no larger machine named", Request(_MAYBE, 1, _NO_MACHINE), _STAYS),
    Asked("maybe out of memory, no policy", Request(_MAYBE, 1, _NO_POLICY), _STAYS),
    Asked("a non-zero exit whose message says SIGKILL", Request(_exit("SIGKILL"), 1, _HERE), _NO_NAME),
    Asked("a non-zero exit whose message says SIGABRT", Request(_exit("SIGABRT"), 1, _HERE), _NO_NAME),
    Asked("an UnexpectedExitError whose stack says SIGKILL", Request(_UNEXPECTED, 1, _HERE), _NO_NAME),
    Asked(
        "a thrown error about ffmpeg and SIGKILL, on the larger machine already, with settings of the worker's",
        Request(_FFMPEG, 1, _THERE, Settings(500, 500)),
        _THROWN,
    ),
)
"""What only a request can ask, in the order of the steps."""
