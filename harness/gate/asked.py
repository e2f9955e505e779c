"""What is asked of a gate beside its cases: failures that are accepted, cases that must run, ids that no case has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InvalidInputError
from harness.gate.baseline import Acceptance
from harness.gate.live import pairs_of
from harness.scenarios.select import select
from harness.scenarios.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from harness.gate.baseline import Baseline
    from harness.gate.check import CaseFinding
    from harness.gate.live import Pair


def accepted(
    ids: Sequence[str], reasons: Sequence[str], known: Collection[str], owner: str, review: str
) -> dict[str, Acceptance]:
    """Put each accepted id to its reason. Raises InvalidInputError for an id that no case has, or without a reason."""
    if len(ids) != len(reasons) or not all(reason.strip() for reason in reasons):
        raise InvalidInputError("--accept: expected one --because with a reason for each")
    if unknown := [one for one in ids if one not in known]:
        raise InvalidInputError(f"--accept: {unknown[0]!r} is none of the cases; those are {', '.join(known)}")
    return {one: Acceptance(reason, (), owner, review) for one, reason in zip(ids, reasons, strict=True)}


def unskipped(findings: list[CaseFinding], wanted: Iterable[str], known: Collection[str]) -> list[CaseFinding]:
    """Fail the cases of these ids that were skipped. Raises InvalidInputError for an id that no case has."""
    must = set(wanted)
    if unknown := sorted(must - set(known)):
        raise InvalidInputError(f"--must-run: {unknown[0]!r} is none of the cases; those are {', '.join(known)}")
    return [
        msgspec.structs.replace(one, judgement=Judgement(Verdict.FAIL, ("it must run", *one.judgement.reasons)))
        if one.id in must and one.judgement.verdict is Verdict.SKIP
        else one
        for one in findings
    ]


def stale_ids(baseline: Baseline, narrowed: Sequence[str], pairs: Mapping[str, Pair]) -> list[str]:
    """Return ids in the file that no case has, among the scenarios that are asked for."""
    known = set(pairs)
    ids = [entry.id for entry in baseline.case]
    if narrowed:
        paths = {scenario.name: scenario.path for scenario, _ in pairs.values()}
        known = set(pairs_of(select(list(paths.values()), None)))
        ids = [one for one in ids if one.partition("[")[0] in paths]
    return [one for one in ids if one not in known]
