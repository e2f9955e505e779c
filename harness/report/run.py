"""A run as JSON, the shape of `exec --json`, and its attempts as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.words import attempt_line

if TYPE_CHECKING:
    from harness.engine.loop import Attempt, Run

MEMBERS = ("number", "machine", "evidence", "error", "enhanced", "rule", "cause", "decision")


def run_record(run: Run) -> dict[str, object]:
    """Return a run for JSON; members without a value are null, so that the shape is always the same."""
    return {"status": run.status, "attempts": [attempt_record(attempt) for attempt in run.attempts]}


def attempt_record(attempt: Attempt) -> dict[str, object]:
    """Return an attempt for JSON."""
    return {name: getattr(attempt, name) for name in MEMBERS}


def attempt_lines(attempt: Attempt) -> list[str]:
    """Return its line of the decision trail, and below it the backtrace where one was asked for."""
    return [attempt_line(attempt), *(f"    {line}" for line in (attempt.evidence.backtrace or "").splitlines())]
