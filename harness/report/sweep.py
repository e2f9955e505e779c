"""A sweep as JSON and as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.refusals.verdicts import MEMORY, NOTED
from harness.report.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.refusals.findings import Finding, Opinion
    from harness.refusals.outcome import Report
    from harness.refusals.refusal import Refusal

CRASH_FRAMES, REFUSED_FRAMES = 8, 4
PREFACE: Final = (
    "Each finding needs a refused allocation. malloc does fail: under RLIMIT_AS and RLIMIT_DATA, with",
    "vm.overcommit_memory=2, for large sizes, in 32-bit and arena limits, and where a thread's stack finds no room.",
    "To end the process by design is an answer too: accept such a finding in a baseline, with the reason.",
)
PREFACE_OF_OTHERS: Final = (
    "Each finding needs a call that the system refuses, as it does where a disk is full or breaks, a signal comes in",
    "between, or the number of processes and threads is bounded.",
)


def record(report: Report) -> dict[str, Any]:
    """One JSON object, of the same shape for every sweep."""
    return {
        "verdict": report.verdict,
        "tally": report.tally,
        "sites": report.sites,
        "trials": report.trials,
        "findings": [_finding(one) for one in report.findings],
        "subject": report.subject,
        "calls": report.calls,
        "missed": report.missed,
        "reasons": report.reasons,
        "notes": report.notes,
        "builds": report.builds,
        "interrupted": report.interrupted,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    first = finding.first
    return {
        "key": finding.key,
        "verdict": first.verdict,
        "detail": first.detail,
        "signal": first.signal,
        "address_class": first.address_class,
        "address": first.address,
        "by_design": first.by_design,
        "crash": first.crash,
        "refused": first.refused,
        "operation": first.target.operation,
        "error": first.target.error or None,
        "modes": finding.modes,
        "count": finding.count,
        "sites": finding.sites,
        "again": finding.again,
        "dialects": finding.dialects,
        "replay": finding.replay,
        "accepted": finding.accepted or None,
    }


def finding_line(refusal: Refusal) -> str:
    """One line, as it comes: what happens, where, and what was refused."""
    where = refusal.crash[0] if refusal.crash else ""
    parts = [refusal.verdict, _signal(refusal), refusal.detail, f"in {where}" if where else ""]
    asked = refusal.refused[0] if refusal.refused else "?"
    return f"{' '.join(filter(None, parts))}; refused: {_asked(refusal)} in {asked} ({refusal.target.mode})"


def _asked(refusal: Refusal) -> str:
    """What was refused, and with which error where there are several."""
    return " ".join(filter(None, [refusal.target.operation, refusal.target.error]))


def _signal(refusal: Refusal) -> str:
    if not refusal.signal:
        return ""
    address = "" if refusal.address is None else f" at {refusal.address:#x} ({refusal.address_class})"
    return f"{refusal.signal}{address}{', by design' if refusal.by_design else ''}"


def verdict_line(report: Report) -> str:
    """The verdict, and why it is no better."""
    return f"{report.verdict}{': ' if report.reasons else ''}{'; '.join(report.reasons)}"


def preface(report: Report) -> tuple[str, ...]:
    """What to know before the first finding."""
    asked = {one.first.target.operation for one in report.findings}
    return PREFACE_OF_OTHERS if asked and not asked & MEMORY else PREFACE


def headline(report: Report) -> str:
    """The first line: how much was refused, and what came of it."""
    told = ", ".join(f"{count} {verdict}" for verdict, count in report.tally.items())
    found = counted(len(report.findings), "finding")
    return f"{report.subject}: {counted(report.trials, 'refusal')} at {counted(report.sites, 'site')}: {found} ({told})"


def lines(report: Report) -> Iterator[str]:
    """All of it, for a terminal."""
    if report.trials:
        yield headline(report)
    if report.findings:
        yield from ("", *preface(report))
    for number, alike in enumerate(_alike(report.findings), 1):
        first, *rest = finding_lines(alike[0])
        yield from ("", f"{number}. {first}", *rest)
        if len(alike) > 1:
            yield f"   and {_sum(alike[1:])} that end alike elsewhere; --json, --html and --markdown have each"
    yield ""
    yield from (f"note: {note}" for note in report.notes)
    yield verdict_line(report)


def _alike(findings: Iterable[Finding]) -> list[list[Finding]]:
    """A finding each; but of those that fail nothing, the ones that are called alike stand together."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        is_told_only = one.verdict in NOTED and not one.fails and not one.accepted
        what = one.first.thrown[0] if one.first.thrown else one.first.detail
        groups.setdefault((one.verdict, what) if is_told_only else (one.key,), []).append(one)
    return list(groups.values())


def _sum(findings: list[Finding]) -> str:
    refusals, sites = (sum(getattr(one, name) for one in findings) for name in ("count", "sites"))
    return f"{counted(len(findings), 'finding')} ({counted(refusals, 'refusal')} at {counted(sites, 'site')})"


def finding_lines(finding: Finding) -> Iterator[str]:
    """All about one finding: what, where, what was refused, what retry engines make of it, and how to see it again."""
    first = finding.first
    what = " ".join(filter(None, [first.verdict, _signal(first), first.detail]))
    yield f"{what}   [{finding.key}]"
    seen, lives = finding.again
    again = f"; the first of them again: {seen} of {lives}" if lives > 1 else ""
    where = f"{counted(finding.count, 'refusal')} at {counted(finding.sites, 'site')}"
    yield f"   {where}, {' and '.join(finding.modes)}{again}"
    yield from _stack("crash", first.crash, CRASH_FRAMES)
    yield from _stack(f"refused {_asked(first)}", first.refused, REFUSED_FRAMES)
    yield from (f"   {line}" for line in _opinions(finding.dialects))
    if finding.accepted:
        yield f"   accepted: {finding.accepted}"
    yield f"   replay: {finding.replay}"


def _stack(title: str, frames: tuple[str, ...], count: int) -> Iterator[str]:
    for at, text in enumerate(frames[:count]):
        yield f"   {title if at == 0 else '':>20}  {text}"


def _opinions(dialects: dict[str, Opinion]) -> Iterator[str]:
    """Dialects that agree share a line."""
    groups: dict[tuple[str | None, str], list[str]] = {}
    for name, one in dialects.items():
        groups.setdefault((one.code, one.decision), []).append(name)
    for (code, decision), names in groups.items():
        yield f"{', '.join(names)}: {code or 'no error'}: {decision}"
