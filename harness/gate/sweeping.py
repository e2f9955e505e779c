"""A sweep held against what is known: swept, judged, and the file kept."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 -- msgspec reads the annotations of records
from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InfraError
from harness.gate import known
from harness.gate.known import Acceptance, Known
from harness.refusals import conduct
from harness.refusals.conduct import Tell
from harness.refusals.outcome import Replay, Report, infra, interrupted, judged, report

if TYPE_CHECKING:
    from harness.refusals.findings import Finding
    from harness.refusals.subject import Subject
    from harness.refusals.targets import Plan


class Terms(msgspec.Struct, frozen=True):
    """How a sweep is judged. `baseline` is a file of known findings, to which `wanted` adds some."""

    strict: bool = False
    baseline: Path | None = None
    wanted: Acceptance | None = None

    def book(self) -> Known:
        """Read the file. Raises InvalidInputError with file and key."""
        return known.load(self.baseline, may_be_new=self.wanted is not None) if self.baseline else Known()


def sweep(subject: Subject, plan: Plan, terms: Terms, replay: Replay, tell: Tell | None = None) -> Report:
    """Sweep, and judge by the terms. What can't be swept is a report too; wrong use raises InvalidInputError."""
    book, began = terms.book(), time.monotonic()
    try:
        swept = conduct.sweep(subject.host(plan), plan, tell or Tell())
    except InfraError as error:
        return infra(subject.name, error)
    except KeyboardInterrupt:  # before the first refusal
        return interrupted(subject.name)
    told = _judged(report(subject.name, swept, replay), plan, terms, book)
    return msgspec.structs.replace(told, duration_s=time.monotonic() - began)


def judge(told: Report, plan: Plan, terms: Terms) -> Report:
    """Judge a sweep of before by these terms."""
    return _judged(told, plan, terms, terms.book())


def _judged(told: Report, plan: Plan, terms: Terms, book: Known) -> Report:
    def accepted(one: Finding) -> str:
        return book.reason(told.subject, one)

    told = judged(told, accepted, strict=terms.strict)
    if terms.baseline and terms.wanted:
        book = known.accept(book, told, terms.wanted)
        known.save(terms.baseline, book)
        told = judged(told, accepted, strict=terms.strict)
    is_whole = not (plan.at or plan.site or told.missed or told.interrupted)
    extra = known.notes(book, told, datetime.now(UTC).date(), whole=is_whole)
    return msgspec.structs.replace(told, notes=tuple(dict.fromkeys((*told.notes, *extra))))
