"""`pytest --crash-guard`: a user's own tests in supervised processes, so that a native crash is one test's failure.

The process that a user starts stays a normal pytest: it owns the selection, the order, the reports, the exit status. It
never runs a guarded test. Tests run in one supervised child after the other, each an ordinary pytest session that
behaves as a worker of xdist's does, and is told test by test what to run. A crash ends the child, is that test's
failure in the phase that ran, and the tests that follow go to a new child.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.exceptions import InvalidInputError
from harness.pytest_guard.settings import settings_of

if TYPE_CHECKING:
    from harness.pytest_guard.settings import Settings

OFF = {
    "usepdb": "--pdb needs the tests in the process that has the terminal",
    "trace": "--trace needs the tests in the process that has the terminal",
    "collectonly": "nothing runs with --collect-only",
}


def check(config: pytest.Config) -> Settings:
    """Read the options. Raises pytest.UsageError for a mistake in them."""
    try:
        return settings_of(config)
    except InvalidInputError as error:
        raise pytest.UsageError(str(error)) from error


def begin(session: pytest.Session, *, marked_only: bool = False, is_foreign: bool = False) -> None:
    """Guard a session from here on: all its tests, or the marked ones only.

    `is_foreign`: the name of our mark is one of a project's own, too.
    """
    config = session.config
    if why := next((why for name, why in OFF.items() if config.getoption(name, None)), ""):
        if not (config.option.collectonly and config.option.verbose < 0):
            say(config, f"crash-guard is off: {why}")
        return
    settings = check(config)
    if settings.history and not hasattr(config, "workerinput"):
        from harness.pytest_guard import told  # noqa: PLC0415 -- as below

        told.teller(config).keep(settings.history)
    if config.pluginmanager.hasplugin("dsession"):
        return  # the workers guard their own tests

    from harness.pytest_guard.runner import Guard  # noqa: PLC0415 -- a session that only shows results needs none of it

    config.pluginmanager.register(
        Guard(session, settings, marked_only=marked_only, is_foreign=is_foreign), "crash-guard"
    )


def say(config: pytest.Config, line: str) -> None:
    """Write a line to the terminal, where there is a reporter that does."""
    if reporter := config.pluginmanager.getplugin("terminalreporter"):
        reporter.write_line(line)
