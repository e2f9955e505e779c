"""One attempt of one test: asks a guarded process to run it, and takes down what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from _pytest.junitxml import xml_key

from harness.exceptions import InfraError
from harness.pytest_guard import reports
from harness.pytest_guard.channel import ChannelClosed
from harness.pytest_guard.child import death_of_fork, wait

if TYPE_CHECKING:
    from harness.pytest_guard.child import Child, Death

GRACE_S: Final = 10.0


class Outcome(msgspec.Struct):
    """What came of it: reports, or the death of the process in the phase `when`. `idle`: it died before it began.

    `discard` is why the process is to be replaced, empty if it is not. `before` are the tests that had run in it, the
    first of them `lived_s` ago. `notes` is what was found out about the crash by running the test again. `lives`: the
    process can go on; what died, if anything did, was a fork of it.
    """

    reports: list[Any] = []
    death: Death | None = None
    when: str = ""
    idle: bool = False
    discard: str = ""
    before: list[Any] = []
    lived_s: float = 0.0
    notes: list[str] = []
    lives: bool = False


class Attempt:
    """An attempt under way."""

    def __init__(
        self, item: pytest.Item, child: Child, deadline_s: float | None, *, is_heard: bool = True, in_fork: bool = False
    ) -> None:
        self._patience_s = deadline_s + GRACE_S if in_fork and deadline_s else deadline_s  # it ends its fork itself
        self._is_heard = is_heard
        self._item, self._child, self._deadline_s = item, child, deadline_s
        self._reports: list[pytest.TestReport] = []
        self._phase = ""
        self._until_s: float | None = None
        self._discard, self._ends_itself = "", False
        self._death: Death | None = None
        self._died_in = ""

    def live(self, order: dict[str, Any]) -> Outcome:
        """Live it to its end. Raises what pytest.exit() or Ctrl-C raise, if the test has ended the session by them."""
        self._named = order["item"][0]
        try:
            self._child.send("run", deadline_s=self._deadline_s, **order)
            while True:
                word, more = self._child.receive(self._until_s)
                if word == "done":
                    return Outcome(self._reports, self._death, self._died_in, discard=self._discard, lives=True)
                self._hear(word, more)
        except TimeoutError:
            self._child.kill(self._deadline_s)
        except ChannelClosed:
            pass
        except KeyboardInterrupt:
            if not self._ends_itself:
                self._child.interrupt()
            raise
        return Outcome(self._reports, self._child.end(), self._phase or "setup", idle=not self._phase)

    def _hear(self, word: str, more: dict[str, Any]) -> None:
        config = self._item.config
        match word:
            case "start":
                self._phase, self._until_s = "setup", wait(self._patience_s)
            case "phase":
                self._phase = more["name"]
            case "ran":
                self._take_over(more)
            case "died":
                self._died_in, self._death = self._phase, death_of_fork(**more)
            case "screen" | "warning" | "property" | "report" if not self._is_heard:
                pass
            case "report":
                self._take_report(**more)
            case "screen":
                config.get_terminal_writer().write(more["text"], flush=True)
            case "warning":
                config.hook.pytest_warning_recorded.call_historic(
                    kwargs={
                        "warning_message": reports.warning(more["warning"]),
                        **{name: more[name] for name in ("when", "nodeid", "location")},
                    }
                )
            case "property":
                self._note_in_junit(**more)
            case _:
                self._heed(word, more)

    def _heed(self, word: str, more: dict[str, Any]) -> None:
        """Raise what ends the attempt without its reports."""
        match word:
            case "missing":
                raise Missing
            case "exit":
                pytest.exit(more["message"], more["status"])
            case "interrupt":
                self._ends_itself = True
                raise KeyboardInterrupt
            case "internalerror":
                raise InfraError(f"the guarded session failed:\n{more['text']}")

    def _note_in_junit(self, nodeid: str | None, name: str, value: object) -> None:
        """Hand on what record_testsuite_property and record_xml_attribute are for."""
        xml = self._item.config.stash.get(xml_key, None)
        if xml is None:
            return
        if nodeid is None:
            xml.add_global_property(name, value)
        else:
            xml.node_reporter(self._item.nodeid).add_attribute(name, value)

    def _take_report(self, data: dict[str, Any], *, is_text: bool) -> None:
        config = self._item.config
        report = config.hook.pytest_report_from_serializable(config=config, data=data)
        if isinstance(report.longrepr, str) and not is_text:
            report.longrepr = reports.Said(report.longrepr)
        if context := data.get("_subtest.context"):  # pytest has shown its values once more
            object.__setattr__(report.context, "kwargs", context["kwargs"])
        if report.when == "teardown":  # what comes now is nobody's phase any more
            self._phase = "teardown"
        before = self._reports[-1] if self._reports else None
        if report.when == "teardown" and before is not None and before.when == "teardown" and before.passed:
            self._reports.pop()  # of a fork; what it shares with others could not be torn down
        if report.nodeid == self._named:  # and none that a hook of the project's has given it
            report.nodeid = self._item.nodeid  # under --dist=loadgroup it has the group in it, here alone
        if report.failed:
            reports.count_subtest(self._item, report)
        self._reports.append(report)

    def _take_over(self, more: dict[str, Any]) -> None:
        """Take over what a test has set for the whole session."""
        session, self._discard = self._item.session, more["discard"]
        session.shouldstop = more["stop"] or session.shouldstop
        session.shouldfail = more["fail"] or session.shouldfail


class Missing(Exception):  # noqa: N818 -- a fact, told to the runner
    """The guarded process has no test of that name."""
