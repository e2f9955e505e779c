"""What a sweep is known to find: a TOML file that CI holds it against. A new finding fails, one that is gone is told.

Entries are made by `crash-harness sweep --accept`, and deleted by hand: each has a reason, and should have an owner and
a date of review.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- msgspec reads the annotations of records
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from harness.exceptions import InvalidInputError
from harness.gate.tomlwriter import document
from harness.journal import replace_file
from harness.reading import read_toml
from harness.refusals.stacks import asking, module_of, telling
from harness.refusals.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.refusals.findings import Finding
    from harness.refusals.outcome import Report

REMARK = """Findings of `crash-harness sweep` that are known. A new one fails; of one that is gone the sweep says so:
delete its entry. `because` says why it may stay, `owner` who answers for it, `review` until when."""
EVERY = "all"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One finding of one subject. `key` identifies it; the rest is for the reader, and for a later build."""

    key: str
    subject: str
    verdict: str
    because: Annotated[str, Meta(min_length=1)]
    owner: str = ""
    review: date | None = None
    signal: str = ""
    crash: tuple[str, ...] = ()
    refused: str = ""
    builds: dict[str, str] = {}


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole file. `abort = "by design"` accepts every abort that the stack shows to be one on purpose."""

    version: Literal[1] = 1
    abort: Literal["by design"] | None = None
    finding: tuple[Entry, ...] = ()

    def reason(self, subject: str, finding: Finding) -> str:
        """Why a finding may stay; the empty string for one that is not known."""
        for entry in self.finding:
            if (entry.subject, entry.key) == (subject, finding.key):
                return entry.because
        by_design = self.abort and finding.verdict is Verdict.ABORT and finding.first.by_design
        return "by design" if by_design else ""

    def gone(self, report: Report) -> Iterator[Entry]:
        """Entries of the report's subject that it has not found any more."""
        found = {one.key for one in report.findings}
        return (one for one in self.finding if one.subject == report.subject and one.key not in found)

    def due(self, subject: str, today: date) -> Iterator[Entry]:
        """Entries whose review was to be before today."""
        return (one for one in self.finding if one.subject == subject and one.review and one.review < today)


def notes(known: Known, report: Report, today: date, *, whole: bool) -> Iterator[str]:
    """What is to be done to the file. Only a whole sweep can tell that something is gone."""
    for entry in known.gone(report) if whole else ():
        where = entry.crash[0] if entry.crash else entry.refused
        yield f"fixed, delete this line: {entry.key} ({entry.verdict} in {where})"
    for entry in known.due(report.subject, today):
        yield f"review of {entry.key} was due {entry.review}{f', by {entry.owner}' if entry.owner else ''}"


class Acceptance(msgspec.Struct, frozen=True):
    """What a user accepts, and what is to stand in the file beside it."""

    keys: tuple[str, ...]
    because: str
    owner: str = ""
    review: date | None = None


def accept(known: Known, report: Report, wanted: Acceptance) -> Known:
    """Add findings of a report. Raises InvalidInputError for a key that it has not."""
    found = {one.key: one for one in report.findings if not one.is_unproved}
    keys = list(found) if EVERY in wanted.keys else list(wanted.keys)
    if missing := [key for key in keys if key not in found]:
        there = ", ".join(found) or "none"
        raise InvalidInputError(f"--accept: no finding has the key {missing[0]}; those found are {there}")
    fresh = {(report.subject, key): _entry(report, found[key], wanted) for key in keys}
    kept = [one for one in known.finding if (one.subject, one.key) not in fresh]
    entries = sorted([*kept, *fresh.values()], key=lambda one: (one.subject, one.verdict, one.key))
    return msgspec.structs.replace(known, finding=tuple(entries))


def _entry(report: Report, finding: Finding, wanted: Acceptance) -> Entry:
    crash, refused = telling(finding.first.crash, 2), asking(finding.first.refused)
    modules = {module_of(text) for text in (*crash, refused)}
    return Entry(
        finding.key,
        report.subject,
        finding.verdict.value,
        wanted.because,
        wanted.owner,
        wanted.review,
        finding.first.signal or "",
        crash,
        refused,
        {name: build for name, build in sorted(report.builds.items()) if name in modules and build},
    )


def load(path: Path, *, may_be_new: bool) -> Known:
    """Read a file; one that is not there is empty if it may be new. Raises InvalidInputError with file and key."""
    if path.exists() or path.is_symlink():
        return read_toml(path, Known)
    if may_be_new:
        return Known()
    raise InvalidInputError(f"{path}: there is no such file; --accept and --because make one")


def save(path: Path, known: Known) -> None:
    """Write the file; the same entries give the same bytes. Raises InfraError when it can't."""
    replace_file(path, document(msgspec.to_builtins(known), REMARK))
