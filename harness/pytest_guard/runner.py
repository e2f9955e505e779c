"""The parent's plugin: which process runs which test, and what is reported of it."""

from __future__ import annotations

import faulthandler
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from harness.dialects.custom import opened
from harness.exceptions import HarnessError, InvalidInputError
from harness.pytest_guard import reports, shrinking
from harness.pytest_guard.confirm import can_confirm, confirmed, is_doubtful
from harness.pytest_guard.imports import Imports, give_up
from harness.pytest_guard.processes import Processes
from harness.pytest_guard.retries import tried
from harness.pytest_guard.settings import EXCEPTIONS, MARK, Wish, policy_of, wish_of
from harness.pytest_guard.shrinking import can_shrink

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from harness.pytest_guard.attempt import Outcome
    from harness.pytest_guard.child import Death
    from harness.pytest_guard.settings import Settings

first = pytest.hookimpl(tryfirst=True)


class Guard:
    """Runs the tests of a session in guarded processes."""

    def __init__(self, session: pytest.Session, settings: Settings, *, marked_only: bool, is_foreign: bool) -> None:
        self._settings, self._marked_only, self._is_foreign = settings, marked_only, is_foreign
        self._wishes: dict[pytest.Item, Wish] = {}
        self._processes = Processes(session, settings, self._wishes)
        self._stack = ExitStack()
        if marked_only:
            self.pytest_collection_finish(session)
        else:
            imports = Imports(self._processes)
            session.config.pluginmanager.register(imports, "crash-guard-imports")

    def pytest_report_header(self) -> str:
        """Say how tests run."""
        retries = self._settings.policy.max_attempts if self._settings.policy else self._settings.retries + 1
        return f"crash-guard: {self._settings.scope}, attempts {retries}, dialect {self._settings.dialect}"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Read the marks of all tests, so that a mistake in one is told before anything runs."""
        try:
            for item in session.items:
                wish = wish_of(item, self._settings, is_foreign=self._is_foreign)
                if wish.guard and (not self._marked_only or item.get_closest_marker(MARK)):
                    self._wishes[item] = wish
        except InvalidInputError as error:
            raise pytest.UsageError(str(error)) from error
        self._processes.know(session.items)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """Leave the timer of pytest-timeout to the process that runs the test."""
        return True if item in self._wishes else None

    @first
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test in a guarded process."""
        wish = self._wishes.get(item)
        if wish is None:
            return None
        faulthandler.cancel_dump_traceback_later()  # set by faulthandler_timeout; the stacks here say nothing
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            for report in self._reports(item, nextitem, wish):
                item.ihook.pytest_runtest_logreport(report=report)
            self._processes.settle(item, nextitem)
        except HarnessError as error:
            give_up(str(error))
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _reports(self, item: pytest.Item, nextitem: pytest.Item | None, wish: Wish) -> Iterator[pytest.TestReport]:
        outcome = self._processes.run(item, nextitem, wish, wish.memory)
        if wish.expect is not None:
            yield from reports.as_expected(item, outcome, wish.expect)
            return
        if outcome.death is not None and (reason := reports.forgiven(item, outcome.when)) is not None:
            yield from reports.xfailed(item, outcome, reason)
            return
        exceptions = EXCEPTIONS in self._settings.retry_on
        if outcome.death is None and not exceptions:
            yield from outcome.reports
            return
        yield from self._retried(item, nextitem, wish, outcome)

    def _retried(
        self, item: pytest.Item, nextitem: pytest.Item | None, wish: Wish, outcome: Outcome
    ) -> Iterator[pytest.TestReport]:
        def again(memory: int | None) -> Outcome:
            if wish.scope != "fork":
                self._processes.close()  # each attempt has a fresh process, also after an exception
            return self._processes.run(item, nextitem, wish, memory)

        policy = policy_of(self._settings, wish)
        asked = self._settings.retry_on
        outcomes, run, saved = tried(outcome, again, policy, self._dialect, memory=wish.memory, retry_on=asked)
        for one in outcomes[:-1]:
            yield reports.rerun(item, one)
        last = outcomes[-1]
        self._confirm(item, last)
        if last.when == "call" and last.death is not None and can_shrink(item):
            last = self._shrunk(item, nextitem, wish, last, last.death)
        kept = saved if self._settings.history and any(one.death for one in outcomes) else []
        yield from reports.final(item, last, run, kept, flaky_fails=self._settings.flaky == "fail")

    def _confirm(self, item: pytest.Item, outcome: Outcome) -> None:
        """Find out whether a test crashes alone, where that is asked for, or its blame is doubtful."""
        when = self._settings.confirm
        if when == "never" or not can_confirm(outcome) or not (when == "always" or is_doubtful(outcome)):
            return
        outcome.notes.append(
            confirmed(item, outcome.before, lambda tests: self._processes.trial(tests, outcome.lived_s))
        )

    def _shrunk(
        self, item: pytest.Item, nextitem: pytest.Item | None, wish: Wish, last: Outcome, death: Death
    ) -> Outcome:
        """Have Hypothesis look for the crash again, each example in a process of its own; return `last` if in vain."""
        found = self._processes.run(item, nextitem, wish, wish.memory, shrinking.__name__)
        self._processes.close()  # it has the plugin now
        if found.death is None and any(reports.tells_a_crash(one) for one in found.reports):
            return reports.explained(found, death)
        last.notes += filter(None, map(shrinking.why_not, found.reports))
        return last

    @property
    def _dialect(self) -> Any:
        """Return the dialect. A judge of the user's own is started once, and ended with the session."""
        if not hasattr(self, "_opened"):
            self._opened = self._stack.enter_context(opened(self._settings.dialect))
        return self._opened

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """End the last process with the last test, so that what it does then is part of the run."""
        plugins = session.config.pluginmanager
        plugins.unregister(self)
        plugins.register(self, "crash-guard")  # a conftest file that runs tests by itself does so in their process
        try:
            return (yield)
        finally:
            self._processes.close()

    def pytest_unconfigure(self) -> None:
        """End the process and whatever else is left."""
        self._processes.abandon()
        self._stack.close()
