"""The catalogue as a page: docs/faults.md is this, and a test says when it is stale."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.faults.catalogue import Row

HEAD = """\
# The faults

Written by `crash-harness faults --markdown`; a row is what the extension says of itself, on x86-64 with glibc.
Expected evidence is the signal, its si_code, and where the address lies: null (below 64 KiB), code (the instruction
itself), stack (near the stack pointer), wild, or self (a sender in place of an address). A signal alone leaves no
record. `silent` took effect and nobody noticed; `done` did not take effect, as it may. What another architecture or
C library makes of it stands behind a semicolon.
"""


def page(faults: Iterable[Row]) -> str:
    """Return the whole page."""
    families = groupby(faults, key=lambda fault: fault.family)
    return HEAD + "".join(_family(name, list(rows)) for name, rows in families)


def _family(name: str, rows: list[Row]) -> str:
    lines = ["", f"## {name}", "", "| fault | what it does | kind | tiers | needs | expected evidence | parameters |"]
    lines += ["|---|---|---|---|---|---|---|", *map(_row, rows), ""]
    return "\n".join(lines)


def _expected(fault: Row) -> str:
    elsewhere = [f"{' '.join(one.where)}: {' or '.join(one.expects)}" for one in fault.variants]
    return "; ".join([" or ".join(fault.usual), *elsewhere])


def _row(fault: Row) -> str:
    dials = "; ".join(f"{one.name} {one.low} to {one.high} {one.unit}, {one.initial}" for one in fault.parameters)
    cells = (
        f"`{fault.name}`",
        fault.mechanism,
        fault.kind,
        ", ".join(fault.tiers),
        ", ".join(fault.needs),
        _expected(fault),
        dials,
    )
    return f"| {' | '.join(cells)} |"
