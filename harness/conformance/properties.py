"""The properties P0 to P21: the claim, the cells that decide it, what speaks against it. Values in, reasons out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

import msgspec

from harness.conformance.cells import HANGS, Cell
from harness.conformance.expected import Course, expect
from harness.conformance.protocol import LARGE, LOST, MACHINES, Cap, Claim, Declaration
from harness.conformance.record import Line, Reason, Record

SLACK_S: Final = 0.5
TICK_S: Final = 0.15  # how much later than it happened a death is seen, in counted seconds
EARLY_S: Final = 0.005
SHOWN: Final = 80

Found = Iterator[Reason]


class View(msgspec.Struct, frozen=True):
    """One cell as it was lived, beside what was declared."""

    cell: Cell
    declared: Declaration
    record: Record

    @property
    def course(self) -> Course:
        """How X must go."""
        return expect(self.cell, self.declared)

    @property
    def pills(self) -> list[str]:
        """Roles that carry the fault."""
        return [role for role in self.record.jobs if role in ("X", "Y")]

    @property
    def innocents(self) -> list[str]:
        """Roles that never crash, the canary left out."""
        return [role for role in self.record.jobs if role.startswith("b")]

    def starts(self, role: str) -> list[Line]:
        """The starts of a job."""
        return self.record.of(role, "start")

    def counted(self, at: float) -> float:
        """Counted seconds of a moment."""
        return self.record.clock.of(at)


class Property(msgspec.Struct, frozen=True):
    """`needs`: capabilities without which it is skipped. `where`: the cells that decide it. `against`: reasons."""

    name: str
    claim: str
    needs: tuple[Cap, ...]
    where: Callable[[Cell, Declaration], bool]
    against: Callable[[View], Found]


def _everywhere(_: Cell, __: Declaration) -> bool:
    return True


def _nowhere(_: Cell, __: Declaration) -> bool:
    """What is decided between cells."""
    return False


def _is_plain(cell: Cell, declared: Declaration) -> bool:
    """X goes its declared way: nobody cancels it or kills its supervisors, and the table knows how it ends."""
    known = all(cell.kind(number + 1) in (*declared.table, "ok", "late") for number in range(len(cell.faults)))
    return known and not cell.cancel and not cell.durable


# --- counts ---


def _count(view: View, name: str, role: str) -> Found:
    """Exactly the declared starts."""
    found, wanted = len(view.starts(role)), view.course.starts
    if found != wanted:
        yield Reason(name, f"{role}: {found} starts, declared {wanted}")


def _calibrated(view: View) -> Found:
    yield from _count(view, "P0", "X")


def _bounded(view: View) -> Found:
    for role in view.pills:
        found = len(view.starts(role))
        if found > _limit(view):
            yield Reason("P1", f"{role}: {found} starts, at most {_limit(view)} were asked for")


def _limit(view: View) -> int:
    if view.cell.durable and not view.cell.policy.max_attempts:
        return view.declared.default(LOST)
    return view.course.limit


def _default(view: View) -> Found:
    for role in view.pills:
        yield from _count(view, "P2", role)


def _parity(view: View) -> Found:
    for role in view.pills:
        yield from _count(view, "P3", role)
        yield from _state(view, "P3", role)


def _state(view: View, name: str, role: str) -> Found:
    told, wanted = view.record.verdict(role), view.course.final
    if told and told.claim.state != wanted:
        yield Reason(name, f"{role}: {told.claim.state}, declared {wanted}")


def _recovers(view: View) -> Found:
    yield from _count(view, "P4", "X")
    yield from _state(view, "P4", "X")


# --- verdicts ---


def _has_verdict(view: View) -> Found:
    for role in (*view.pills, *view.innocents):
        if view.record.verdict(role) is None:
            cut = view.record.cut and role in view.pills
            how = f" after {len(view.starts(role))} starts" if cut else ""
            yield Reason("P5", f"{role}: no verdict{how}, {view.record.last(role).state}", by_clock=not view.record.cut)


def _is_true(view: View) -> Found:
    for role in view.record.jobs:
        yield from _holds(view, role)
        yield from _matches_work(view, role)


def _holds(view: View, role: str) -> Found:
    told, last = view.record.verdict(role), view.record.last(role)
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
    if last.state == "ok" and last.result is not None:
        true = [f"done:{line.job}:{line.n}" for line in view.record.of(role, "end")]
        if last.result not in true:
            yield Reason("P6", f"{role}: the result {last.result[:SHOWN]!r} is not what the payload returned")


def _matches_work(view: View, role: str) -> Found:
    """Work that was done is `ok`, unless it was cancelled, timed out, or its supervisors killed."""
    excused = view.cell.durable or (role == "X" and (view.cell.cancel or view.cell.hangs))
    last = view.record.last(role)
    if excused or not view.record.of(role, "end") or last.state == "ok":
        return
    yield Reason("P6", f"{role}: its work was done, the engine says {last.state}", by_clock=not last.is_final)


def _in_time(view: View) -> Found:
    """From the first look that saw the last attempt dead to the first that heard the verdict."""
    for role in view.pills:
        told, fires = view.record.verdict(role), view.record.of(role, "fire")
        if not told or not fires or told.claim.state != "failed":
            continue
        dead = view.record.life(fires[-1]).dead_at if not view.cell.is_soft(fires[-1].n) else None
        took = view.counted(told.at) - view.counted(dead or fires[-1].at)
        if took > view.declared.detect_s + SLACK_S:
            yield Reason("P13", f"{role}: {took:.1f} s from the death to the verdict", by_clock=True)


# --- innocents ---


def _spared(view: View) -> Found:
    name = "P21" if view.cell.pills > 1 else "P7"
    for role in view.innocents:
        last, starts = view.record.last(role), len(view.starts(role))
        ended = view.record.verdict(role)
        was_asked_to = view.cell.cancel == "run" and ended is not None and ended.claim.state == "ok"  # it flips: P6
        if last.state != "ok" and not was_asked_to:
            yield Reason(name, f"{role}: {last.state} {last.cause[:SHOWN]}".rstrip(), by_clock=not last.is_final)
        if starts != 1:
            yield Reason(name, f"{role}: {starts} starts of an innocent", by_clock=starts == 0)
        yield from _blamed(view, name, role)
    if any(line.ev == "alone" for line in view.record.lines):
        yield Reason(name, "b0 and X never ran at once: CONCURRENT did not hold", by_clock=True)


def _blamed(view: View, name: str, role: str) -> Found:
    told = [one.claim for one in view.record.told.get(role, [])]
    blame = next((one for one in told if one.cause or one.history), None)
    if blame:
        yield Reason(name, f"{role}: blamed in between: {(blame.cause or str(blame.history))[:SHOWN]}")
    last = told[-1] if told else Claim()
    if view.declared.can(Cap.HISTORY) and last.is_final and last.attempts is not None:
        charged = last.attempts + _uncounted(view.declared, last)
        if charged != 1:
            yield Reason(name, f"{role}: {last.attempts} {view.declared.counts} charged to an innocent")


def _uncounted(declared: Declaration, last: Claim) -> int:
    """What the engine's count leaves out of the starts."""
    return {"starts": 0, "retries": 1, "failures": int(last.state == "ok")}[declared.counts]


