"""A crash that belongs to no test: between two tests, or when a process ends after its last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.pytest_guard import death as dead
from harness.pytest_guard.reports import shown

if TYPE_CHECKING:
    from harness.pytest_guard.child import Death
    from harness.pytest_guard.settings import AtExit


def report(last: pytest.Item, death: Death, when: str, at_exit: AtExit) -> None:
    """Report it after the last test that the process ran: as an error, as a warning, or not at all."""
    if at_exit == "ignore":
        return
    lines = dead.lines(death, f"{when}, after {last.nodeid}")
    if at_exit == "warn":
        last.warn(pytest.PytestWarning("\n".join(lines)))
        return
    with_xdist = hasattr(last.config, "workerinput")
    nodeid = last.nodeid if with_xdist else f"{last.nodeid.partition('::')[0]}::{when}"
    path, line, _ = last.reportinfo()
    sections = [(f"Captured {name} {when}", text) for name, text in death.output]
    made = pytest.TestReport(
        nodeid,
        (last.location[0], None, nodeid.partition("::")[2]),
        {},
        "failed",
        shown(lines, dead.place(death, (str(path), (line or 0) + 1))),
        "teardown",
        sections,
    )
    made.crash_guard = dead.record(death)  # type: ignore[attr-defined]  # travels on with the report
    if with_xdist:
        _speak_for(last)
    last.config.hook.pytest_runtest_logreport(report=made)


def _speak_for(last: pytest.Item) -> None:
    """Let a worker of xdist's report on the test before the one that it has at hand."""
    items = last.session.items
    for plugin in last.config.pluginmanager.get_plugins():
        if hasattr(plugin, "item_index"):
            plugin.item_index = items.index(last)
