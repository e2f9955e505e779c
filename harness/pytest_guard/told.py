"""Where results are shown: crashes that were retried, in the terminal and in JUnit. Under xdist no test runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from _pytest.junitxml import xml_key

if TYPE_CHECKING:
    import pytest

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

    def hear(self, report: pytest.TestReport) -> None:
        """Take note of a report that has a crash in it."""
        crash: dict[str, Any] = report.crash
        attempts = crash.get("attempts", ())
        if crash.get("flaky"):
            self._flaky.append((report.nodeid, list(attempts[:-1])))
        self._note_in_junit(report, attempts[:-1], flaky=bool(crash.get("flaky")))

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
        if report.outcome == "rerun" and "crash" in report.__dict__:  # type: ignore[comparison-overlap]  # a plugin's word
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
