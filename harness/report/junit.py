"""A report as JUnit XML: a test case for each scenario's case, command or experiment that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from harness.report import engines, sweep, words
from harness.report.experiment import difference_lines, finding_lines_of, kept_lines
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.conformance.check import Check
    from harness.gate.check import CaseFinding
    from harness.refusals.outcome import Report as Sweep
    from harness.report.reader import HistoryReport, KeptExperiment, KeptRun
    from harness.scenarios.campaign import Result

ELEMENTS = {Verdict.FAIL: "failure", Verdict.INFRA: "error", Verdict.UNKNOWN: "skipped", Verdict.SKIP: "skipped"}


def render(report: HistoryReport) -> str:
    """Write the whole file. What was not decided is an error, never absent."""
    suite = ET.Element("testsuite", name="crash-harness")
    for result in report.results:
        _case(suite, result)
    lines = {one.title: _run_lines(one) for one in report.runs}
    lines |= {one.title: _experiment_lines(one) for one in report.experiments}
    for run in report.runs:
        if run.verdict:
            _run(suite, run, lines.pop(run.title))
    for experiment in report.experiments:
        if experiment.title not in report.undecided:
            _experiment(suite, experiment, lines.pop(experiment.title))
    for check in report.checks:
        _check(suite, check)
    for swept in report.sweeps:
        _sweep(suite, swept)
    for title in report.undecided or ([] if report.job else [report.name]):
        case = _testcase(suite, report.job.kind if report.job else "history", title)
        _tell(case, "error", f"not decided: {report.why_open if report.job else report.open_question}")
        _out(case, lines.get(title, []))
    return _closed(suite)


def render_findings(findings: Sequence[CaseFinding]) -> str:
    """Write what a gate found: a test case for each case of the baseline, the controls and the tables."""
    suite = ET.Element("testsuite", name="crash-harness gate")
    for one in findings:
        case = _testcase(suite, f"gate.{one.tier}", one.id)
        if tag := ELEMENTS.get(one.judgement.verdict):
            _tell(case, tag, "\n".join(one.judgement.reasons) or str(one.judgement.verdict))
    return _closed(suite)


def _closed(suite: ET.Element) -> str:
    """Count what came out how, and write the file."""
    kinds = [child.tag for case in suite for child in case]  # none of them twice in a case
    counts = {"tests": len(suite), "failures": kinds.count("failure"), "errors": kinds.count("error")}
    suite.attrib |= {name: str(number) for name, number in counts.items()} | {"skipped": str(kinds.count("skipped"))}
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _testcase(suite: ET.Element, group: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=words.printable(group), name=words.printable(name))


def _case(suite: ET.Element, result: Result) -> None:
    case = _testcase(suite, f"{result.scenario.name}.{result.dialect}", result.case.name)
    case.set("time", f"{words.lived_s(result.run):.3f}")
    if tag := ELEMENTS.get(result.judgement.verdict):
        _tell(case, tag, "\n".join(result.judgement.reasons) or str(result.judgement.verdict))
        _out(case, words.trail(result))


def _run(suite: ET.Element, one: KeptRun, lines: list[str]) -> None:
    case = _testcase(suite, "run", one.title)
    case.set("time", f"{words.lived_s(one.run):.3f}")
    if one.verdict in ELEMENTS:
        _tell(case, ELEMENTS[one.verdict], words.ending(one.run))
    _out(case, lines)


def _experiment(suite: ET.Element, one: KeptExperiment, lines: list[str]) -> None:
    """Write an experiment: it fails by its verdict, if one was asked for; otherwise its rate is told and not judged."""
    told = one.conclusion
    case = _testcase(suite, "experiment", one.title)
    case.set("time", f"{told.elapsed_s:.3f}")
    if told.verdict in ELEMENTS:
        found = told.findings[0]
        rate = f"{found.failures} of {found.trials} failed; {told.ended}"
        _tell(case, ELEMENTS[told.verdict], "\n".join([f"{told.verdict}: {rate}", *kept_lines(told)]))
    _out(case, lines)


def _check(suite: ET.Element, check: Check) -> None:
    """A property each; a known failure is skipped, with its reason."""
    for name, _, verdict, reason in engines.rows(check):
        case = _testcase(suite, f"engines.{check.engine}", name)
        known = bool(check.properties[name].known)
        if name in check.stale:
            _tell(case, "failure", reason)
        elif verdict == "FAIL" and known:
            _tell(case, "skipped", reason)
        elif tag := ELEMENTS.get(Verdict(verdict)):
            _tell(case, tag, reason or verdict)


def _sweep(suite: ET.Element, swept: Sweep) -> None:
    """A finding each, and one for the sweep itself, which is an error where nothing could be swept."""
    for finding in swept.findings:
        case = _testcase(suite, f"sweep.{swept.subject}", f"{finding.key} {sweep.finding_line(finding.first)}")
        if finding.fails:
            _tell(case, "failure", "\n".join(sweep.finding_lines(finding)))
        elif finding.accepted:
            _tell(case, "skipped", finding.accepted)
        else:
            _out(case, list(sweep.finding_lines(finding)))
    case = _testcase(suite, f"sweep.{swept.subject}", "every site refused, every finding known")
    case.set("time", f"{swept.duration_s:.3f}")
    if tag := ELEMENTS.get(Verdict(swept.verdict)):
        _tell(case, tag, "; ".join(swept.reasons) or swept.verdict)
    _out(case, [*sweep.preface(swept), sweep.headline(swept), *(f"note: {note}" for note in swept.notes)])


def _run_lines(one: KeptRun) -> list[str]:
    return [words.attempt_line(attempt) for attempt in one.run.attempts]


def _experiment_lines(one: KeptExperiment) -> list[str]:
    told = one.conclusion
    lines = [line for found in told.findings for line in (found.variant, *finding_lines_of(found))]
    compared = list(difference_lines(told.difference)) if told.difference else []
    return [*lines, *compared, *kept_lines(told)]


def _out(case: ET.Element, lines: list[str]) -> None:
    if lines:
        ET.SubElement(case, "system-out").text = "\n".join(map(words.printable, lines))


def _tell(case: ET.Element, tag: str, reasons: str) -> None:
    shown = words.lines_of(reasons)
    ET.SubElement(case, tag, message=shown.split("\n", 1)[0]).text = shown
