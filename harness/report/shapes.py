"""The JSON of `--json`, command by command: members without a value are null, so that a shape is always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.conformance.check import record as check_record
from harness.experiments.conduct import ranked
from harness.experiments.tally import GROUP
from harness.report.sweep import record as sweep_shape
from harness.scenarios.verdict import observed
from harness.wire import javascript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.engine.loop import Attempt
    from harness.experiments.conduct import Conclusion
    from harness.gate.check import CaseFinding
    from harness.report.reader import HistoryReport, KeptRun
    from harness.scenarios.campaign import Result
    from harness.scenarios.rollcall import Answer
    from harness.wire.errors import TaskError

Shape = dict[str, object]
OF_ATTEMPT = ("number", "machine", "evidence", "error", "enhanced", "rule", "cause", "decision")


def render(report: HistoryReport) -> str:
    """Write a report as JSON."""
    return encoded(report_shape(report))


def encoded(shape: object) -> str:
    """Write a document that a person may read too."""
    return javascript.write_indented(shape).decode() + "\n"


def report_shape(report: HistoryReport) -> Shape:
    """`report --json`."""
    confusion = [
        {"injected": truth, "codes": cells, "differ": differ} for truth, cells, differ in report.confusion.rows()
    ]
    return {
        "job": report.job,
        "standing": report.standing,
        "environment": report.environment,
        "undecided": report.undecided,
        "results": [{"title": r.title, "dialect": r.dialect, "judgement": r.judgement} for r in report.results],
        "runs": [_kept_run(one) for one in report.runs],
        "experiments": [conclusion_shape(one.conclusion) for one in report.experiments],
        "confusion": confusion,
        "deltas": report.deltas,
        "checks": [check_record(one) for one in report.checks],
        "sweeps": [sweep_shape(one) for one in report.sweeps],
    }


def _kept_run(one: KeptRun) -> Shape:
    return {
        "title": one.title,
        "verdict": one.verdict,
        **attempts_shape(one.run.attempts, one.run.status, one.run.error),
    }


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


def conclusion_shape(told: Conclusion) -> Shape:
    """One of `experiment --json`."""
    return {
        "title": told.experiment.title,
        "ended": told.ended or None,
        "elapsed_s": told.elapsed_s,
        "findings": told.findings,
        "difference": told.difference,
        "verdict": told.verdict,
        "kept": told.kept,
        "lost": told.lost,
        "fired_again": [
            {"variant": one.name, "trials": told.again[one.name], "may_be_biased": one.is_wild}
            for one in told.experiment.variants
            if one.name in told.again
        ],
        "shares": [
            {"variant": variant, "worker": name, "trials": share.groups * GROUP, "failures": share.failures}
            for variant, shares in told.shares.items()
            for name, share in sorted(shares.items())
        ],
    }


def conclusions_shape(told: Sequence[Conclusion], *, interrupted: bool) -> Shape:
    """`experiment --json`."""
    ranking = [found.variant for found in ranked(told)]
    return {"interrupted": interrupted, "experiments": [conclusion_shape(one) for one in told], "ranking": ranking}


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