def _unstarved(view: View) -> Found:
    """Beside a hang the innocents start before it is killed, unless another one was at work till then."""
    if view.cell.policy.timeout_s is None or not view.declared.can(Cap.CONCURRENT):
        return
    first = view.starts("X")[:1]
    dead = view.record.life(first[0]).dead_at if first else None
    if dead is None or _was_busy(view, dead):
        return
    for role in view.innocents:
        starts = view.starts(role)
        if starts and starts[0].at > dead:
            yield Reason("P7", f"{role} started after the hang was killed: starved", by_clock=True)


def _was_busy(view: View, at: float) -> bool:
    """Whether an innocent was at work shortly before `at`."""
    for role in view.innocents:
        ends = {line.n: line.at for line in view.record.of(role, "end")}
        if any(line.at <= at <= ends.get(line.n, at) + SLACK_S for line in view.starts(role)):
            return True
    return False


def _innocents(view: View) -> Found:
    yield from _spared(view)
    yield from _unstarved(view)


def _serves(view: View) -> Found:
    if "canary" in view.record.jobs and view.record.last("canary").state != "ok":
        last = view.record.last("canary")
        yield Reason("P8", f"canary: {last.state} {last.cause[:SHOWN]}".rstrip(), by_clock=not last.is_final)


# --- time ---


