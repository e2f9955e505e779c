"""Where results are shown: crashes that were retried, in the terminal and in JUnit. Under xdist no test runs here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import msgspec
import pytest
from _pytest.junitxml import xml_key

from harness.engine.durable import PYTEST, Durable
from harness.engine.loop import Saved
from harness.exceptions import HarnessError, InvalidInputError
from harness.journal import History, Kind, job_of
from harness.machine import environment

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "crash-guard-told"


def teller(config: pytest.Config) -> Teller:
    """Return the one of this session; it is made with the first crash."""
    found = config.pluginmanager.getplugin(NAME)
    if not isinstance(found, Teller):
        found = Teller(config)
        config.pluginmanager.register(found, NAME)
    return found


class Teller:
    """The plugin that tells of crashes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._flaky: list[tuple[str, list[str]]] = []
        self._history: History | None = None
        self._kept: Counter[str] = Counter()  # runs of a test that the history has

    def keep(self, path: Path) -> None:
        """Keep crashes in this history from here on. Raises pytest.UsageError where it is another job's.

        Ends the session where the file can't be had.
        """
        job = job_of(PYTEST, (), folder=str(self._config.rootpath))
        try:
            self._history = History.take_up(path, job, environment())
            self._kept.update(event.title.partition(" #")[0] for event in self._history.events(Kind.DECIDED))
        except InvalidInputError as error:
            raise pytest.UsageError(f"--crash-history: {error}") from error
        except HarnessError as error:
            pytest.exit(f"crash-guard: --crash-history: {error}", 3)

    def pytest_unconfigure(self) -> None:
        """Close the history."""
        if self._history:
            self._history.close()

    def hear(self, report: pytest.TestReport) -> None:
        """Take note of a report that has a crash in it."""
        crash: dict[str, Any] = report.crash_guard
        attempts = crash.get("attempts", ())
        if crash.get("flaky"):
            self._flaky.append((report.nodeid, list(attempts[:-1])))
        if self._history and "kept" in crash:
            self._keep(self._history, report.nodeid, msgspec.json.decode(crash["kept"], type=list[Saved]))
        self._note_in_junit(report, attempts[:-1], flaky=bool(crash.get("flaky")))

    def _keep(self, history: History, nodeid: str, run: list[Saved]) -> None:
        """Commit a test's attempts, under its id, and a number where an earlier session has used that."""
        self._kept[nodeid] += 1
        title = nodeid if self._kept[nodeid] == 1 else f"{nodeid} #{self._kept[nodeid]}"
        try:
            for saved in run:
                Durable(history, title).save(saved)
        except HarnessError as error:
            pytest.exit(f"crash-guard: {error}", 3)

    def _note_in_junit(self, report: pytest.TestReport, attempts: list[str], *, flaky: bool) -> None:
        """Write an element for each attempt before the last, as Surefire and its readers know them."""
        xml = self._config.stash.get(xml_key, None)
        if xml is None or not attempts:
            return
        reporter = xml.node_reporter(report)
        for attempt in attempts:
            element = ET.Element("flakyFailure" if flaky else "rerunFailure", message=attempt, type="NativeCrash")
            reporter.append(element)

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show an attempt that another follows."""
        if report.outcome == "rerun" and "crash_guard" in report.__dict__:  # type: ignore[comparison-overlap]  # a plugin's word
            return "rerun", "R", ("RERUN", {"yellow": True})
        return None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List what passed after a crash."""
        if self._flaky:
            terminalreporter.section("passed after a crash", yellow=True)
        for nodeid, attempts in self._flaky:
            terminalreporter.line(f"FLAKY {nodeid}", yellow=True)
            for attempt in attempts:
                terminalreporter.line(f"    {attempt}")
