"""A report as Markdown, for the summary page of a CI run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.report import deltas, engines, sweep, words
from harness.report.experiment import RANKING, finding_lines_of, kept_lines, ranking_rows
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.report.reader import HistoryReport


def _cell(text: object) -> str:
    """Text that is only text: no markup, no new row, no HTML; control characters are shown."""
    flat = words.printable(" ".join(str(text).split()))
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$@:-])", r"\\\1", flat)


def render(report: HistoryReport) -> str:
    """Write the whole file."""
    parts = [f"# Crash Harness: {_cell(report.name)}", "", *_open(report), *_cases(report), *_runs(report)]
    parts += [*_checks(report), *_sweeps(report), *_experiments(report), *_deltas(report)]
    return "\n".join(parts) + "\n"


def _open(report: HistoryReport) -> Iterator[str]:
    if report.open_question:
        yield from (f"**{_cell(report.open_question)}**", "")
        yield from (f"- {_cell(title)}" for title in report.undecided)
        yield ""


def _cases(report: HistoryReport) -> Iterator[str]:
    if not report.results:
        return
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(report.verdicts().items()))
    yield from (f"{words.counted(len(report.results), 'case')}: {counts}", "")
    yield from ("| case | observed | status | verdict |", "|---|---|---|---|")
    for result in report.results:
        seen = (words.terminations(result.run), result.run.status) if result.run else ("", "")
        yield f"| {_cell(result.title)} | {_cell(seen[0])} | {_cell(seen[1])} | **{result.judgement.verdict}** |"
    yield ""
    for result in report.results:
        if result.judgement.verdict is not Verdict.PASS:
            title, *trail = words.trail(result)
            yield from (f"### {_cell(title)}", "", *(f"    {words.printable(line)}" for line in trail), "")


def _runs(report: HistoryReport) -> Iterator[str]:
    for one in report.runs:
        yield from (f"## {_cell(one.title)}", "")
        yield from (f"- {_cell(words.attempt_line(attempt))}" for attempt in one.run.attempts)
        yield from ("", f"**{one.verdict or 'not decided'}** {_cell(words.ending(one.run))}", "")


def _checks(report: HistoryReport) -> Iterator[str]:
    for check in report.checks:
        yield from (
            f"## {_cell(engines.headline(check))}",
            "",
            "| property | claim | verdict | reason |",
            "|---|---|---|---|",
        )
        for name, claim, verdict, reason in engines.rows(check):
            yield f"| {name} | {_cell(claim)} | **{verdict}** | {_cell(reason)} |"
        yield ""


def _sweeps(report: HistoryReport) -> Iterator[str]:
    for swept in report.sweeps:
        yield from (f"## {_cell(sweep.headline(swept))}", "", f"**{_cell(sweep.verdict_line(swept))}**", "")
        yield from (*sweep.preface(swept), "")
        for finding in swept.findings:
            title, *rest = sweep.finding_lines(finding)
            yield from (f"### {_cell(title)}", "", *(f"    {words.printable(line)}" for line in rest), "")


def _experiments(report: HistoryReport) -> Iterator[str]:
    yield from _table(RANKING, list(ranking_rows([one.conclusion for one in report.experiments])))
    for one in report.experiments:
        told = one.conclusion
        yield from (f"## {_cell(one.title)}", "", f"Stopped: {_cell(told.ended or 'not ended')}.", "")
        for finding in told.findings:
            yield from (f"### {_cell(finding.variant)}", "")
            yield from (f"- {_cell(line)}" for line in finding_lines_of(finding))
            yield ""
        if told.difference:
            yield from (f"Side by side: {_cell(told.difference.text)}", "")
        kept = [f"- {_cell(line)}" for line in kept_lines(told)]
        if kept:
            yield from ("The first failure of each kind:", "", *kept, "")


def _deltas(report: HistoryReport) -> Iterator[str]:
    if not report.deltas:
        return
    yield from (f"## {deltas.TITLE}", "", f"{_cell(deltas.remark(report.deltas).capitalize())}.", "")
    yield from _table(deltas.HEADINGS, list(deltas.rows(report.deltas)))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table, unless it has no rows."""
    if rows:
        yield from (f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}")
        yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)
        yield ""
