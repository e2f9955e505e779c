"""What a declaration says of a job: how often it starts, how it ends, on which machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.conformance.protocol import MOVES, RETRIES, State

if TYPE_CHECKING:
    from harness.conformance.cells import Cell
    from harness.conformance.protocol import Declaration

MOST = 30


class Course(msgspec.Struct, frozen=True):
    """What is expected of job X: its starts, its final state, the classes of its failed attempts.

    `large_from`: the first attempt on the larger machine, or None. `limit`: the most starts that the policy allows,
    the move included where it does not count.
    """

    starts: int
    final: State
    ends: tuple[str, ...]
    large_from: int | None
    limit: int


def expect(cell: Cell, declared: Declaration) -> Course:
    """Follow the declared table attempt by attempt."""
    counted, ends, large_from = 0, list[str](), None
    for number in range(1, MOST):
        fault, kind = cell.fault(number), cell.kind(number)
        counted += 1
        if fault in ("ok", "late") or (fault == "oom" and large_from):
            return _course(cell, declared, number, "ok", ends=ends, large_from=large_from)
        ends.append(kind)
        answer = declared.table.get(kind, "fail")
        moves = answer in MOVES and cell.policy.oom_machine is not None and large_from is None
        if moves:
            large_from = number + 1
            counted -= not declared.oom_move_counts
        limit = cell.policy.max_attempts or declared.default(kind)
        if not (moves or answer in RETRIES) or counted >= limit:
            moved = large_from is not None and large_from <= number  # a move that the limit forbids does not happen
            return _course(cell, declared, number, "failed", ends=ends, large_from=large_from if moved else None)
    return _course(cell, declared, MOST, "failed", ends=ends, large_from=large_from)


def _course(
    cell: Cell, declared: Declaration, starts: int, final: State, *, ends: list[str], large_from: int | None
) -> Course:
    limit = cell.policy.max_attempts or starts
    if large_from and not declared.oom_move_counts:
        limit += 1
    return Course(starts, final, tuple(ends), large_from, max(limit, starts))
