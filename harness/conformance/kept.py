"""Checks of engines in a history: one job, one title for each engine, the whole check as the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.conformance.check import Check
from harness.journal import History, Kind, job_of

if TYPE_CHECKING:
    from pathlib import Path

    from harness.conformance.conductor import Engine
    from harness.journal import Job, Reading

KIND: Final = "engines"


def job(engine: Engine) -> Job:
    """Return the job of a history that keeps a check."""
    return job_of(KIND, (engine.name,), command=engine.command, asked=engine.asked)


def keep(path: Path, engine: Engine, check: Check, environment: dict[str, str]) -> None:
    """Write a new history with the answer. Raises InvalidInputError where the file is there already."""
    with History.begin(path, job(engine), environment) as history:
        history.write(Kind.DECIDED, engine.name, body=check)


def checks(reading: Reading) -> list[Check]:
    """The checks that a history holds."""
    return [check for _, check in reading.bodies(Kind.DECIDED, Check)]
