"""What a sweep found: refusals of one cause are one finding. Values in, values out."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from harness.dialects import BUILT_IN
from harness.engine.lifecycle import Task
from harness.engine.loop import Engine, Life
from harness.refusals.refusal import Refusal  # noqa: TC001 -- msgspec reads the annotations of records
from harness.refusals.stacks import asking, telling
from harness.refusals.verdicts import GOOD, UNPROVED, Verdict
from harness.wire.errors import Kind, TaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.dialects.protocol import Dialect

TELLING: Final = 2  # frames of a crash that tell it from another
# A policy that retries, and that has a larger machine to move to.
POLICY: Final = Task(3, {"maxAttempts": 3, "outOfMemory": {"machine": "medium-1x"}}, "small-1x")
KEY_DIGITS: Final = 10


class Opinion(msgspec.Struct, frozen=True):
    """What a dialect calls the end of the process, and what it does then. `code` is null where it saw no failure."""

    code: str | None
    decision: str


class Finding(msgspec.Struct, frozen=True):
    """All refusals of one verdict, one crash site and one asker; `first` is the one that stands for them.

    `again`: in how many of how many lives of `first` the same was seen.
    """

    key: str
    first: Refusal
    count: int
    sites: int
    modes: tuple[str, ...]
    dialects: dict[str, Opinion]
    replay: str = ""
    accepted: str = ""  # why it may stay
    fails: bool = False
    again: tuple[int, int] = (1, 1)

    @property
    def is_unproved(self) -> bool:
        """Whether the finding only says that something was not refused."""
        return self.verdict in UNPROVED

    @property
    def verdict(self) -> Verdict:
        """Return the verdict that all of its refusals share."""
        return self.first.verdict


def parts(refusal: Refusal) -> tuple[str, ...]:
    """What makes two refusals the same finding: verdict, signal, two frames of the crash, and who asked.

    Without a crash it is what it was called by: a class of exception, an exit status.
    """
    crash = telling(refusal.crash, TELLING)
    called = () if refusal.crash else (_called(refusal),)
    return (refusal.verdict.value, refusal.signal or "", *crash, *called, asking(refusal.refused), refusal.target.error)


def _called(refusal: Refusal) -> str:
    if refusal.thrown and refusal.verdict in (Verdict.DISGUISED, Verdict.DAMAGED):
        return refusal.thrown[0]
    return refusal.detail.partition(":")[0] if refusal.verdict in (Verdict.ABORT, Verdict.DISGUISED) else ""


def key(refusal: Refusal) -> str:
    """Identify a finding in a baseline."""
    return hashlib.blake2b("\0".join(parts(refusal)).encode(), digest_size=16).hexdigest()[:KEY_DIGITS]


def find(refusals: Iterable[Refusal]) -> list[Finding]:
    """Every finding, the worst and most frequent first. What was handled or absorbed is no finding."""
    groups: dict[str, list[Refusal]] = {}
    for one in refusals:
        if one.verdict not in GOOD:
            groups.setdefault(key(one), []).append(one)
    ranks = {verdict: rank for rank, verdict in enumerate(Verdict)}
    found = [_finding(name, group) for name, group in groups.items()]
    return sorted(found, key=lambda one: (ranks[one.verdict], -one.count, one.key))


def _finding(name: str, group: list[Refusal]) -> Finding:
    modes = tuple(dict.fromkeys(one.target.mode for one in group))
    sites = len({one.target.site for one in group})
    return Finding(name, group[0], len(group), sites, modes, opinions(group[0]))


def tally(refusals: Iterable[Refusal]) -> dict[str, int]:
    """Count the refusals of each verdict, in the order of the verdicts."""
    counts = Counter(one.verdict for one in refusals)
    return {verdict.value: counts[verdict] for verdict in Verdict if counts[verdict]}


def opinions(refusal: Refusal) -> dict[str, Opinion]:
    """What each dialect makes of it, under a policy that retries and may move to a larger machine."""
    if refusal.evidence is None or refusal.verdict in UNPROVED:
        return {}
    return {name: _opinion(refusal, dialect) for name, dialect in BUILT_IN.items()}


def _opinion(refusal: Refusal, dialect: Dialect) -> Opinion:
    thrown = None
    if refusal.thrown:
        thrown = TaskError(Kind.BUILT_IN, name=refusal.thrown[0], message=refusal.thrown[1], stack_trace="")
    life = Life(refusal.evidence, thrown=thrown)  # type: ignore[arg-type]  # opinions() has looked
    attempt = Engine(POLICY, dialect, lambda: 0.5).judge(life, 1, "small-1x")
    error = attempt.enhanced or attempt.error
    if error is None or attempt.decision is None:
        return Opinion(None, "success")
    code = error.code if isinstance(error.code, str) else str(error.name)
    where = f" on {attempt.decision.machine}" if isinstance(attempt.decision.machine, str) else ""
    return Opinion(str(code), f"{attempt.decision.outcome}{where} ({attempt.decision.branch})")
