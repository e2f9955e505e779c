"""Reports that the parent makes by itself, for what a dead process could not report; and warnings, made again."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, Final

import msgspec
from _pytest._code.code import ExceptionChainRepr, ReprEntryNative, ReprFileLocation, ReprTraceback, TerminalRepr
from _pytest.reports import TestReport
from _pytest.skipping import evaluate_xfail_marks
from _pytest.unittest import TestCaseFunction

from harness.exceptions import NativeCrash
from harness.pytest_guard import death as dead
from harness.report.words import attempt_line

if TYPE_CHECKING:
    import pytest
    from _pytest._io import TerminalWriter

    from harness.engine.loop import Run, Saved
    from harness.pytest_guard.attempt import Outcome
    from harness.pytest_guard.child import Death

NAME: Final = "NativeCrash"
PHASES: Final = dead.PHASES


class Said(TerminalRepr):
    """What a failed doctest says, or another failure of a shape of its own: as text, but no message for a summary."""

    def __init__(self, text: str) -> None:
        self._text = text

    def toterminal(self, tw: TerminalWriter) -> None:
        """Show it."""
        tw.line(self._text)


def report(item: pytest.Item, when: str, outcome: str, longrepr: object = None, **more: Any) -> TestReport:
    """Make a report of a phase."""
    keywords = dict.fromkeys(item.keywords, 1)
    return TestReport(item.nodeid, item.location, keywords, outcome, longrepr, when, **more)  # type: ignore[arg-type]


def crashed(item: pytest.Item, when: str, death: Death, before: list[TestReport], notes: list[str]) -> TestReport:
    """Make the report of a phase in which the process died: a failure, with what the test had printed until then.

    `notes` are lines that follow the first.
    """
    earlier = before[-1].sections if before else []
    fresh = [(f"Captured {name} {when}", text) for name, text in death.output]
    path, line, _ = item.reportinfo()
    where = dead.place(death, (str(path), (line or 0) + 1))
    text = dead.lines(death, when)
    text[1:1] = [f"    {note}" for note in notes]
    made = report(
        item, when, "failed", shown(text, where), sections=[*earlier, *fresh], duration=death.evidence.duration_s or 0
    )
    made.crash_guard = dead.record(death)  # type: ignore[attr-defined]  # travels on with the report
    return made


def failed(item: pytest.Item, when: str, text: str) -> TestReport:
    """Make a failure that is no crash of the test's."""
    path, line, _ = item.reportinfo()
    return report(item, when, "failed", shown(text.splitlines(), (str(path), (line or 0) + 1), ""))


def shown(text: list[str], where: tuple[str, int], name: str = NAME) -> ExceptionChainRepr:
    """Make a failure's text in the shape that reporters know, so that the summary and JUnit have its first line."""
    message = f"{name}: {text[0]}" if name else text[0]
    body = "\n".join([message, *text[1:]]) + "\n"
    trace = ReprTraceback([ReprEntryNative([body])], None, style="native")
    return ExceptionChainRepr([(trace, ReprFileLocation(str(where[0]), where[1], message), None)])


def completed(item: pytest.Item, reports: list[TestReport]) -> list[TestReport]:
    """Add what is missing of the three phases: reporters close a test at its teardown."""
    seen = {one.when for one in reports}
    started = [report(item, "setup", "passed")] if "setup" not in seen and "call" in seen else []
    ended = [report(item, "teardown", "passed")] if "teardown" not in seen else []
    return [*started, *reports, *ended]


def forgiven(item: pytest.Item, when: str) -> str | None:
    """Why a crash in this phase is an expected failure, None if it is none."""
    mark = None if item.config.option.runxfail else evaluate_xfail_marks(item)
    if mark is None or when == "teardown" or not _takes_crashes(mark.raises):
        return None
    return mark.reason


def _takes_crashes(raises: Any) -> bool:
    if raises is None:
        return True
    if isinstance(raises, type | tuple):
        return issubclass(NativeCrash, raises)
    return bool(raises.matches(NativeCrash(NAME)))  # pytest.RaisesExc


def count_subtest(item: pytest.Item, report: TestReport) -> None:
    """Note a failed subtest where pytest does, which has it fail its test when that is shown."""
    subtests = sys.modules.get("_pytest.subtests")
    if subtests is None or not isinstance(report, subtests.SubtestReport) or isinstance(item, TestCaseFunction):
        return
    counts = item.config.stash.get(subtests.failed_subtests_key, None)
    if counts is not None:
        counts[getattr(report, "id", report.nodeid)] += 1