def _paced(view: View) -> Found:
    backoff = view.cell.policy.backoff_s
    for role in view.pills:
        if backoff == 0:
            yield from _count(view, "P12", role)
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


def _timed_out(view: View) -> Found:
    limit = (view.cell.policy.timeout_s or 0.0) + view.declared.timeout_grace_s + SLACK_S + TICK_S
    for start in view.starts("X"):
        dead = view.record.life(start).dead_at
        took = view.counted(dead) - view.counted(start.at) if dead else None
        if took is None:
            yield Reason("P14", f"X: the hang of attempt {start.n} was never ended", by_clock=True)
        elif took > limit:
            yield Reason("P14", f"X: the hang of attempt {start.n} lived {took:.1f} s", by_clock=True)


def _cancelled(view: View) -> Found:
    at, last = view.record.cancelled_at, view.record.last("X")
    if at is None:
        yield Reason("P15", "X never came to where it was to be cancelled", by_clock=True)
        return
    late = [line for line in view.starts("X") if line.at > at]
    if late:
        yield Reason("P15", f"X: attempt {late[0].n} started after the cancel was accepted")
    if last.state not in ("cancelled", "failed"):
        yield Reason("P15", f"X: {last.state} after the cancel", by_clock=not last.is_final)


# --- what is told ---


def _counted_right(view: View) -> Found:
    for role in view.record.jobs:
        last, starts = view.record.last(role), len(view.starts(role))
        if not last.is_final or last.attempts is None:
            if last.is_final:
                yield Reason("P16", f"{role}: no attempts are told")
            continue
        if last.attempts + _uncounted(view.declared, last) != starts:
            yield Reason("P16", f"{role}: says {last.attempts} {view.declared.counts}, {starts} starts")
        failed = starts - (last.state == "ok")
        if not view.cell.cancel and (last.history is None or len(last.history) != failed):
            told = "no history" if last.history is None else f"a history of {len(last.history)}"
            yield Reason("P16", f"{role}: {told}, {failed} failed starts")


def _right_machine(view: View) -> Found:
    large_from = view.course.large_from
    for role in view.pills:
        for start in view.starts(role):
            name = min(MACHINES, key=lambda one: abs(MACHINES[one] - start.mem))
            if (name == LARGE) != bool(large_from and start.n >= large_from) or not start.mem:
                wanted = LARGE if large_from and start.n >= large_from else "small"
                yield Reason(
                    "P11", f"{role}: attempt {start.n} had {start.mem >> 20} MiB, expected the {wanted} machine"
                )


def _fresh(view: View) -> Found:
    for role in view.pills:
        for one, other in pairwise(view.starts(role)):
            if one.process == other.process and not view.cell.is_soft(one.n):
                yield Reason(
                    "P17", f"{role}: attempt {other.n} ran in the process of attempt {one.n}, which a fault had ended"
                )


def _durable(view: View) -> Found:
    starts, limit = len(view.starts("X")), _limit(view)
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


def _nothing(_: View) -> Found:
    """What is decided by looks alone, or between cells."""
    yield from ()


# --- which cells ---


def _named(*names: str) -> Callable[[Cell, Declaration], bool]:
    return lambda cell, _: cell.name in names


def _is_max3(cell: Cell) -> bool:
    return cell.policy.max_attempts is not None


