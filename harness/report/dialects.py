"""Two dialects beside each other: the same deaths, and where they say otherwise. The pages are generated from this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.dialects.retry import Decision, Request, RunSettings, Settings, decide
from harness.dialects.rules import classify
from harness.evidence import EndedBy, Evidence, Exited, Signaled, Witness
from harness.report.cells import DECISIONS, NOT_KILLED, NULL, OUTER, OWN, REFUSED, SENT, because, rules, sweep
from harness.wire.codes import Code, Dialect
from harness.wire.errors import enhance, internal

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    "out of memory, no attempt left, with settings of the worker's": Request(
        internal(Code.TASK_PROCESS_OOM_KILLED), 3, RUN, OWN_RETRY
    ),
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


ASKED = "Each row is a first attempt under a policy of three attempts and a larger machine for want of memory."


HEADS = "| reason | evidence it needs |"


def why_strict() -> str:
    """docs/why-strict.md."""
    lines = [
        "# Why strict says otherwise",
        "",
        "Generated by `crash-harness dialects strict --markdown`; a test holds it fresh, and the reasons complete.",
        f"{ASKED} Quirks are numbered as in upstream's specification.",
        "",
        f"| death | upstream-4.5 | strict {HEADS}",
        "|---|---|---|---|---|",
    ]
    rows = list(compare(Dialect.UPSTREAM_4_5, Dialect.STRICT))
    lines += [_line(row.death, row, DEATHS[row.death]) for row in rows if row.differs]
    same = "; ".join(row.death for row in rows if not row.differs)
    lines += ["", f"They agree on: {same}.", "", "## Every other cell", ""]
    lines += [
        "The two tables of rules, swept over all combinations of what they look at: each pair of rules and answers"
    ]
    lines += [
        f"that differs and is not above, by its plainest example.\n\n| example | rules | upstream-4.5 | strict {HEADS}"
    ]
    lines += ["|---|---|---|---|---|---|"]
    lines += [_line(f"{row.death} | {', '.join(rules(evidence))}", row, evidence) for row, evidence in other_cells()]
    lines += [
        "",
        "## Decisions",
        "",
        "Of the same error, under a policy of three attempts; the larger machine is medium-1x.",
    ]
    lines += ["", "| question | upstream-4.5 | strict | reason |", "|---|---|---|---|"]
    lines += [f"| {what} | {first} | {second} | {reason} |" for what, first, second, reason in decisions()]
    return "\n".join([*lines, ""])


def _line(what: str, row: Row, evidence: Evidence) -> str:
    return f"| {what} | {row.first} | {row.second} | {' | '.join(because(evidence))} |"


def other_cells() -> Iterator[tuple[Row, Evidence]]:
    """Give one example for each pair of rules and answers that differs, of those that no death stands for."""
    seen = {(rules(DEATHS[row.death]), row.first, row.second) for row in compare(Dialect.UPSTREAM_4_5, Dialect.STRICT)}
    for words, evidence in sweep():
        row = Row(words, answer(evidence, Dialect.UPSTREAM_4_5), answer(evidence, Dialect.STRICT))
        cell = (rules(evidence), row.first, row.second)
        if row.differs and cell not in seen:
            seen.add(cell)
            yield row, evidence


def decisions() -> Iterator[tuple[str, str, str, str]]:
    """Give each request that strict answers otherwise: what it is, both decisions, and why."""
    for asked in DECISIONS:
        request = msgspec.structs.replace(asked.request, random=0.5)
        first, second = decide(request, Dialect.UPSTREAM_4_5), decide(request, Dialect.STRICT)
        yield asked.what, _told(first), _told(second), asked.reason


def legacy() -> str:
    """docs/legacy.md."""
    lines = [
        "# The first engine",
        "",
        "Generated by `crash-harness dialects upstream-v1 --markdown`; a test holds it fresh. Upstream's first engine",
        "ran beside the second until 4.5.4. The fix of SIGSEGV names both paths, but the first never looks a policy",
        "up for a crash that its supervisor reports: there SIGSEGV was not retried before the fix, nor after it.",
        "Read in its source, not run. Assumed: docker mode, as in 4.5 (on Kubernetes an exit 137 was a maybe); a",
        "worker that starts its attempts itself; an SDK from 3.1.0 on.",
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
