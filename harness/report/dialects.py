"""Two dialects beside each other: the same deaths, and where they say otherwise. The pages are generated from this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.classifier import classify
from harness.codes import Code, Dialect
from harness.errors import enhance, internal
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Memory, Signaled, Witness
from harness.retry import Decision, Request, RunSettings, Settings, decide

if TYPE_CHECKING:
    from collections.abc import Iterator

NULL = FaultRecord("SIGSEGV", "SEGV_MAPERR", 0, 1)
SENT = FaultRecord("SIGSEGV", "SI_USER", None, 1, sender=7)
MIB = 1 << 20
OWN = Memory(limit_bytes=64 * MIB, limited_by="cgroup", peak_cgroup_bytes=64 * MIB, oom_kills=1)
OUTER = Memory(limit_bytes=64 * MIB, limited_by="cgroup", peak_cgroup_bytes=MIB, oom_kills=1)
REFUSED = Memory(limit_bytes=64 * MIB, limited_by="cgroup", oom_kills=0, allocation_failures=1)
NOT_KILLED = Memory(limit_bytes=64 * MIB, limited_by="cgroup", oom_kills=0)
HELPER = Memory(limit_bytes=64 * MIB, limited_by="cgroup", peak_cgroup_bytes=64 * MIB, oom_kills=1)
POLICY = {"maxAttempts": 3, "outOfMemory": {"machine": "medium-1x"}, "randomize": False}
RUN = RunSettings(3, POLICY, "small-1x")

DEATHS: dict[str, Evidence] = {
    "SIGSEGV at a null address": Evidence(Signaled("SIGSEGV"), fault=NULL),
    "SIGSEGV after a refused allocation": Evidence(Signaled("SIGSEGV"), fault=NULL, memory=REFUSED),
    "SIGSEGV sent by kill(2)": Evidence(Signaled("SIGSEGV"), fault=SENT),
    "SIGSEGV, a helper was OOM-killed": Evidence(Signaled("SIGSEGV"), fault=NULL, memory=HELPER),
    "SIGSEGV in the deadline's window": Evidence(Signaled("SIGSEGV"), ended_by=EndedBy.DEADLINE, fault=NULL),
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
    "exit 134": Evidence(Exited(134)),
    "exit 137, no OOM counted": Evidence(Exited(137), memory=NOT_KILLED),
    "exit 137, OOM counted": Evidence(Exited(137), memory=OWN),
    "exit 139": Evidence(Exited(139)),
    "exit 0 before the work was done": Evidence(Exited(0), witness=Witness.ARMED),
    "exit 1 in the deadline's window": Evidence(Exited(1), ended_by=EndedBy.DEADLINE),
    "exit 1, stderr says OOMErrorHandler": Evidence(Exited(1), stderr="OOMErrorHandler"),
    "SIGSEGV, stderr says OOMErrorHandler": Evidence(Signaled("SIGSEGV"), fault=NULL, stderr="OOMErrorHandler"),
}
"""What a first attempt can die of, by the evidence that tells it apart."""


class Answer(msgspec.Struct, frozen=True):
    """What one dialect makes of a death: the code that people see, and what follows with three attempts left."""

    code: str
    then: str

    def __str__(self) -> str:
        """As a cell."""
        return f"{self.code}; {self.then}"


class Row(msgspec.Struct, frozen=True):
    """One death in two dialects."""

    death: str
    first: Answer
    second: Answer

    @property
    def differs(self) -> bool:
        """Whether they say otherwise."""
        return self.first != self.second


def _then(decision: Decision) -> str:
    moved = f" on {decision.machine}" if isinstance(decision.machine, str) else ""
    return f"{decision.outcome}{moved} ({decision.branch})"


def answer(evidence: Evidence, dialect: Dialect) -> Answer:
    """Ask a dialect about a first attempt that died so, under a policy of three attempts and a larger machine."""
    error = classify(evidence, dialect).error
    if error is None:
        return Answer("none", "done")
    code = enhance(error, dialect).code
    return Answer(code if isinstance(code, str) else "none", _then(decide(Request(error, 1, RUN, random=0.5), dialect)))


def compare(first: Dialect, second: Dialect) -> Iterator[Row]:
    """Compare every death."""
    for death, evidence in DEATHS.items():
        yield Row(death, answer(evidence, first), answer(evidence, second))


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
    "a crash before the first attempt": Request(
        internal(Code.TASK_RUN_UNCAUGHT_EXCEPTION), None, RUN, reported_by_platform=True
    ),
}
"""What only a request can ask, beyond the death itself."""


def compare_questions(first: Dialect, second: Dialect) -> Iterator[tuple[str, str, str]]:
    """Give each question and what follows in both."""
    for question, request in QUESTIONS.items():
        asked = msgspec.structs.replace(request, random=0.5)
        yield question, _told(decide(asked, first)), _told(decide(asked, second))


def _told(decision: Decision) -> str:
    method = f", {decision.method}" if isinstance(decision.method, str) else ""
    return f"{_then(decision)}{method}"


REASONS: dict[str, tuple[str, str]] = {
    "SIGSEGV after a refused allocation": (
        "A NULL that malloc returned near the limit comes again on a machine of the same size; a larger one helps.",
        "the count of refused allocations, by the black box",
    ),
    "SIGABRT": (
        "abort(), a failed assertion, a double free: no shortage of memory, as upstream has it (quirk 1).",
        "no refused allocation and no word of a heap limit",
    ),
    "SIGABRT after a refused allocation": (
        "A program that checks malloc and gives up is out of memory, and a larger machine helps.",
        "the count of refused allocations, by the black box",
    ),
    "SIGBUS after a refused allocation": (
        "As for SIGSEGV: near the limit a larger machine is the better cure.",
        "the count of refused allocations, by the black box",
    ),
    "SIGKILL, OOM counted at the own limit": (
        "The kernel's counter says so, and so it is no longer a maybe. What follows is the same.",
        "memory.oom_kill of the attempt's own cgroup",
    ),
    "SIGKILL, OOM counted, own limit not reached": (
        "The kernel killed for somebody else's limit: a larger machine for this run is the wrong cure.",
        "the counter, and the peak of the attempt's own cgroup",
    ),
    "SIGKILL, no OOM counted": (
        "An operator's kill -9 or an eviction is no shortage of memory: it follows the policy (quirk 5).",
        "memory.oom_kill of the attempt's own cgroup, which stood still",
    ),
    "SIGSEGV in the deadline's window": (
        "The wait status outranks intent: a crash is a crash, even if we were about to kill.",
        "the wait status",
    ),
    "SIGKILL by the deadline, OOM counted": (
        "Either could have been first. It is said to be ambiguous, and treated as a shortage of memory.",
        "the counter, and our own journalled intent",
    ),
    "exit 137, no OOM counted": (
        "A shell's word for SIGKILL, whose sender is not known: an exit status is no proof of a shortage.",
        "memory.oom_kill of the attempt's own cgroup, which stood still",
    ),
    "exit 139": (
        "A shell's word for SIGSEGV: the same defect has the same name, whoever reports it (quirk 2).",
        "the exit status alone; a program may choose 139 itself",
    ),
    "exit 1, stderr says OOMErrorHandler": (
        "A text on stderr is the victim's own, and proves nothing about memory (quirk 6).",
        "the wait status; no refused allocation, no counter",
    ),
    "SIGSEGV, stderr says OOMErrorHandler": (
        "A text on stderr is the victim's own, and proves nothing about memory (quirk 6).",
        "the wait status; no refused allocation, no counter",
    ),
}
"""Why strict says otherwise than upstream-4.5, and the evidence that it needs for it. A test holds it complete."""

ASKED = "Each row is a first attempt under a policy of three attempts and a larger machine for want of memory."


def why_strict() -> str:
    """docs/why-strict.md."""
    lines = [
        "# Why strict says otherwise",
        "",
        "Generated by `crash-harness dialects strict --markdown`; a test holds it fresh, and the reasons complete.",
        f"{ASKED} Quirks are numbered as in upstream's specification.",
        "",
        "| death | upstream-4.5 | strict | reason | evidence it needs |",
        "|---|---|---|---|---|",
    ]
    rows = list(compare(Dialect.UPSTREAM_4_5, Dialect.STRICT))
    for row in rows:
        if row.differs:
            reason, needed = REASONS[row.death]
            lines.append(f"| {row.death} | {row.first} | {row.second} | {reason} | {needed} |")
    same = "; ".join(row.death for row in rows if not row.differs)
    return "\n".join([*lines, "", f"They agree on: {same}.", ""])


def legacy() -> str:
    """docs/legacy.md."""
    lines = [
        "# The first engine",
        "",
        "Generated by `crash-harness dialects upstream-v1 --markdown`; a test holds it fresh. Upstream's first engine",
        "ran beside the second until 4.5.4. The fix of SIGSEGV names both paths, but the first never looks a policy",
        "up for a crash that its supervisor reports: there SIGSEGV was not retried before the fix, nor after it.",
        f"{ASKED}",
        "",
        "| death | upstream-4.5 | upstream-v1 |",
        "|---|---|---|",
    ]
    rows = list(compare(Dialect.UPSTREAM_4_5, Dialect.UPSTREAM_V1))
    lines += [f"| {row.death} | {row.first} | {row.second} |" for row in rows if row.differs]
    lines += ["", f"They agree on: {'; '.join(row.death for row in rows if not row.differs)}.", ""]
    lines += ["| question | upstream-4.5 | upstream-v1 |", "|---|---|---|"]
    for question, first, second in compare_questions(Dialect.UPSTREAM_4_5, Dialect.UPSTREAM_V1):
        lines.append(f"| {question} | {first} | {second} |")
    return "\n".join([*lines, ""])


PAGES = {Dialect.STRICT: why_strict, Dialect.UPSTREAM_V1: legacy}