def warning(told: dict[str, Any]) -> warnings.WarningMessage:
    """Make a warning again, of its own class where that can be had here, else of one that looks like it."""
    category = _kind(told["kinds"])
    try:
        said = category(*told["args"])
    except Exception:  # noqa: BLE001 -- a class of the user's may want anything
        said = None
    if said is None or str(said) != told["text"]:
        base = next(kind for kind in category.__mro__ if issubclass(kind, Warning) and kind.__module__ == "builtins")
        category = type(category.__name__, (base,), {"__module__": category.__module__})
        said = category(told["text"])
    return warnings.WarningMessage(said, category, told["file"], told["line"])


def _kind(names: list[tuple[str, str]]) -> type[Warning]:
    """Return the class that the first name is of; where there is none here, one of that name and of the next kind."""
    (module, name), *more = names
    found = getattr(sys.modules.get(module), name, None)
    if isinstance(found, type) and issubclass(found, Warning):
        return found
    kind = _kind(more) if more else Warning
    return type(name.rpartition(".")[2], (kind,), {"__module__": module})


def as_expected(item: pytest.Item, outcome: Outcome, signal: str) -> list[TestReport]:
    """Make the reports of a test that must die of a signal."""
    ended = None if outcome.death is None else str(outcome.death.evidence.termination)
    if ended == signal:
        return [report(item, when, "passed") for when in PHASES]
    if outcome.death is not None:
        return reports_of(item, outcome)
    if any(one.failed or one.skipped for one in outcome.reports):
        return list(outcome.reports)
    return [
        failed(item, "call", f"{signal} was expected, and the process lives") if one.when == "call" else one
        for one in outcome.reports
    ]


def tells_a_crash(one: TestReport) -> bool:
    """Whether a report is of a test that failed by a crash in a fork of it."""
    return one.failed and one.when == "call" and NAME in str(one.longrepr)


def explained(found: Outcome, death: Death) -> Outcome:
    """Add to a crash that was found again, as an exception, what is known of the death before."""
    for one in found.reports:
        if one.failed and one.when == "call":
            one.sections.append(("Native crash", "\n".join(dead.lines(death, "call"))))
            one.crash_guard = dead.record(death)
    return found


def xfailed(item: pytest.Item, outcome: Outcome, reason: str) -> list[TestReport]:
    """Make the reports of a crash that is an expected failure."""
    made = reports_of(item, outcome)
    for one in made:
        if one.failed:
            one.outcome, one.wasxfail = "skipped", reason
            del one.crash_guard
    return made


def reports_of(item: pytest.Item, outcome: Outcome) -> list[TestReport]:
    """Return all reports of one attempt."""
    if outcome.death is None:
        return list(outcome.reports)
    return completed(
        item, [*outcome.reports, crashed(item, outcome.when, outcome.death, outcome.reports, outcome.notes)]
    )


def rerun(item: pytest.Item, outcome: Outcome) -> TestReport:
    """Make the one report of an attempt that another follows."""
    made = next(one for one in reports_of(item, outcome) if one.failed)
    made.outcome = "rerun"  # type: ignore[assignment]  # a word that reporters know from pytest-rerunfailures
    return made


def final(item: pytest.Item, outcome: Outcome, run: Run, kept: list[Saved], *, flaky_fails: bool) -> list[TestReport]:
    """Make the reports of the last attempt, with a word on all that came before it, and what a history is to keep."""
    made = reports_of(item, outcome)
    if kept:
        kept_as = {**getattr(made[-1], "crash_guard", {}), "kept": msgspec.json.encode(kept).decode()}
        made[-1].crash_guard = kept_as  # type: ignore[attr-defined]  # travels on with the report
    if len(run.attempts) == 1:
        return made
    told = [attempt_line(one) for one in run.attempts]
    is_flaky = outcome.death is None and not any(one.failed for one in made)
    for one in made:
        if is_flaky and flaky_fails and one.when == "call":
            where = (str(item.path), (item.reportinfo()[1] or 0) + 1)
            one.outcome, one.longrepr = "failed", shown(["it passed after a crash", *told], where, "FLAKY")
    made[-1].crash_guard = {**getattr(made[-1], "crash_guard", {}), "attempts": told, "flaky": is_flaky}  # type: ignore[attr-defined]  # as above
    return made
