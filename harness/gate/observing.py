"""A run put into a baseline's words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.evidence import EndedBy, Witness, spelling
from harness.gate.baseline import NONE, AttemptKind, Scalar
from harness.scenarios.verdict import observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.engine.loop import Attempt, Run
    from harness.scenarios.schema import Case

BY_DEADLINE = " by the deadline"


class Seen(msgspec.Struct, frozen=True):
    """One run in a baseline's words. `trouble` says why it proves nothing, if it does not."""

    shows: str
    outcomes: tuple[AttemptKind, ...]
    crashes: int
    trouble: str = ""


def see(run: Run, expected: Sequence[str] | None = None) -> Seen:
    """Put a run into a baseline's words; `expected` are the ends that are known, None when all are welcome."""
    outcomes = tuple(outcome(attempt) for attempt in run.attempts)
    crashes = sum(attempt.error is not None for attempt in run.attempts)
    return Seen(_shows(run), outcomes, crashes, _trouble(run, expected))


def outcome(attempt: Attempt) -> AttemptKind:
    """Return the kind of an attempt."""
    decision, code = attempt.decision, observed(attempt)["code"]
    decided = f"{decision.outcome} {decision.branch}" if decision else NONE
    return AttemptKind(attempt.injected or NONE, _ended(attempt), code or NONE, attempt.rule, decided)


def _ended(attempt: Attempt) -> str:
    late = attempt.evidence.ended_by is EndedBy.DEADLINE
    return f"{spelling(attempt.evidence)}{BY_DEADLINE if late else ''}"


def _shows(run: Run) -> str:
    words = [
        f"{one.ended} {one.code} {one.decision.rpartition(' ')[2]} {attempt.machine}"
        for attempt in run.attempts
        for one in [outcome(attempt)]
    ]
    return f"{' > '.join(words)}: {run.status}"


def _trouble(run: Run, expected: Sequence[str] | None) -> str:
    """Say what the harness, not the classifier, did wrong: a fault that did not fire, a deadline that was too short."""
    for attempt in run.attempts:
        if expected is None or _ended(attempt) in expected:
            continue
        if attempt.evidence.witness is Witness.DID_NOT_FIRE:
            return f"attempt {attempt.number}: the fault did not fire: nothing was proved"
        if attempt.evidence.ended_by is EndedBy.DEADLINE:
            return f"attempt {attempt.number}: it was at its deadline of {attempt.evidence.deadline_s:g} s"
    return ""


def ends_by_design(case: Case) -> set[str]:
    """Return ends that some dialect's expectation has; a deadline is meant where any is called a time-out."""
    attempts = [attempt for one in case.expect for attempt in one.attempts]
    late = {one.ended + BY_DEADLINE for one in attempts if one.code == "MAX_DURATION_EXCEEDED"}
    return late or {one.ended for one in attempts}


def conditions(case: Case) -> dict[str, Scalar]:
    """Return what the outcomes depend on: the case, but for its expectations, as flat keys."""
    plain: dict[str, Any] = msgspec.to_builtins(case)
    flat = dict(_flat({key: value for key, value in plain.items() if key not in ("name", "expect")}, ""))
    return {key: flat[key] for key in sorted(flat)}


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            plain = isinstance(value, str | int | float | bool)
            yield f"{prefix}{key}", value if plain else msgspec.json.encode(value).decode()
