"""When a cell has been lived often enough, and what follows. Values in, verdicts out.

A FAIL by the clock alone must be seen in two of three lives; what is counted, flipped or told wrong, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from harness.conformance import properties, view
from harness.conformance.cells import Cell  # noqa: TC001 -- msgspec reads the annotations of Settled
from harness.conformance.record import Reason, Record

if TYPE_CHECKING:
    from harness.conformance.protocol import Declaration

MOST: Final = 3
TWICE: Final = 2

Verdict = Literal["PASS", "FAIL", "INFRA", "SKIP"]


class Settled(msgspec.Struct, frozen=True):
    """A cell with its verdict. `found`: reasons by property that it decided; `record`: of the life that shows them."""

    cell: Cell
    verdict: Verdict
    reason: str
    repeats: int
    found: dict[str, list[Reason]]
    record: Record | None

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.cell.name


def _read(cell: Cell, declared: Declaration, record: Record) -> dict[str, list[Reason]] | None:
    """What a life decided; None for one that proves nothing."""
    if record.infra or record.gone:
        return None
    return properties.judge(view.View(cell, declared, record))


class Lives:
    """The lives of one cell so far."""

    def __init__(self, cell: Cell, declared: Declaration, repeat: int = 1) -> None:
        self.cell, self._declared, self._repeat = cell, declared, repeat
        self._records: list[Record] = []
        self._read: list[dict[str, list[Reason]] | None] = []

    def add(self, record: Record) -> None:
        """Take one more."""
        self._records.append(record)
        self._read.append(_read(self.cell, self._declared, record))

    def is_settled(self) -> bool:
        """Whether another life could not change the verdict, or there were enough."""
        lived = len(self._records)
        if lived < self._repeat:
            return False
        if lived >= max(MOST, self._repeat):
            return True
        if any(record.gone for record in self._records):
            return False
        good = self._good()
        if not good:
            return lived >= TWICE
        return all(self._is_sure(name) for name in self._suspects())

    def _good(self) -> list[dict[str, list[Reason]]]:
        return [one for one in self._read if one is not None]

    def _suspects(self) -> set[str]:
        """Properties that fail by the clock alone so far."""
        failing = {name for one in self._good() for name, reasons in one.items() if reasons}
        return failing - self._certain()

    def _certain(self) -> set[str]:
        """Properties that fail by more than the clock."""
        return {n for one in self._good() for n, reasons in one.items() if any(not r.by_clock for r in reasons)}

    def _is_sure(self, name: str) -> bool:
        seen = sum(bool(one.get(name)) for one in self._good())
        return seen >= TWICE or len(self._good()) - seen >= TWICE

    def settle(self) -> Settled:
        """Give the verdict: FAIL outranks INFRA outranks PASS."""
        found = self._found()
        lived, gone = len(self._records), [record for record in self._records if record.gone]
        if gone and len(gone) == lived:
            found.setdefault("P8", []).append(Reason("P8", f"the adapter died or fell silent: {gone[-1].gone}"))
        reasons = [f"{name}: {reason.text}" for name, all_of in found.items() for reason in all_of]
        if reasons:
            return Settled(self.cell, "FAIL", "; ".join(reasons), lived, found, self._shown(found))
        why = self._unproved(gone)
        return Settled(self.cell, "INFRA" if why else "PASS", why, lived, found, self._shown(found))

    def _unproved(self, gone: list[Record]) -> str:
        if gone:
            return f"the adapter died or fell silent in {len(gone)} of {len(self._records)}: {gone[-1].gone}"
        if not self._good():
            return self._records[-1].infra
        unsure = sorted(name for name in self._suspects() if not self._is_sure(name))
        return f"{', '.join(unsure)}: late once, and the other lives prove nothing" if unsure else ""

    def _found(self) -> dict[str, list[Reason]]:
        """Return all reasons that count; one that rests on the clock alone counts if it was seen twice."""
        good, found = self._good(), dict[str, list[Reason]]()
        for name in dict.fromkeys(name for one in good for name in one):
            reasons = [reason for one in good for reason in one.get(name, [])]
            hard = [reason for reason in reasons if not reason.by_clock]
            slow = [reason for reason in reasons if reason.by_clock]
            confirmed = sum(any(r.by_clock for r in one.get(name, [])) for one in good) >= TWICE
            found[name] = list(dict.fromkeys([*hard, *(slow if confirmed else [])]))
        return found

    def _shown(self, found: dict[str, list[Reason]]) -> Record | None:
        """The last life that shows a reason; else the last good one; else the last."""
        texts = {reason.text for reasons in found.values() for reason in reasons}
        pairs = list(zip(self._records, self._read, strict=True))
        shows = [r for r, read in pairs if read and texts & {x.text for reasons in read.values() for x in reasons}]
        good = [record for record, read in pairs if read is not None]
        return (shows or good or self._records)[-1] if self._records else None
