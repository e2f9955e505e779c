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
from harness.refusals.conduct import Swept, Tell
from harness.refusals.outcome import Replay, Report, infra, interrupted, report

if TYPE_CHECKING:
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
    told = _judged(subject, swept, terms, replay, book)
    if terms.baseline and terms.wanted:
        book = known.accept(book, told, terms.wanted)
        known.save(terms.baseline, book)
        told = _judged(subject, swept, terms, replay, book)
    extra = known.notes(book, told, datetime.now(UTC).date(), whole=_is_whole(swept, plan))
    return msgspec.structs.replace(told, notes=(*told.notes, *extra), duration_s=time.monotonic() - began)


def _judged(subject: Subject, swept: Swept, terms: Terms, replay: Replay, book: Known) -> Report:
    accepted = lambda one: book.reason(subject.name, one)  # noqa: E731 -- a name for what is handed on
    return report(subject.name, swept, replay, strict=terms.strict, accepted=accepted)


def _is_whole(swept: Swept, plan: Plan) -> bool:
    return not (plan.at or plan.site or swept.missed or swept.interrupted)
