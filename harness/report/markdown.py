"""A dossier as Markdown, for the summary page of a CI run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.report import words
from harness.report.experiment import finding_lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.report.reader import Dossier


def _cell(text: object) -> str:
    """Text that is only text: no markup, no new row, no HTML."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$@:-])", r"\\\1", "".join(c for c in flat if c.isprintable()))


def document(dossier: Dossier) -> str:
    """Write the whole file."""
    return (
        "\n".join([f"# Crash Harness: {_cell(dossier.name)}", "", *_verdicts(dossier), *_experiments(dossier)]) + "\n"
    )


def _verdicts(dossier: Dossier) -> Iterator[str]:
    if not dossier.results:
        return
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(dossier.verdicts().items()))
    yield from (f"{words.counted(len(dossier.results), 'case')}: {counts}", "")
    yield from ("| case | observed | status | verdict |", "|---|---|---|---|")
    for result in sorted(dossier.results, key=lambda one: one.title):
        seen = (words.terminations(result.run), result.run.status) if result.run else ("", "")
        why = "; ".join(result.judgement.reasons)
        verdict = f"**{result.judgement.verdict}**" + (f" {_cell(why)}" if why else "")
        yield f"| {_cell(result.title)} | {_cell(seen[0])} | {_cell(seen[1])} | {verdict} |"
    yield ""


def _experiments(dossier: Dossier) -> Iterator[str]:
    for told in dossier.experiments:
        yield from (f"## {_cell(told.experiment.title)}", "", f"Stopped: {_cell(told.ended)}.", "")
        for finding in told.findings:
            yield from (f"### {_cell(finding.variant)}", "")
            yield from (f"- {_cell(line)}" for line in finding_lines_of(finding))
            yield ""
        if told.difference:
            yield from (f"Side by side: {_cell(told.difference.text)}", "")
