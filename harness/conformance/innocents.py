"""Properties of innocents: they finish at their first start, unblamed, and are not starved. Values in, reasons out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.conformance.protocol import Cap, Claim
from harness.conformance.record import Reason
from harness.conformance.view import short

if TYPE_CHECKING:
    from harness.conformance.view import Found, View

JUST_BEFORE_S: Final = 0.5


def _finished(view: View) -> Found:
    name = "P21" if view.cell.pills > 1 else "P7"
    for role in view.innocents:
        last, starts = view.record.last(role), len(view.starts(role))
        ended = view.record.verdict(role)
        was_asked_to = view.cell.cancel == "run" and ended is not None and ended.claim.state == "ok"  # it flips: P6
        if last.state != "ok" and not was_asked_to:
            yield Reason(name, f"{role}: {last.state} {short(last.cause)}".rstrip(), by_clock=not last.is_final)
        if starts != 1:
            yield Reason(name, f"{role}: {starts} starts of an innocent", by_clock=starts == 0)
        yield from _blamed(view, name, role)
    if any(line.ev == "alone" for line in view.record.lines):
        yield Reason(name, "b0 and X never ran at once: CONCURRENT did not hold", by_clock=True)


def _blamed(view: View, name: str, role: str) -> Found:
    told = [one.claim for one in view.record.told.get(role, [])]
    blame = next((one for one in told if one.cause or one.history), None)
    if blame:
        yield Reason(name, f"{role}: blamed in between: {short(blame.cause or str(blame.history))}")
    last = told[-1] if told else Claim()
    if view.declared.can(Cap.HISTORY) and last.is_final and view.charged(last) not in (None, 1):
        yield Reason(name, f"{role}: {last.attempts} {view.declared.counts} charged to an innocent")


def _unstarved(view: View) -> Found:
    """Say which innocents did not start before a hang was killed, unless another one was at work until then.

    One that begins between the last look that saw the hang alive and the first that saw it dead proves neither.
    """
    if view.cell.policy.timeout_s is None or not view.declared.can(Cap.CONCURRENT):
        return
    first = view.starts("X")[:1]
    life = view.record.life(first[0]) if first else None
    dead = life.dead_at if life else None
    if life is None or dead is None or _was_busy(view, life.alive_at or dead):
        return
    for role in view.innocents:
        starts = view.starts(role)
        if starts and starts[0].at > dead:
            yield Reason("P7", f"{role} started after the hang was killed: starved", by_clock=True)


def _was_busy(view: View, at: float) -> bool:
    """Whether an innocent was at work shortly before `at`, in counted seconds: between them the engine may wait."""
    since = view.counted(at) - JUST_BEFORE_S
    for role in view.innocents:
        ends = {line.n: line.at for line in view.record.of(role, "end")}
        begun = [line for line in view.starts(role) if line.at <= at]
        if any(view.counted(ends.get(line.n, at)) >= since for line in begun):
            return True
    return False


def spared(view: View) -> Found:
    """P7 and P21: ok, one start, never blamed, charged with one attempt, not starved beside a hang."""
    yield from _finished(view)
    yield from _unstarved(view)
