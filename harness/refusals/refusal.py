"""One refusal as it is reported: its verdict, the stacks with names, and what retry engines would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.evidence import EndedBy, Evidence, Memory, address_class
from harness.refusals import symbols
from harness.refusals.ownership import placed
from harness.refusals.stacks import Stack, frame, is_by_design
from harness.refusals.targets import Target  # noqa: TC001 -- msgspec reads the annotations of records
from harness.refusals.verdicts import ABORTS, MEMORY, Reference, Shown, Verdict, judge, signal_of

if TYPE_CHECKING:
    from harness.refusals.trial import Trial


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one trial showed. `crash` and `refused` are frames, innermost first, as `module!function` or `module+0x…`.

    `by_design`: what ended the process was made to end it. `evidence` is there where the process did not live on, and
    `thrown` where the call raised: class and text.
    """

    target: Target
    verdict: Verdict
    detail: str = ""
    signal: str | None = None
    address: int | None = None
    address_class: str | None = None
    crash: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    by_design: bool = False
    evidence: Evidence | None = None
    thrown: tuple[str, str] | None = None


def words(stack: Stack) -> tuple[str, ...]:
    """Each frame with the name of its function."""
    return tuple(frame(place, symbols.function_at(*place)) for place in stack)


def tell(target: Target, trial: Trial, reference: Reference, modules: list[str]) -> Refusal:
    """Judge a trial whose refusal was met, and give the stacks their names."""
    crash = words(placed(trial.answer.crashed_at, modules))
    by_design = is_by_design(crash, trial.stderr if signal_of(trial) in ABORTS else "")
    shown = judge(trial, reference, target.operation, by_design=by_design)
    return _told(target, shown, trial, modules, crash, by_design=by_design)


def tell_missed(target: Target, trial: Trial, verdict: Verdict, modules: list[str]) -> Refusal:
    """A trial that refused something else than it should, or nothing."""
    return _told(target, Shown(verdict), trial, modules, ())


def _told(
    target: Target, shown: Shown, trial: Trial, modules: list[str], crash: tuple[str, ...], *, by_design: bool = False
) -> Refusal:
    raised, _, _ = trial.said
    record = None if trial.hung else trial.answer.crash
    return Refusal(
        target,
        shown.verdict,
        shown.detail,
        signal_of(trial) or None if not trial.hung else None,
        address=record.address if record else None,
        address_class=address_class(record) if record else None,
        crash=crash,
        refused=words(placed(trial.answer.refused_at, modules)),
        by_design=by_design,
        evidence=evidence_of(trial, target.operation),
        thrown=(raised.exceptions[0], raised.text) if raised and raised.exceptions else None,
    )


def evidence_of(trial: Trial, operation: str) -> Evidence:
    """The same as the supervisor would tell it of an attempt: what memory was refused is known."""
    record = None if trial.hung else trial.answer.crash
    return Evidence(
        trial.termination,
        ended_by=EndedBy.DEADLINE if trial.hung else EndedBy.SELF,
        faults=(record,) if record else (),
        memory=Memory(allocation_failures=trial.answer.refused if operation in MEMORY else 0),
        stderr=trial.stderr,
    )
