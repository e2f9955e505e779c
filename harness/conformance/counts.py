"""Properties that count: starts, attempts, machines, processes. Values in, reasons out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from harness.conformance.protocol import LARGE, MACHINES
from harness.conformance.record import Reason

if TYPE_CHECKING:
    from harness.conformance.view import Found, View


def count(view: View, name: str, role: str) -> Found:
    """Say where X did not start exactly as often as declared."""
    found, wanted = len(view.starts(role)), view.course.starts
    if found != wanted:
        yield Reason(name, f"{role}: {found} starts, declared {wanted}")


def calibrated(view: View) -> Found:
    """P0: an exception starts as often as an exception may."""
    yield from count(view, "P0", "X")


def bounded(view: View) -> Found:
    """P1: no more starts than the limit."""
    for role in view.pills:
        found = len(view.starts(role))
        if found > view.limit:
            yield Reason("P1", f"{role}: {found} starts, at most {view.limit} were asked for")


def default(view: View) -> Found:
    """P2: without a policy the declared default."""
    for role in view.pills:
        yield from count(view, "P2", role)


def parity(view: View) -> Found:
    """P3: starts and verdict follow the declared table."""
    for role in view.pills:
        yield from count(view, "P3", role)
        yield from state(view, "P3", role)


def state(view: View, name: str, role: str) -> Found:
    """The declared verdict, where there is one."""
    told, wanted = view.record.verdict(role), view.course.final
    if told and told.claim.state != wanted:
        yield Reason(name, f"{role}: {told.claim.state}, declared {wanted}")


def recovers(view: View) -> Found:
    """P4: it starts until it works, and is ok."""
    yield from count(view, "P4", "X")
    yield from state(view, "P4", "X")


def counted_right(view: View) -> Found:
    """P16: the engine's count and history match the starts."""
    for role in view.record.jobs:
        last, starts = view.record.last(role), len(view.starts(role))
        if not last.is_final or last.attempts is None:
            if last.is_final:
                yield Reason("P16", f"{role}: no attempts are told")
            continue
        if view.charged(last) != starts:
            yield Reason("P16", f"{role}: says {last.attempts} {view.declared.counts}, {starts} starts")
        failed = starts - (last.state == "ok")
        if not view.cell.cancel and (last.history is None or len(last.history) != failed):
            told = "no history" if last.history is None else f"a history of {len(last.history)}"
            yield Reason("P16", f"{role}: {told}, {failed} failed starts")


def right_machine(view: View) -> Found:
    """P11: the memory of each start is that of the machine which the table asks for."""
    large_from = view.course.large_from
    for role in view.pills:
        for start in view.starts(role):
            name = min(MACHINES, key=lambda one: abs(MACHINES[one] - start.mem))
            if (name == LARGE) != bool(large_from and start.n >= large_from) or not start.mem:
                wanted = LARGE if large_from and start.n >= large_from else "small"
                yield Reason(
                    "P11", f"{role}: attempt {start.n} had {start.mem >> 20} MiB, expected the {wanted} machine"
                )


def fresh(view: View) -> Found:
    """P17: a process of its own after a fault."""
    for role in view.pills:
        for one, other in pairwise(view.starts(role)):
            if one.process == other.process and not view.cell.is_soft(one.n):
                yield Reason(
                    "P17", f"{role}: attempt {other.n} ran in the process of attempt {one.n}, which a fault had ended"
                )


def durable(view: View) -> Found:
    """P19: bounded, and decided, under kill -9 of the supervisors."""
    starts, limit = len(view.starts("X")), view.limit
    if starts > limit:
        yield Reason("P19", f"X: {starts} starts under kill -9 of its supervisors, at most {limit} were asked for")
    if view.record.verdict("X") is None:
        yield Reason(
            "P19", f"X: no verdict after {starts} starts, {view.record.last('X').state}", by_clock=not view.record.cut
        )
    for role in view.innocents:
        ended = view.record.verdict(role)
        again = [line for line in view.starts(role) if ended and line.at > ended.at]
        if again:
            yield Reason("P19", f"{role}: was run again after it was {ended.claim.state if ended else ''}")
