"""The JSON of `report --json` and `experiment --json`: all that a history has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.conformance.check import record as check_record
from harness.experiments.conduct import ranked
from harness.experiments.tally import GROUP
from harness.report.shapes import attempts_shape
from harness.report.sweep import record as sweep_shape
from harness.wire import javascript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.experiments.conduct import Conclusion
    from harness.report.reader import HistoryReport, KeptRun
    from harness.report.shapes import Shape


def render(report: HistoryReport) -> str:
    """Write a report as JSON."""
    return javascript.write_indented(report_shape(report)).decode() + "\n"


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
