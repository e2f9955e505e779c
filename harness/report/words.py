"""Runs and results in words: the same in tables, in pytest and in progress lines."""

from __future__ import annotations

import shlex
from itertools import groupby
from typing import TYPE_CHECKING, Final

from harness.engine.lifecycle import SUCCEEDED
from harness.engine.loop import told
from harness.evidence import spelling
from harness.wire.errors import title_of
from harness.wire.policy import DEFAULT_PRESET
from harness.wire.request import MAX_ATTEMPTS, Branch, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.engine.durable import Durable
    from harness.engine.loop import Attempt, Run
    from harness.scenarios.campaign import Result


def printable(text: str) -> str:
    """Write what a terminal could obey, or could not show, as Python would escape it: names come from anywhere."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def lines_of(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


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


def lived_s(run: Run | None) -> float:
    """How long its attempts lived, in seconds, without the delays between them."""
    return sum(attempt.evidence.duration_s or 0.0 for attempt in run.attempts) if run else 0.0


def expected(result: Result) -> str:
    """What the scenario says must be seen."""
    expectation = result.case.expectation(result.dialect)
    ends = [one.ended for one in expectation.attempts]
    if expectation.status is None:
        return f"each {' or '.join(ends)}"
    return f"{folded(ends)}: {expectation.status}"


def ending(run: Run, dialect: str = "") -> str:
    """The status a run came to: "CRASHED after 3 attempts (strict)"; and why, where the engine gave it up."""
    told = f"{run.status} after {counted(len(run.attempts), 'attempt')}{f' ({dialect})' if dialect else ''}"
    capped = len(run.attempts) == MAX_ATTEMPTS and run.status != SUCCEEDED
    cap = f"no run gets more than {MAX_ATTEMPTS} attempts" if capped else ""
    given_up = f"{dialect or 'the engine'} says: {run.given_up}" if run.given_up else ""
    return printable(": ".join(filter(None, [told, cap, given_up])))


WHY: Final = {
    Branch.CANCELLED: "it was cancelled",
    Branch.OOM_NO_MACHINE: "out of memory, and the policy names no larger machine",
    Branch.OOM_SAME_MACHINE: "out of memory on the larger machine too",
    Branch.OOM_NO_DELAY: "out of memory, and no attempt is left",
    Branch.OOM_MOVED: "on a larger machine",
    Branch.NOT_RETRIABLE: "this code is never retried",
    Branch.ATTEMPT_CAP: f"no run gets more than {MAX_ATTEMPTS} attempts",
    Branch.RUN_MAX_ATTEMPTS: "no attempt is left",
    Branch.WORKER_SETTINGS: "as the worker asks",
    Branch.NO_LOOKUP: "this code is not retried by a policy",
    Branch.NO_POLICY: "there is no policy",
    Branch.POLICY_EXHAUSTED: "the policy gives no more attempts",
    Branch.POLICY: "by the policy",
}
"""Each branch in the words of a decision trail."""


OUTCOMES: Final = {
    Outcome.RETRY: "retry",
    Outcome.FAIL_RUN: "the run fails",
    Outcome.CANCEL_RUN: "the run is cancelled",
}


def attempt_line(attempt: Attempt) -> str:
    """One line of the decision trail. The machine is named where it is not the one that everything begins on."""
    machine = attempt.machine if attempt.machine != DEFAULT_PRESET else ""
    where = " ".join(filter(None, [machine, attempt.host, attempt.injected]))
    number = f"attempt {attempt.number}{' on ' if machine or attempt.host else ' ' if where else ''}{where}"
    trail = f"{number}: {attempt.evidence}; {attempt.rule} ({attempt.cause})"
    if attempt.decision is None:
        return printable(trail)
    then = OUTCOMES[attempt.decision.outcome] + (
        f" after {attempt.delay_ms:g} ms" if attempt.delay_ms is not None else ""
    )
    branch = attempt.decision.branch
    return printable(f"{trail}; {_called(attempt)}: {then}, {WHY[branch]} ({branch})")


def _called(attempt: Attempt) -> str:
    """The code of its error, or what was thrown."""
    error = attempt.enhanced or attempt.error
    return title_of(error) if error else "no error"


def attempt_lines(attempt: Attempt) -> list[str]:
    """Its line of the decision trail, and below it the backtrace where one was asked for."""
    return [
        attempt_line(attempt),
        *(f"    {printable(line)}" for line in (attempt.evidence.backtrace or "").splitlines()),
    ]


def taken_up_lines(kept: Durable) -> Iterator[str]:
    """What is said of a run that a history has already: its attempts, and whether anything is left to do."""
    if not kept.saved:
        return
    attempts = told(kept.saved).attempts
    for attempt in attempts:
        yield from attempt_lines(attempt)
    if kept.is_final:
        yield f"ended at {kept.history.ended_at()}; nothing was run"
        return
    yield from (f"note: {line}" for line in kept.history.moved())
    if kept.lost:
        yield f"attempt {kept.lost} ended without a word, with the process that supervised it, and counts"
    yield f"{counted(len(attempts), 'attempt')} had ended; going on"


def interrupted_line(attempts: Sequence[Attempt], *, is_kept: bool) -> str:
    """What is said of a run that Ctrl-C or SIGTERM ends."""
    line = f"interrupted after {counted(len(attempts), 'attempt')}; what was under way does not count"
    return f"{line}; the same command goes on" if is_kept else line


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
    return [printable(line) for line in lines]
