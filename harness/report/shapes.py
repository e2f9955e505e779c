"""The JSON of `--json` of commands that live attempts. Members without a value are null: a shape is always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.scenarios.verdict import observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.engine.loop import Attempt
    from harness.gate.check import CaseFinding
    from harness.scenarios.campaign import Result
    from harness.scenarios.rollcall import Answer
    from harness.wire.errors import TaskError

Shape = dict[str, object]
OF_ATTEMPT = ("number", "machine", "evidence", "error", "enhanced", "rule", "cause", "decision")


def attempts_shape(
    attempts: Sequence[Attempt], status: str | None, error: TaskError | None = None, *, interrupted: bool = False
) -> Shape:
    """`exec --json`; an interrupted run has no status, and a run that succeeded no error."""
    told = [_attempt(attempt) for attempt in attempts]
    return {"status": status, "error": error, "interrupted": interrupted, "attempts": told}


def _attempt(attempt: Attempt) -> Shape:
    return {name: getattr(attempt, name) for name in OF_ATTEMPT}


def result_shape(result: Result) -> Shape:
    """One of `run --json`, with the whole run."""
    return {
        "scenario": result.scenario.name,
        "case": result.case.name,
        "cause": result.scenario.cause,
        "evidence": result.scenario.evidence,
        "fault": result.case.victim.fault,
        "tier": result.case.victim.tier,
        "dialect": result.dialect,
        "seed": result.seed,
        "verdict": result.judgement.verdict,
        "reasons": result.judgement.reasons,
        "expected": result.case.expectation(result.dialect),
        "observed": [observed(attempt) for attempt in result.run.attempts] if result.run else None,
        "run": result.run,
    }


def results_shape(results: Sequence[Result], *, interrupted: bool) -> Shape:
    """`run --json`."""
    ordered = sorted(results, key=lambda one: one.title)
    return {"interrupted": interrupted, "results": [result_shape(one) for one in ordered]}


def answer_shape(answer: Answer) -> Shape:
    """One shot of `run --catalogue --json`."""
    names = ("fault", "family", "tier", "expected", "observed")
    members = {name: getattr(answer, name) for name in names}
    return members | {"verdict": answer.judgement.verdict, "reasons": answer.judgement.reasons}


def answers_shape(answers: Sequence[Answer], *, interrupted: bool) -> Shape:
    """`run --catalogue --json`."""
    return {"interrupted": interrupted, "results": [answer_shape(answer) for answer in answers]}


def finding_shape(finding: CaseFinding) -> Shape:
    """One finding of `gate --json`."""
    members = msgspec.structs.asdict(finding)
    judgement = members.pop("judgement")
    return {"id": finding.id, "verdict": judgement.verdict, **members, "reasons": judgement.reasons}