PROPERTIES: Final = (
    Property("P0", "an exception under N attempts gives N starts", (Cap.RETRY,), _named("exc/max3"), _calibrated),
    Property("P1", "no more starts than were asked for", (), _everywhere, _bounded),
    Property(
        "P2",
        "without a policy: exactly the declared default",
        (),
        lambda c, d: _is_plain(c, d) and not _is_max3(c),
        _default,
    ),
    Property(
        "P3",
        "starts and verdict follow the declared table",
        (Cap.RETRY,),
        lambda c, d: _is_plain(c, d) and _is_max3(c) and c.faults[-1] != "ok" and c.policy.backoff_s != 0,
        _parity,
    ),
    Property(
        "P4",
        "a job that crashes twice and then works is ok at its third start",
        (Cap.RETRY,),
        lambda c, _: c.name.startswith("flaky"),
        _recovers,
    ),
    Property("P5", "every job gets a verdict in time", (), _everywhere, _has_verdict),
    Property("P6", "ok means that the work was done, and a verdict never changes", (), _everywhere, _is_true),
    Property(
        "P7",
        "innocents beside a crash: ok, one start, never blamed",
        (),
        lambda c, _: c.pills == 1 and not c.durable,
        _innocents,
    ),
    Property("P8", "afterwards the engine lives and serves, with as many workers", (), _everywhere, _serves),
    Property("P9", "each kind of end is told as its own", (Cap.CAUSE,), _nowhere, _nothing),
    Property("P10", "a kill for memory is told from kill -9", (Cap.CAUSE,), _nowhere, _nothing),
    Property(
        "P11",
        "after an OOM the larger machine, after anything else the same",
        (Cap.MACHINE,),
        _is_plain,
        _right_machine,
    ),
    Property(
        "P12",
        "the gap before a retry is the backoff at least, and 0 still retries",
        (Cap.RETRY, Cap.BACKOFF),
        lambda c, d: _is_plain(c, d) and _is_max3(c) and c.fires,
        _paced,
    ),
    Property(
        "P13",
        "a verdict follows the last death in the declared time",
        (),
        lambda c, d: _is_plain(c, d) and c.fires and not c.hangs,
        _in_time,
    ),
    Property(
        "P14",
        "a hang is ended at its time limit, in Python and in C alike",
        (Cap.TIMEOUT,),
        lambda c, _: c.faults[0] in HANGS and c.policy.timeout_s is not None,
        _timed_out,
    ),
    Property(
        "P15", "nothing starts after a cancel was accepted", (Cap.CANCEL,), lambda c, _: bool(c.cancel), _cancelled
    ),
    Property(
        "P16",
        "the engine counts its attempts right, a cause each",
        (Cap.HISTORY,),
        lambda c, _: not c.durable,
        _counted_right,
    ),
    Property("P17", "a new process after a fault, and one attempt of a job at a time", (), _everywhere, _fresh),
    Property("P18", "no process outlives its verdict, nor `stop`", (), _everywhere, _nothing),
    Property(
        "P19", "attempts count under kill -9 of the supervisors too", (Cap.DURABLE,), lambda c, _: c.durable, _durable
    ),
    Property("P20", "one crash in three guises starts equally often", (Cap.RETRY,), _nowhere, _nothing),
    Property(
        "P21",
        "innocents beside two poison pills: ok, one start, never blamed",
        (),
        lambda c, _: c.pills > 1,
        _innocents,
    ),
)
BY_NAME: Final = {one.name: one for one in PROPERTIES}
ORDER: Final = tuple(BY_NAME)


def judge(view: View) -> dict[str, list[Reason]]:
    """Reasons by property, of all that the cell decides. One that is not in it was not decided here."""
    found: dict[str, list[Reason]] = {}
    if not view.record.died:
        for one in PROPERTIES:
            if view.declared.can(*one.needs) and one.where(view.cell, view.declared):
                found[one.name] = list(one.against(view))
    for reason in view.record.seen:
        found.setdefault(reason.property, []).append(reason)
    return found
