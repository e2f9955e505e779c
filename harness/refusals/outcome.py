"""A sweep as a whole: its verdict, and everything that a report shows."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from harness.refusals.findings import Finding, find, tally
from harness.refusals.refusal import Refusal
from harness.refusals.verdicts import GOOD, NOTED, UNPROVED

if TYPE_CHECKING:
    from harness.exceptions import InfraError
    from harness.refusals.conduct import Swept

SYSTEM_ERROR: Final = "SystemError"  # CPython's word for an extension that broke its contract
PASS, FAIL, UNKNOWN, INFRA = "PASS", "FAIL", "UNKNOWN", "INFRA"


Accepted = Callable[[Finding], str]
Replay = Callable[[Refusal], str]


def nothing(_: Finding) -> str:
    """Accept no finding."""
    return ""


class Report(msgspec.Struct, frozen=True):
    """What a sweep has shown. `trials` were lived at `sites`; `missed` of these were not refused in every way.

    `reasons` say why the verdict is no PASS, `notes` what else is to be known. `builds` are the build-ids of the
    modules that findings name.
    """

    subject: str
    verdict: str
    tally: dict[str, int]
    sites: int
    trials: int
    findings: tuple[Finding, ...]
    missed: int = 0
    calls: int = 0
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    builds: dict[str, str] = {}
    duration_s: float = 0.0
    interrupted: bool = False
    is_finished: bool = True
    refusals: tuple[Refusal, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """The reasons that are no findings: the first counts those, where any fails."""
        return self.reasons[any(one.fails for one in self.findings) :]


def report(subject: str, swept: Swept, replay: Replay, *, strict: bool = False) -> Report:
    """Report a sweep. `replay` words the line that lives a refusal again."""
    doubts = list(swept.doubts)
    missed = len({(one.site, one.operation) for one in swept.missed})
    if missed:
        doubts.append(f"{missed} of {swept.sites} sites were not refused in every way")
    if swept.interrupted:
        doubts.append("it was interrupted")
    elif not swept.is_finished:
        doubts.append("the time was over before every refusal had its turn")
    found = [
        msgspec.structs.replace(one, replay=replay(one.first), again=swept.again.get(one.key, (1, 1)))
        for one in find(swept.refusals)
    ]
    told = Report(
        subject,
        PASS,
        tally(swept.refusals),
        swept.sites,
        len(swept.refusals),
        tuple(found),
        missed,
        swept.calls,
        tuple(doubts),
        tuple(swept.notes),
        swept.builds,
        interrupted=swept.interrupted,
        is_finished=swept.is_finished,
        refusals=tuple(swept.refusals),
    )
    return judged(told, nothing, strict=strict)


def judged(told: Report, accepted: Accepted, *, strict: bool) -> Report:
    """Judge a sweep, or one more time by other terms: what is `accepted` does not fail."""
    if told.verdict == INFRA:
        return told
    found = tuple(_judged(one, accepted, strict=strict) for one in told.findings)
    bad = sum(one.fails for one in found)
    verdict = FAIL if bad else UNKNOWN if told.doubts else PASS
    failed = [f"{bad} of {len(found)} findings fail"] if bad else []
    return msgspec.structs.replace(told, verdict=verdict, findings=found, reasons=(*failed, *told.doubts))


def _judged(finding: Finding, accepted: Accepted, *, strict: bool) -> Finding:
    why = accepted(finding)
    return msgspec.structs.replace(finding, accepted=why, fails=not why and fails(finding, strict=strict))


def fails(finding: Finding, *, strict: bool) -> bool:
    """Whether a finding makes the sweep a FAIL. Another exception than MemoryError fails only where it is strict."""
    if finding.verdict in UNPROVED | GOOD:
        return False
    if finding.verdict not in NOTED:
        return True
    return strict or bool(finding.first.thrown and finding.first.thrown[0] == SYSTEM_ERROR)


def infra(subject: str, error: InfraError) -> Report:
    """A sweep that could not be made."""
    return Report(subject, INFRA, {}, 0, 0, (), reasons=(str(error),))


def interrupted(subject: str) -> Report:
    """A sweep that was ended before it refused anything."""
    reason = "it was interrupted before anything was refused"
    return Report(subject, UNKNOWN, {}, 0, 0, (), reasons=(reason,), interrupted=True, is_finished=False)


def command_line(words: Sequence[str]) -> Replay:
    """Word a replay as a command: these are its options and what it sweeps."""

    def replay(refusal: Refusal) -> str:
        target = refusal.target
        aim = ["--mode", target.mode, "--site", target.name, *(["--errors", target.error] if target.error else [])]
        return shlex.join(["crash-harness", "sweep", *aim, *words])

    return replay


def keywords(refusal: Refusal) -> str:
    """Word a replay for what only Python can call."""
    target = refusal.target
    given = {"site": target.name, "mode": target.mode, **({"errors": [target.error]} if target.error else {})}
    return f"harness.sweep(…, {', '.join(f'{name}={value!r}' for name, value in given.items())})"
