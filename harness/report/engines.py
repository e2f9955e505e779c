"""A check of an engine as lines: its properties, and for each cell that fails what was seen and how to see it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from harness.conformance.properties import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.conformance.check import Check
    from harness.conformance.enginefile import EngineFile
    from harness.conformance.record import Record
    from harness.conformance.settle import Settled

HEADINGS: Final = ("property", "claim", "verdict", "reason")
MOST_LINES, MOST_LOG_LINES, MOST_CAUSE = 40, 4, 100


def headline(check: Check) -> str:
    """Write the first line: the engine, its verdict, and how long it takes to notice a death."""
    if check.declared is None:
        return f"{check.engine}: {check.verdict}: {check.infra or check.missing}"
    d = check.declared
    adds = f"; the adapter adds: {', '.join(d.adds)}" if d.adds else ""
    return f"{check.engine}: {check.verdict} ({d.name} {d.version}; notices within {d.detect_s:g} s{adds})"


def rows(check: Check) -> Iterator[tuple[str, str, str, str]]:
    """A row for each property: name, claim, verdict, reason."""
    for name, one in check.properties.items():
        known = f"known: {one.known}" if one.known and one.verdict == "FAIL" else ""
        stale = "known to fail, and passes: delete it from the engine's file" if name in check.stale else ""
        yield name, BY_NAME[name].claim, one.verdict, "; ".join(filter(None, (known, stale, one.reason)))


def replay(check: Check, cell: Settled, command: tuple[str, ...]) -> str:
    """The command that lives one cell again. `command`: the adapter's, where the engine has no file."""
    by_name = [word for fault in cell.cell.classes for word in ("--fault", fault)]
    target = ["--", *command] if command else [check.engine]
    return shlex.join(["crash-harness", "engines", "check", *by_name, "--cell", cell.name, *target])


def trails(check: Check, command: tuple[str, ...] = ()) -> Iterator[str]:
    """For each cell that fails or proves nothing: why, the ledger, the claims over time, the log, the replay."""
    for cell in check.settled:
        if cell.verdict == "PASS":
            continue
        yield f"{cell.verdict} {cell.name} (lived {cell.repeats} times): {cell.reason}"
        yield from (f"  {line}" for line in (seen(cell.record) if cell.record else ()))
        if check.declared:
            table = " ".join(f"{kind}={answer}" for kind, answer in check.declared.table.items())
            yield f"  declared: {table}; default_attempts {check.declared.default_attempts}"
        yield f"  again: {replay(check, cell, command)}"


def seen(record: Record) -> Iterator[str]:
    """The ledger and the claims in one order of time, in seconds since the cell began."""
    began, roles = record.clock.real[0], {job: role for role, job in record.jobs.items()}
    found = [
        (line.at, f"{roles.get(line.job, line.job)} attempt {line.n} {line.ev} (pid {line.pid})")
        for line in record.lines
    ]
    for role, told in record.told.items():
        for one in told:
            said = f": {one.claim.cause[:MOST_CAUSE]}" if one.claim.cause else ""
            found.append((one.at, f"    the engine says {role} {one.claim.state}, {one.claim.attempts} attempts{said}"))
    for at, text in sorted(found)[:MOST_LINES]:
        yield f"{at - began:7.2f} {text}"
    if len(found) > MOST_LINES:
        yield f"        … {len(found) - MOST_LINES} more"
    yield from (f"log: {line}" for line in record.log.strip().splitlines()[-MOST_LOG_LINES:])
    if record.litter:
        yield f"left over, and killed: {', '.join(record.litter[:MOST_LOG_LINES])}"


def listing(engines: list[EngineFile]) -> Iterator[tuple[str, str, str]]:
    """A row for each engine: name, title, installed version or what is missing."""
    for one in engines:
        yield one.name, one.table.title, one.missing() or ", ".join((*one.table.pip, *one.table.npm)) or "installed"
