"""Scenario files as pytest's files, and their cases as its items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.dialects import DEFAULT, parted
from harness.dialects.custom import opened
from harness.exceptions import InvalidInputError
from harness.report.words import trail
from harness.scenarios.campaign import Campaign, Result
from harness.scenarios.schema import Case, Scenario, load
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def dialect_of(config: pytest.Config) -> str:
    """Return the name of the dialect in force. Raises pytest.UsageError for one that there is not."""
    name = config.getoption("--crash-dialect") or DEFAULT
    try:
        parted(name)
    except InvalidInputError as error:
        raise pytest.UsageError(f"--crash-{error}") from error
    return str(name)


class ScenarioFile(pytest.File):
    """One file: its cases are the items."""

    def collect(self) -> Iterator[pytest.Item]:
        """Load the file; a mistake in it is one line, not a traceback."""
        try:
            scenario = load(self.path)
        except InvalidInputError as error:
            raise self.CollectError(str(error)) from error
        for case in scenario.case:
            yield ScenarioItem.from_parent(self, name=case.name, scenario=scenario, case=case)


class NotAsExpectedError(Exception):
    """A case whose verdict is not PASS."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.judgement.verdict)
        self.result = result


class ScenarioItem(pytest.Item):
    """One case, lived and judged."""

    def __init__(self, *, scenario: Scenario, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scenario, self.case = scenario, case

    def runtest(self) -> None:
        """Live the case; anything but PASS and SKIP is a failure."""
        with opened(dialect_of(self.config)) as dialect:
            result = Campaign(dialect, self.config.getoption("--crash-seed")).live(self.scenario, self.case)
        if result.judgement.verdict is Verdict.SKIP:
            pytest.skip("; ".join(result.judgement.reasons))
        if result.judgement.verdict is not Verdict.PASS:
            raise NotAsExpectedError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        """Show evidence, decision trail and the command that replays it."""
        if not isinstance(excinfo.value, NotAsExpectedError):
            return super().repr_failure(excinfo, *args, **kwargs)
        return explain(excinfo.value.result)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Readable id: file and case."""
        return self.path, None, f"{self.scenario.name}[{self.case.name}]"


def explain(result: Result) -> str:
    """Everything one needs to know about a result that is not as expected."""
    attempts = result.run.attempts if result.run else ()
    evidence = [f"evidence {one.number}: {msgspec.json.encode(one.evidence).decode()}" for one in attempts]
    return "\n".join([*trail(result), *evidence])
