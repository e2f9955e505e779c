"""One cell as it was lived, beside what was declared: what every property reads."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from harness.conformance.cells import Cell  # noqa: TC001 -- msgspec reads the annotations of View
from harness.conformance.expected import Course, expect
from harness.conformance.protocol import LOST, Claim, Declaration
from harness.conformance.record import Line, Reason, Record

SHOWN = 80

Found = Iterator[Reason]


def short(words: str) -> str:
    """Return an engine's words as a reason has them: their end is cut off where they are long."""
    return words if len(words) <= SHOWN else f"{words[: SHOWN - 1]}…"


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

    @property
    def limit(self) -> int:
        """The most starts that X may have."""
        if self.cell.durable and not self.cell.policy.max_attempts:
            return self.declared.default(LOST)
        return self.course.limit

    def charged(self, last: Claim) -> int | None:
        """The starts that the engine's own count comes to, or None where it tells none."""
        if last.attempts is None:
            return None
        left_out = {"starts": 0, "retries": 1, "failures": int(last.state == "ok")}
        return last.attempts + left_out[self.declared.counts]
