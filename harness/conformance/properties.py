"""The properties P0 to P21: the claim, the cells that decide it, what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from harness.conformance import counts, innocents, verdicts
from harness.conformance.cells import HANGS, Cell
from harness.conformance.protocol import Cap, Declaration
from harness.conformance.record import Reason  # noqa: TC001 -- msgspec reads the annotations of Property

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.conformance.view import Found, View


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
    """Find nothing: this property is decided between cells (conformance.across)."""
    return False


def _is_plain(cell: Cell, declared: Declaration) -> bool:
    """X goes its declared way: nobody cancels it or kills its supervisors, and the table knows how it ends."""
    known = all(cell.kind(number + 1) in (*declared.table, "ok", "late") for number in range(len(cell.faults)))
    return known and not cell.cancel and not cell.durable


def _nothing(_: View) -> Found:
    """Find nothing: this property is decided while the cell is lived, or between cells."""
    yield from ()


def _named(*names: str) -> Callable[[Cell, Declaration], bool]:
    return lambda cell, _: cell.name in names


def _is_counted(cell: Cell) -> bool:
    """It ends in a failure, or moves on its way to an ok, which shows what the move counts."""
    return cell.faults[-1] != "ok" or "oom" in cell.faults


def _is_max3(cell: Cell) -> bool:
    return cell.policy.max_attempts is not None


PROPERTIES: Final = (
    Property("P0", "an exception under N attempts gives N starts", (Cap.RETRY,), _named("exc/max3"), counts.calibrated),
    Property("P1", "no more starts than were asked for", (), _everywhere, counts.bounded),
    Property(
        "P2",
        "without a policy: exactly the declared default",
        (),
        lambda c, d: _is_plain(c, d) and not _is_max3(c),
        counts.default,
    ),
    Property(
        "P3",
        "starts and verdict follow the declared table",
        (Cap.RETRY,),
        lambda c, d: _is_plain(c, d) and _is_max3(c) and _is_counted(c) and c.policy.backoff_s != 0,
        counts.parity,
    ),
    Property(
        "P4",
        "a job that crashes twice and then works is ok at its third start",
        (Cap.RETRY,),
        lambda c, _: c.name.startswith("flaky"),
        counts.recovers,
    ),
    Property("P5", "every job gets a verdict in time", (), _everywhere, verdicts.has_verdict),
    Property("P6", "ok means that the work was done, and a verdict never changes", (), _everywhere, verdicts.is_true),
    Property(
        "P7",
        "innocents beside a crash: ok, one start, never blamed",
        (),
        lambda c, _: c.pills == 1 and not c.durable,
        innocents.spared,
    ),
    Property("P8", "afterwards the engine lives and serves, with as many workers", (), _everywhere, verdicts.serves),
    Property("P9", "each kind of end is told as its own", (Cap.CAUSE,), _nowhere, _nothing),
    Property("P10", "a kill for memory is told from kill -9", (Cap.CAUSE,), _nowhere, _nothing),
    Property(
        "P11",
        "after an OOM the larger machine, after anything else the same",
        (Cap.MACHINE,),
        _is_plain,
        counts.right_machine,
    ),
    Property(
        "P12",
        "the gap before a retry is the backoff at least, and 0 still retries",
        (Cap.RETRY, Cap.BACKOFF),
        lambda c, d: _is_plain(c, d) and _is_max3(c) and c.fires,
        verdicts.paced,
    ),
    Property(
        "P13",
        "a verdict follows the last death in the declared time",
        (),
        lambda c, d: _is_plain(c, d) and c.fires and not c.hangs,
        verdicts.in_time,
    ),
    Property(
        "P14",
        "a hang is ended at its time limit, in Python and in C alike",
        (Cap.TIMEOUT,),
        lambda c, _: c.faults[0] in HANGS and c.policy.timeout_s is not None,
        verdicts.timed_out,
    ),
    Property(
        "P15",
        "nothing starts after a cancel was accepted",
        (Cap.CANCEL,),
        lambda c, _: bool(c.cancel),
        verdicts.cancelled,
    ),
    Property(
        "P16",
        "the engine counts its attempts right, a cause each",
        (Cap.HISTORY,),
        lambda c, _: not c.durable,
        counts.counted_right,
    ),
    Property("P17", "a new process after a fault, and one attempt of a job at a time", (), _everywhere, counts.fresh),
    Property("P18", "no process outlives its verdict, nor `stop`", (), _everywhere, _nothing),
    Property(
        "P19",
        "attempts count under kill -9 of the supervisors too",
        (Cap.DURABLE,),
        lambda c, _: c.durable,
        counts.durable,
    ),
    Property("P20", "one crash in three guises starts equally often", (Cap.RETRY,), _nowhere, _nothing),
    Property(
        "P21",
        "innocents beside two poison pills: ok, one start, never blamed",
        (),
        lambda c, _: c.pills > 1,
        innocents.spared,
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
