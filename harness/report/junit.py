"""A dossier as JUnit XML: a test case a scenario's case, one an experiment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from harness.report.experiment import finding_lines_of
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from harness.report.reader import Dossier, Told
    from harness.scenarios.campaign import Result

NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ELEMENTS = {Verdict.FAIL: "failure", Verdict.INFRA: "error", Verdict.UNKNOWN: "skipped", Verdict.SKIP: "skipped"}


def _clean(text: str) -> str:
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def document(dossier: Dossier) -> str:
    """Write the whole file."""
    suite = ET.Element("testsuite", name="crash-harness")
    for result in sorted(dossier.results, key=lambda one: one.title):
        _case(suite, result)
    for told in dossier.experiments:
        _experiment(suite, told)
    kinds = [child.tag for case in suite for child in case]
    counts = {"tests": len(suite), "failures": kinds.count("failure"), "errors": kinds.count("error")}
    suite.attrib |= {name: str(number) for name, number in counts.items()} | {"skipped": str(kinds.count("skipped"))}
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, result: Result) -> None:
    lived = [attempt.evidence.duration_s or 0.0 for attempt in result.run.attempts] if result.run else []
    case = ET.SubElement(suite, "testcase", classname=f"{result.scenario.name}.{result.dialect}", name=result.case.name)
    case.set("time", f"{sum(lived):.3f}")
    tag = ELEMENTS.get(result.judgement.verdict)
    if tag:
        reasons = _clean("\n".join(result.judgement.reasons) or str(result.judgement.verdict))
        ET.SubElement(case, tag, message=reasons.split("\n", 1)[0]).text = reasons


def _experiment(suite: ET.Element, told: Told) -> None:
    case = ET.SubElement(suite, "testcase", classname="experiment", name=_clean(told.experiment.title))
    lines = [line for finding in told.findings for line in (finding.variant, *finding_lines_of(finding))]
    ET.SubElement(case, "system-out").text = _clean("\n".join(lines))
