"""Two dialects beside each other: the same deaths and requests, where they answer otherwise, and why. Pure data."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from harness.dialects.builtin import BuiltIn
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Memory, Signaled, Termination, Witness
from harness.wire.codes import Code
from harness.wire.errors import internal
from harness.wire.request import Request, RunSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.dialects.protocol import Dialect
    from harness.dialects.rules import Overruled, Rule
    from harness.wire.request import Decision

MIB = 1 << 20
NULL = FaultRecord("SIGSEGV", "SEGV_MAPERR", 0, 1)
SENT = FaultRecord("SIGSEGV", "SI_USER", None, 1, sender=7)
OWN = Memory(limit_bytes=64 * MIB, limited_by="cgroup", peak_cgroup_bytes=64 * MIB, oom_kills=1)
OUTER = Memory(limit_bytes=64 * MIB, limited_by="cgroup", peak_cgroup_bytes=MIB, oom_kills=1)
REFUSED = Memory(limit_bytes=64 * MIB, limited_by="cgroup", oom_kills=0, allocation_failures=1)
LOADER = "cannot allocate memory for thread-local data: ABORT"
NOT_KILLED = Memory(limit_bytes=64 * MIB, limited_by="cgroup", oom_kills=0)

ENDS: Final[tuple[Termination, ...]] = (
    *map(Exited, (0, 1, 127, 134, 135, 137, 139)),
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
STDERRS: Final = {
    "": "",
    "stderr says OOMErrorHandler": "OOMErrorHandler",
    "stderr says heap limit": "Reached heap limit",
    "the loader found no memory": LOADER,
}

POLICY = {"maxAttempts": 3, "outOfMemory": {"machine": "medium-1x"}, "randomize": False}
RUN = RunSettings(3, POLICY, "small-1x")

DEATHS: dict[str, Evidence] = {
    "SIGSEGV at a null address": Evidence(Signaled("SIGSEGV"), faults=(NULL,)),
    "SIGSEGV after a refused allocation": Evidence(Signaled("SIGSEGV"), faults=(NULL,), memory=REFUSED),
    "SIGSEGV sent by kill(2)": Evidence(Signaled("SIGSEGV"), faults=(SENT,)),
    "SIGSEGV, a helper was OOM-killed": Evidence(Signaled("SIGSEGV"), faults=(NULL,), memory=OWN),
    "SIGSEGV in the deadline's window": Evidence(Signaled("SIGSEGV"), ended_by=EndedBy.DEADLINE, faults=(NULL,)),
    "SIGABRT": Evidence(Signaled("SIGABRT")),
    "SIGABRT after a refused allocation": Evidence(Signaled("SIGABRT"), memory=REFUSED),
    "SIGABRT, JavaScript heap limit": Evidence(Signaled("SIGABRT"), stderr="Reached heap limit"),
    "SIGBUS": Evidence(Signaled("SIGBUS")),
    "SIGBUS after a refused allocation": Evidence(Signaled("SIGBUS"), memory=REFUSED),
    "SIGILL": Evidence(Signaled("SIGILL")),
    "SIGFPE": Evidence(Signaled("SIGFPE")),
    "SIGTERM that nobody here sent": Evidence(Signaled("SIGTERM")),
    "SIGKILL, OOM counted at the own limit": Evidence(Signaled("SIGKILL"), memory=OWN),
    "SIGKILL, OOM counted, own limit not reached": Evidence(Signaled("SIGKILL"), memory=OUTER),
    "SIGKILL, no OOM counted": Evidence(Signaled("SIGKILL"), memory=NOT_KILLED),
    "SIGKILL by the deadline": Evidence(Signaled("SIGKILL"), ended_by=EndedBy.DEADLINE),
    "SIGKILL by the deadline, OOM counted": Evidence(Signaled("SIGKILL"), ended_by=EndedBy.DEADLINE, memory=OWN),
    "exit 1": Evidence(Exited(1)),
    "exit 127": Evidence(Exited(127)),
    "exit 127 of the loader, after a refused allocation": Evidence(Exited(127), memory=REFUSED, stderr=LOADER),
    "exit 134": Evidence(Exited(134)),
    "exit 137, no OOM counted": Evidence(Exited(137), memory=NOT_KILLED),
    "exit 137, OOM counted": Evidence(Exited(137), memory=OWN),
    "exit 139": Evidence(Exited(139)),
    "exit 0 before the work was done": Evidence(Exited(0), witness=Witness.ARMED),
    "exit 1 in the deadline's window": Evidence(Exited(1), ended_by=EndedBy.DEADLINE),
    "exit 1, stderr says OOMErrorHandler": Evidence(Exited(1), stderr="OOMErrorHandler"),
    "SIGSEGV, stderr says OOMErrorHandler": Evidence(Signaled("SIGSEGV"), faults=(NULL,), stderr="OOMErrorHandler"),
}
"""What a first attempt can die of, by the evidence that tells it apart."""

OWN_RETRY = Settings(500, 500)
QUESTIONS: dict[str, Request] = {
    "a code that a worker reports, without settings of its own": Request(internal(Code.TASK_EXECUTION_FAILED), 1, RUN),
    "the same with settings of its own": Request(internal(Code.TASK_EXECUTION_FAILED), 1, RUN, OWN_RETRY),
    "a crash, reported by the platform": Request(
        internal(Code.TASK_EXECUTION_FAILED), 1, RUN, reported_by_platform=True
    ),
    "an attempt at the run's maximum, with settings": Request(internal(Code.TASK_EXECUTION_FAILED), 3, RUN, OWN_RETRY),
    "attempt 250, with settings": Request(
        internal(Code.TASK_EXECUTION_FAILED), 250, RunSettings(999, POLICY), OWN_RETRY
    ),
    "own settings with a delay of 30 s": Request(
        internal(Code.TASK_EXECUTION_FAILED), 1, RUN, Settings(30_000, 30_000)
    ),
    "out of memory, no attempt left": Request(internal(Code.TASK_PROCESS_OOM_KILLED), 3, RUN),
    "out of memory, machine not known": Request(internal(Code.TASK_PROCESS_OOM_KILLED), 1, RunSettings(3, POLICY)),
    "out of memory, no policy": Request(internal(Code.TASK_PROCESS_OOM_KILLED), 1, RunSettings(3)),
    "out of memory, no attempt left, with settings of the worker's": Request(
        internal(Code.TASK_PROCESS_OOM_KILLED), 3, RUN, OWN_RETRY
    ),
    "a crash before the first attempt": Request(
        internal(Code.TASK_RUN_UNCAUGHT_EXCEPTION), None, RUN, reported_by_platform=True
    ),
}
"""What only a request can ask, beyond the death itself."""


class Treatment(msgspec.Struct, frozen=True):
    """What one dialect makes of a death: the code that people see, and what follows with three attempts left."""

    code: str
    then: str

    def __str__(self) -> str:
        """As a cell of a table."""
        return f"{self.code}; {self.then}"


class Compared(msgspec.Struct, frozen=True):
    """One death, in words and as evidence, under two dialects."""

    death: str
    evidence: Evidence
    first: Treatment
    second: Treatment

    @property
    def differs(self) -> bool:
        """Whether they answer otherwise."""
        return self.first != self.second


def treat(evidence: Evidence, dialect: Dialect) -> Treatment:
    """Ask a dialect about a first attempt that died so, under a policy of three attempts and a larger machine."""
    error = dialect.classify(evidence).error
    if error is None:
        return Treatment("none", "done")
    code = dialect.enhance(error).code
    then = _outcome(dialect.decide(Request(error, 1, RUN, random=0.5)))
    return Treatment(code if isinstance(code, str) else "none", then)


def compare(first: Dialect, second: Dialect) -> Iterator[Compared]:
    """Compare every death of DEATHS, and those that rules bring along as their examples."""
    for death, evidence in (DEATHS | examples(first, second)).items():
        yield Compared(death, evidence, treat(evidence, first), treat(evidence, second))


def examples(*dialects: Dialect) -> dict[str, Evidence]:
    """Collect the examples of the rules of those dialects that have a table of them."""
    rules = itertools.chain.from_iterable(one.rules for one in dialects if isinstance(one, BuiltIn))
    return dict(rule.example for rule in rules if rule.example)


def sweep(*dialects: Dialect) -> Iterator[tuple[str, Evidence]]:
    """Yield each combination of what rules look at, in words and as evidence, the plainest first; then the examples."""
    combined = itertools.product(EndedBy, STDERRS.items(), MEMORIES.items(), FAULTS.items(), ENDS)
    for by, (said, text), (counted, memory), (seen, faults), end in combined:
        asked = "" if by is EndedBy.SELF else f"{by.value} asked for"
        words = ", ".join(filter(None, (str(end), asked, said, counted, seen)))
        recorded = tuple(msgspec.structs.replace(one, signal=end.signal) for one in faults if isinstance(end, Signaled))
        yield words, Evidence(end, by, stderr=text, memory=memory, faults=recorded, witness=Witness.ARMED)
    yield from examples(*dialects).items()


def rules_that_answer(evidence: Evidence, first: Dialect, second: Dialect) -> tuple[str, str]:
    """Name the rules by which the two dialects classify."""
    return first.classify(evidence).rule, second.classify(evidence).rule


def why(evidence: Evidence, first: Dialect, second: BuiltIn) -> Rule | Overruled | None:
    """Find the row that says why `second` does not answer as `first` does, and what it needs to know; None for none."""
    theirs, own = rules_that_answer(evidence, first, second)
    refused = (one for one in second.overruled if one.name == theirs and one.but_for != own)
    return next(refused, None) or next((one for one in second.rules if one.name == own and one.reason), None)


def argued(dialect: Dialect) -> list[Rule | Overruled]:
    """Return the rows of a dialect that carry a reason: its own rules, and those of upstream's that it overrules."""
    rows: tuple[Rule | Overruled, ...] = (*dialect.rules, *dialect.overruled) if isinstance(dialect, BuiltIn) else ()
    return [one for one in rows if one.reason]


def other_cells(first: Dialect, second: Dialect) -> Iterator[Compared]:
    """Give one example for each pair of rules and answers that differs, of those that no death stands for."""
    seen = {(*rules_that_answer(one.evidence, first, second), one.first, one.second) for one in compare(first, second)}
    for words, evidence in sweep(first, second):
        one = Compared(words, evidence, treat(evidence, first), treat(evidence, second))
        cell = (*rules_that_answer(evidence, first, second), one.first, one.second)
        if one.differs and cell not in seen:
            seen.add(cell)
            yield one


def compare_requests(requests: dict[str, Request], first: Dialect, second: Dialect) -> Iterator[tuple[str, str, str]]:
    """Give each request by its name, and what follows from it under both."""
    for name, request in requests.items():
        asked = msgspec.structs.replace(request, random=0.5)
        yield name, _told(first.decide(asked)), _told(second.decide(asked))


def _outcome(decision: Decision) -> str:
    moved = f" on {decision.machine}" if isinstance(decision.machine, str) else ""
    return f"{decision.outcome}{moved} ({decision.branch})"


def _told(decision: Decision) -> str:
    method = f", {decision.method}" if isinstance(decision.method, str) else ""
    return f"{_outcome(decision)}{method}"
