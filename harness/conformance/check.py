"""A check of one engine: the cells that were asked for, and what they say of each property."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from harness.conformance import across, properties, view
from harness.conformance.cells import CLASS_OF, Cell, cells, named
from harness.conformance.protocol import Declaration  # noqa: TC001 -- msgspec reads the annotations of Check
from harness.conformance.settle import Settled, Verdict  # noqa: TC001 -- msgspec reads the annotations of Check

EXIT_CODES: Final = {"FAIL": 1, "INFRA": 3, "SKIP": 4, "PASS": 0}


class Asked(msgspec.Struct, frozen=True):
    """What was asked for; nothing given is all of it. `shots`: faults by name of the catalogue, and how each ends."""

    properties: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    policy: str | None = None
    cells: tuple[str, ...] = ()
    shots: dict[str, str] = {}
    workers: int = 2
    repeat: int = 1


class Decided(msgspec.Struct, frozen=True):
    """One property, and the cells that decided it, the failing ones first. `known`: why it may fail."""

    verdict: Verdict
    reason: str
    cells: tuple[str, ...] = ()
    known: str = ""


class Check(msgspec.Struct, frozen=True):
    """An engine, judged. `stale`: known failures that pass, to be deleted from the engine's file."""

    engine: str
    declared: Declaration | None
    properties: dict[str, Decided]
    settled: tuple[Settled, ...]
    infra: str = ""
    missing: str = ""

    @property
    def fails(self) -> tuple[str, ...]:
        """Properties that fail, the known ones too."""
        return tuple(name for name, one in self.properties.items() if one.verdict == "FAIL")

    @property
    def stale(self) -> tuple[str, ...]:
        """Known failures that pass."""
        return tuple(name for name, one in self.properties.items() if one.known and one.verdict == "PASS")

    @property
    def verdict(self) -> Verdict:
        """FAIL for anything that is not known, or known and passing; INFRA where that can't be said."""
        if self.missing:
            return "SKIP"
        surprises = [name for name in self.fails if not self.properties[name].known]
        if surprises or self.stale:
            return "FAIL"
        if self.infra or any(one.verdict == "INFRA" for one in self.settled):
            return "INFRA"
        return "PASS"

    @property
    def exit_code(self) -> int:
        """Of the command line: 0 PASS, 1 FAIL, 3 INFRA, 4 SKIP."""
        return EXIT_CODES[self.verdict]


def choose(declared: Declaration, asked: Asked, why_no_oom: str) -> list[Cell]:
    """The cells to be lived, `ok` first. Those that need a memory cgroup are left out where none can be made."""
    given = [*cells(declared), *(one for fault, kind in asked.shots.items() for one in named(fault, kind, declared))]
    return [one for one in given if one.name == "ok" or _is_asked(one, declared, asked, why_no_oom)]


def _is_asked(cell: Cell, declared: Declaration, asked: Asked, why_no_oom: str) -> bool:
    if "oom" in cell.faults and why_no_oom:
        return False
    if asked.cells and cell.name not in asked.cells:
        return False
    if asked.policy and cell.policy_name != asked.policy:
        return False
    wanted = {*asked.faults, *asked.shots}
    if wanted and not wanted & set(cell.faults):
        return False
    return not asked.properties or bool(set(asked.properties) & decides(cell, declared))


def decides(cell: Cell, declared: Declaration) -> set[str]:
    """Properties that a cell has a part in."""
    alone = {one.name for one in properties.PROPERTIES if declared.can(*one.needs) and one.where(cell, declared)}
    return alone | {name for name, places in across.DECIDED_BY.items() if cell.name in places and _can(name, declared)}


def _can(name: str, declared: Declaration) -> bool:
    return declared.can(*properties.BY_NAME[name].needs)


def conclude(
    engine: str,
    declared: Declaration,
    settled: list[Settled],
    asked: Asked,
    *,
    known: dict[str, str],
    why_no_oom: str = "",
) -> Check:
    """Sum up cells into properties."""
    views = {
        one.name: view.View(one.cell, declared, one.record)
        for one in settled
        if one.record and not one.record.infra and not one.record.gone and not one.record.died
    }
    between = across.judge(views)
    wanted = asked.properties or properties.ORDER
    rows = {name: _decide(name, declared, settled, between, why_no_oom) for name in properties.ORDER if name in wanted}
    named_known = {name: msgspec.structs.replace(row, known=known.get(name, "")) for name, row in rows.items()}
    return Check(engine, declared, named_known, tuple(settled))


def _decide(
    name: str, declared: Declaration, settled: list[Settled], between: dict[str, Any], why_no_oom: str
) -> Decided:
    missing = [cap for cap in properties.BY_NAME[name].needs if not declared.can(cap)]
    if missing:
        return Decided("SKIP", f"not declared: {', '.join(missing)}")
    apart = between.get(name, [])
    deciding = [one for one in settled if name in one.found]
    against = [f"{one.name}: {reason.text}" for one in deciding for reason in one.found[name]]
    against += [f"{cell}: {reason.text}" for cell, reason in apart if reason]
    failing = [one.name for one in deciding if one.found[name]] + [cell for cell, reason in apart if reason]
    places = tuple(dict.fromkeys([*failing, *(one.name for one in deciding), *(cell for cell, _ in apart)]))
    if against:
        return Decided("FAIL", "; ".join(against[:3]) + _more(against), places)
    lost = [one for one in settled if one.verdict == "INFRA" and name in decides(one.cell, declared)]
    if lost:
        return Decided("INFRA", f"{lost[0].name}: {lost[0].reason}", tuple(one.name for one in lost))
    if places:
        return Decided("PASS", "", places)
    return Decided("SKIP", _why_skipped(name, why_no_oom))


def _more(against: list[str]) -> str:
    shown = 3
    return f"; and {len(against) - shown} more" if len(against) > shown else ""


def _why_skipped(name: str, why_no_oom: str) -> str:
    if name in ("P10", "P11") and why_no_oom:
        return f"no memory cgroup: {why_no_oom}"
    return "no cell that was asked for decides it"


def failed(engine: str, why: str) -> Check:
    """Nothing could be read: every property is INFRA."""
    rows = {name: Decided("INFRA", why) for name in properties.ORDER}
    return Check(engine, None, rows, (), infra=why)


def skipped(engine: str, why: str) -> Check:
    """The engine is not installed."""
    rows = {name: Decided("SKIP", why) for name in properties.ORDER}
    return Check(engine, None, rows, (), missing=why)


def record(check: Check) -> dict[str, object]:
    """The JSON object: verdict, fails, properties, cells, and what was declared."""
    return {
        "engine": check.engine,
        "verdict": check.verdict,
        "reason": check.infra or check.missing,
        "fails": check.fails,
        "stale": check.stale,
        "properties": check.properties,
        "cells": {
            one.name: {"verdict": one.verdict, "reason": one.reason, "repeats": one.repeats} for one in check.settled
        },
        "declared": check.declared,
    }


FAULTS: Final = tuple(
    sorted({*CLASS_OF, "exc", "segv", "abrt", "kill", "term", "exit0", "exit139", "nomem", "oom", "late", "ok"})
)
"""The payload's own faults; any other name is looked up in the catalogue."""
