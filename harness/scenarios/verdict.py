"""What was expected against what was observed. Values in, verdict out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from harness.engine.lifecycle import SUCCEEDED
from harness.engine.loop import DID_NOT_FIRE
from harness.evidence import Witness, spelling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.engine.loop import Attempt, Run
    from harness.scenarios.schema import Expectation, ExpectedAttempt


class Verdict(StrEnum):
    """PASS, FAIL, UNKNOWN; INFRA when the harness could not do its job; SKIP when this machine can't."""

    PASS = "PASS"  # noqa: S105 -- a verdict, not a password
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    INFRA = "INFRA"
    SKIP = "SKIP"


class Judgement(msgspec.Struct, frozen=True):
    """A verdict with its reasons, a line each; none for a PASS."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def observed(attempt: Attempt) -> dict[str, str | None]:
    """Return an attempt in an expectation's words."""
    code = attempt.enhanced.code if attempt.enhanced else None
    return {
        "ended": spelling(attempt.evidence),
        "code": code if isinstance(code, str) else None,
        "cause": attempt.cause,
        "branch": str(attempt.decision.branch) if attempt.decision else None,
        "machine": attempt.machine,
        "host": attempt.host,
    }


ALWAYS = ("ended", "code")  # an attempt that is expected without a code must have none
WHERE_STATED = ("cause", "branch", "machine", "host")
OF_ONE_LIFE = ("cause",)  # what does not depend on the attempts before


def differences(expected: ExpectedAttempt, attempt: Attempt, stated: tuple[str, ...] = WHERE_STATED) -> list[str]:
    """Members that are not as expected: those always judged, and those of `stated` that the expectation has."""
    seen = observed(attempt)
    wanted = {name: getattr(expected, name) for name in (*ALWAYS, *stated)}
    return [
        f"attempt {attempt.number}: {name}: expected {value or 'none'}, observed {seen[name] or 'none'}"
        for name, value in wanted.items()
        if value != seen[name] and (value is not None or name in ALWAYS)
    ]


def judge(expectation: Expectation, run: Run, *, exact: bool) -> Judgement:
    """Judge a run.

    `exact`: the attempts must be those listed, in order, and the status the one given. Otherwise (wild tiers, and
    dosed cases under a seed that is not the file's own) each attempt must be one of those listed.
    """
    unfired = [attempt.number for attempt in run.attempts if attempt.evidence.witness is Witness.DID_NOT_FIRE]
    if unfired and "did not fire" not in {one.ended for one in expectation.attempts}:
        return Judgement(Verdict.INFRA, (f"attempt {unfired[0]}: the fault did not fire: nothing was proved",))
    reasons = _exact_reasons(expectation, run) if exact else _loose_reasons(expectation, run)
    return Judgement(Verdict.FAIL if reasons else Verdict.PASS, tuple(reasons))


def _exact_reasons(expectation: Expectation, run: Run) -> list[str]:
    wanted, seen = expectation.attempts, run.attempts
    reasons = [line for one, attempt in zip(wanted, seen, strict=False) for line in differences(one, attempt)]
    if len(wanted) != len(seen):
        reasons.append(f"attempts: expected {len(wanted)}, observed {len(seen)}")
    if expectation.status not in (None, run.status):
        reasons.append(f"status: expected {expectation.status}, observed {run.status}")
    return reasons


def _loose_reasons(expectation: Expectation, run: Run) -> list[str]:
    reasons = []
    for attempt in run.attempts:
        found = [differences(one, attempt, OF_ONE_LIFE) for one in expectation.attempts]
        if all(found):
            reasons.append(f"attempt {attempt.number}: {spelling(attempt.evidence)} is none of those expected")
    return reasons


def verdict_of(run: Run) -> Verdict:
    """Judge a run that nothing is expected of: it is to succeed, and where its fault did not fire it proves nothing."""
    if run.status == DID_NOT_FIRE:
        return Verdict.INFRA
    return Verdict.PASS if run.status == SUCCEEDED else Verdict.FAIL


INTERRUPTED: Final = 130
"""The exit code of what Ctrl-C ended, as a shell has it."""


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 all as expected, 1 a FAIL, 3 INFRA, 4 UNKNOWN; the first of these that occurs, in this order."""
    seen = set(verdicts)
    for verdict, code in ((Verdict.FAIL, 1), (Verdict.INFRA, 3), (Verdict.UNKNOWN, 4)):
        if verdict in seen:
            return code
    return 0
