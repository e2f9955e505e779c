"""Which scenarios and cases are meant by what a user writes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InvalidInputError
from harness.scenarios.schema import Scenario, load_all, shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def locate(name: str) -> Path:
    """Find a file, a folder, or a shipped scenario by its name. Raises InvalidInputError for none of these."""
    path, known = Path(name), shipped() / f"{name}.toml"
    if name and path.exists():
        if path.suffix != ".toml" and path.is_file() and os.access(path, os.X_OK):
            hint = f"a command goes behind '--': crash-harness experiment -- {name}"
            raise InvalidInputError(f"{name}: it is a program and no scenario; {hint}")
        return path
    if known.exists():
        return known
    names = ", ".join(sorted(one.stem for one in shipped().glob("*.toml")))
    raise InvalidInputError(f"{name!r}: No such file or directory, and no shipped scenario; those are {names}")


def select(names: Sequence[str], case: str | None, pattern: str = "") -> list[Scenario]:
    """Load what was asked for: names may be written as results are, "scenario[case]"; `case` selects among all.

    Of what is left, a `pattern` takes the cases whose title "scenario[case]" holds it. Raises InvalidInputError when
    nothing is left.
    """
    chosen = _chosen(names, case)
    if not pattern:
        return chosen
    held = [(one, tuple(case for case in one.case if pattern in f"{one.name}[{case.name}]")) for one in chosen]
    if not any(cases for _, cases in held):
        raise InvalidInputError(f"-k: no title of a case, as --list prints them, holds {pattern!r}")
    return [msgspec.structs.replace(one, case=cases) for one, cases in held if cases]


def _chosen(names: Sequence[str], case: str | None) -> list[Scenario]:
    if not names:
        return _filtered(load_all(shipped()), case)
    written = [re.fullmatch(r"(.*?)(?:\[([a-z0-9-]+)\])?", name, re.DOTALL) for name in names]
    parts = [(locate(one[1]), one[2] or case) for one in written if one]
    return _joined(scenario for path, only in parts for scenario in _filtered(load_all(path), only))


def _joined(scenarios: Iterable[Scenario]) -> list[Scenario]:
    """Put what was asked for twice together: each file once, each case once.

    Raises InvalidInputError where two files have one name: their cases could not be told apart.
    """
    found: dict[str, Scenario] = {}
    for one in scenarios:
        before = found.get(one.name, one)
        if os.path.realpath(before.path) != os.path.realpath(one.path):
            raise InvalidInputError(f"{one.path}: the scenario name {one.name!r} is that of {before.path} too")
        cases = {case.name: case for case in (*before.case, *one.case)}
        found[one.name] = msgspec.structs.replace(before, case=tuple(cases.values()))
    return list(found.values())


def _filtered(scenarios: list[Scenario], case: str | None) -> list[Scenario]:
    if case is None:
        return scenarios
    chosen = [_only(scenario, case) for scenario in scenarios if any(one.name == case for one in scenario.case)]
    if not chosen:
        known = sorted({one.name for scenario in scenarios for one in scenario.case})
        raise InvalidInputError(f"no case is called {case!r}; there are {', '.join(known)}")
    return chosen


def _only(scenario: Scenario, case: str) -> Scenario:
    return msgspec.structs.replace(scenario, case=tuple(one for one in scenario.case if one.name == case))
