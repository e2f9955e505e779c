"""Runs and results in words: the same in tables, in pytest and in progress lines."""

from __future__ import annotations

import shlex
from itertools import groupby
from typing import TYPE_CHECKING

from harness.evidence import spelling
from harness.scenarios.verdict import observed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.engine.loop import Attempt, Run
    from harness.evidence import Evidence, FaultRecord
    from harness.scenarios.campaign import Result


def printable(text: str) -> str:
    """Write what a terminal could obey, or could not show, as Python would escape it; lines stay lines.

    Names and messages come from anywhere: a file, a victim, another's judge.
    """
    if text.isprintable():
        return text
    kept = ((one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()) for one in text)
    return "".join(kept)


def folded(words: Iterable[str]) -> str:
    """Write "SIGSEGV x2, exited 0"."""
    groups = [(word, len(list(same))) for word, same in groupby(words)]
    return ", ".join(word if count == 1 else f"{word} x{count}" for word, count in groups)


def counted(number: int, what: str) -> str:
    """Write "1 case" and "2 cases"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def terminations(run: Run) -> str:
    """How the attempts ended."""
    return folded(spelling(attempt.evidence) for attempt in run.attempts)


def codes(run: Run) -> str:
    """Error codes of the attempts that failed, without the prefix they share."""
    seen = [observed(attempt)["code"] for attempt in run.attempts]
    return folded(code.removeprefix("TASK_PROCESS_") for code in seen if code) or "none"


def expected(result: Result) -> str:
    """What the scenario says must be seen."""
    expectation = result.case.expectation(result.dialect)
    ends = [one.ended for one in expectation.attempts]
    if expectation.status is None:
        return f"each {' or '.join(ends)}"
    return f"{folded(ends)}: {expectation.status}"


def evidence_line(evidence: Evidence) -> str:
    """One line: how it ended, what the record and the counters say."""
    parts = [spelling(evidence)]
    if evidence.fault:
        parts.append(fault_words(evidence.fault))
    if evidence.ended_by != "self":
        parts.append(f"after {evidence.ended_by}")
    if evidence.memory.oom_kills:
        parts.append(f"oom_kills {evidence.memory.oom_kills}")
    if evidence.memory.allocation_failures:
        parts.append(f"allocation failures {evidence.memory.allocation_failures}")
    return ", ".join(parts)


def fault_words(fault: FaultRecord) -> str:
    """Write "SEGV_MAPERR at 0x0 in libboom.so+0x116e"; without a code, the signal stands for it."""
    where = "" if fault.address is None else f" at {fault.address:#x}"
    place = "" if fault.module is None or fault.is_sent else f" in {fault.module}+{fault.offset or 0:#x}"
    return f"{fault.code or fault.signal}{where}{place}"


def attempt_line(attempt: Attempt) -> str:
    """One line of the decision trail."""
    where = " ".join(filter(None, [attempt.machine, attempt.host, attempt.injected]))
    trail = f"attempt {attempt.number} on {where}: {evidence_line(attempt.evidence)}; {attempt.rule} ({attempt.cause})"
    if attempt.decision is None:
        return trail
    then = attempt.decision.outcome + (f" after {attempt.delay_ms:g} ms" if attempt.delay_ms is not None else "")
    return f"{trail}; {observed(attempt)['code']}: {then} ({attempt.decision.branch})"


def replay_command(result: Result) -> str:
    """Return the command that lives this case again."""
    words = ["crash-harness", "run", result.scenario.path, "--case", result.case.name]
    return shlex.join([*words, "--dialect", result.dialect, "--seed", str(result.seed)])


def trail(result: Result) -> list[str]:
    """Verdict, reasons, decision trail and the command that replays it, a line each."""
    lines = [f"{result.judgement.verdict} {result.title} ({result.dialect})", *result.judgement.reasons]
    if result.run:
        lines += [attempt_line(attempt) for attempt in result.run.attempts]
        lines.append(f"replay: {replay_command(result)}")
    return lines
