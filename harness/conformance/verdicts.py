"""Properties of verdicts and of time: given, true, final, neither too late nor too early. Values in, reasons out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from harness.conformance.counts import count
from harness.conformance.protocol import Cap
from harness.conformance.record import Reason
from harness.conformance.view import short

if TYPE_CHECKING:
    from harness.conformance.record import Line, Told
    from harness.conformance.view import Found, View

SLACK_S: Final = 0.5
TICK_S: Final = 0.15  # how much later than it happened a death is seen, in counted seconds
EARLY_S: Final = 0.005
ROUNDED_S: Final = 1.0  # what a time limit in whole seconds may leave out


def has_verdict(view: View) -> Found:
    """P5: every job has one."""
    for role in (*view.pills, *view.innocents):
        if view.record.verdict(role) is None:
            cut = view.record.cut and role in view.pills
            how = f" after {len(view.starts(role))} starts" if cut else ""
            yield Reason("P5", f"{role}: no verdict{how}, {view.record.last(role).state}", by_clock=not view.record.cut)


def is_true(view: View) -> Found:
    """P6: it fits the work that was done, and stays."""
    for role in view.record.jobs:
        yield from _holds(view, role)
        yield from _matches_work(view, role)


def _holds(view: View, role: str) -> Found:
    told = view.record.verdict(role)
    if told is None:
        return
    flips = [
        one.claim.state for one in view.record.told[role] if one.at > told.at and one.claim.state != told.claim.state
    ]
    if flips:
        yield Reason("P6", f"{role}: {told.claim.state}, and later {flips[0]}")
    late = [line for line in view.starts(role) if line.at > told.at]
    if late:
        yield Reason("P6", f"{role}: attempt {late[0].n} started after {told.claim.state}")
    true = {None, *(f"done:{line.job}:{line.n}" for line in view.record.of(role, "end"))}
    false = [one.claim.result for one in view.record.told[role] if one.claim.state == "ok"]
    for result in dict.fromkeys(one for one in false if one not in true):
        yield Reason("P6", f"{role}: the result {short(str(result))!r} is not what the payload returned")
    yield from _was_at_work(view, role, told)


def _was_at_work(view: View, role: str, told: Told) -> Found:
    """A job that failed has no attempt that fires later: its verdict came before its end."""
    fires = [line for line in view.record.of(role, "fire") if line.at > told.at]
    if told.claim.state == "failed" and fires and not (view.cell.cancel or view.cell.durable):
        yield Reason("P6", f"{role}: failed, while attempt {fires[0].n} was at work")


def _matches_work(view: View, role: str) -> Found:
    """Work that was done is `ok`, unless it was cancelled, timed out, or its supervisors killed."""
    excused = view.cell.durable or (role == "X" and (view.cell.cancel or view.cell.hangs))
    last = view.record.last(role)
    if excused or not view.record.of(role, "end") or last.state == "ok":
        return
    yield Reason("P6", f"{role}: its work was done, the engine says {last.state}", by_clock=not last.is_final)


def in_time(view: View) -> Found:
    """P13: from the first look that saw the last attempt dead to the first that heard the verdict."""
    for role in view.pills:
        told, fires = view.record.verdict(role), view.record.of(role, "fire")
        if not told or not fires or told.claim.state != "failed":
            continue
        dead = view.record.life(fires[-1]).dead_at if not view.cell.is_soft(fires[-1].n) else None
        took = view.counted(told.at) - view.counted(dead or fires[-1].at)
        if took > view.declared.detect_s + SLACK_S:
            yield Reason("P13", f"{role}: {took:.1f} s from the death to the verdict", by_clock=True)


def serves(view: View) -> Found:
    """P8: a canary afterwards is ok."""
    if "canary" in view.record.jobs and view.record.last("canary").state != "ok":
        last = view.record.last("canary")
        yield Reason("P8", f"canary: {last.state} {short(last.cause)}".rstrip(), by_clock=not last.is_final)


def paced(view: View) -> Found:
    """P12: no retry before its backoff is over, and a backoff of 0 retries."""
    backoff = view.cell.policy.backoff_s
    for role in view.pills:
        if backoff == 0:
            yield from count(view, "P12", role)
            continue
        for one, other in pairwise(view.starts(role)):
            gap = other.at - _last_sign(view, role, one)
            if backoff and gap < backoff - EARLY_S:
                yield Reason(
                    "P12", f"{role}: attempt {other.n} {gap:.3f} s after the last sign of life, asked {backoff:g}"
                )


def _last_sign(view: View, role: str, start: Line) -> float:
    """The fire line, or the last look that saw the attempt alive: after an exception its process may serve on."""
    signs = [start.at, *(line.at for line in view.record.of(role, "fire") if line.n == start.n)]
    alive = view.record.life(start).alive_at
    if alive and not view.cell.is_soft(start.n):
        signs.append(alive)
    return max(signs)


def timed_out(view: View) -> Found:
    """P14: a hang ends at its limit, neither later nor earlier."""
    yield from _ended_early(view)
    limit = (view.cell.policy.timeout_s or 0.0) + view.declared.timeout_grace_s + SLACK_S + TICK_S
    for start in view.starts("X"):
        dead = view.record.life(start).dead_at
        took = view.counted(dead) - view.counted(start.at) if dead else None
        if took is None:
            yield Reason("P14", f"X: the hang of attempt {start.n} was never ended", by_clock=True)
        elif took > limit:
            yield Reason("P14", f"X: the hang of attempt {start.n} lived {took:.1f} s", by_clock=True)


def _ended_early(view: View) -> Found:
    """A retry can't have begun before the attempt before it was last seen alive, and its backoff was over.

    Nothing of this depends on how quick the engine or the machine is: whatever is slow makes an attempt look longer.
    """
    wait_s = (view.cell.policy.backoff_s or 0.0) if view.declared.can(Cap.BACKOFF) else 0.0
    limit = (view.cell.policy.timeout_s or 0.0) - ROUNDED_S
    for before, start in pairwise(view.starts("X")):
        alive, dead = view.record.life(before).alive_at, view.record.life(start).dead_at
        if alive and dead and dead - alive - wait_s < limit:
            took = dead - alive - wait_s
            yield Reason("P14", f"X: the hang of attempt {start.n} was ended after {took:.1f} s at most: too early")


def cancelled(view: View) -> Found:
    """P15: nothing starts after a cancel."""
    at, last = view.record.cancelled_at, view.record.last("X")
    if at is None:
        yield Reason("P15", "X never came to where it was to be cancelled", by_clock=True)
        return
    late = [line for line in view.starts("X") if line.at > at]
    if late:
        yield Reason("P15", f"X: attempt {late[0].n} started after the cancel was accepted")
    if last.state not in ("cancelled", "failed"):
        yield Reason("P15", f"X: {last.state} after the cancel", by_clock=not last.is_final)
