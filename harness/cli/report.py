"""crash-harness report: a history for people and for CI."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.markup import escape

from harness.cli.options import emit_pretty, json_option
from harness.cli.order import NO_HISTORY
from harness.exceptions import InvalidInputError
from harness.journal import History
from harness.report import html, junit, markdown
from harness.report.experiment import finding_lines_of
from harness.report.reader import Dossier, read
from harness.report.terminal import console, reasons, summary, table
from harness.scenarios.verdict import exit_code


@click.command(epilog="Example: crash-harness report runs.sqlite --html report.html --junit junit.xml")
@click.argument("history", type=click.Path(path_type=Path))
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write one self-contained page.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), help="Write JUnit XML.")
@click.option("--markdown", "summary_page", type=click.Path(path_type=Path), help="Write Markdown, for a CI summary.")
@json_option
@click.pass_context
def report(
    context: click.Context,
    history: Path,
    page: Path | None,
    junit_file: Path | None,
    summary_page: Path | None,
    as_json: bool,
) -> None:
    """Tell what HISTORY has: verdicts, experiments, and where the dialects differ.

    The exit code is that of its verdicts.
    """
    if not history.exists():
        raise InvalidInputError(f"{history}: {NO_HISTORY}")
    with History(history) as book:
        dossier = read(book, history.name)
    for path, write in ((page, html.page), (junit_file, junit.document), (summary_page, markdown.document)):
        if path:
            _write(path, write(dossier))
    if as_json:
        emit_pretty(_record(dossier))
    elif not (page or junit_file or summary_page):
        _tell(dossier)
    context.exit(exit_code(result.judgement.verdict for result in dossier.results))


def _write(path: Path, text: str) -> None:
    """All of it or nothing: an old file stays until the new one is whole."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105 -- said as it is
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InvalidInputError(f"{path}: {error.strerror}") from error


def _record(dossier: Dossier) -> dict[str, object]:
    confusion = [
        {"injected": truth, "codes": cells, "differ": differ} for truth, cells, differ in dossier.confusion.rows()
    ]
    told = [
        {"title": t.experiment.title, "ended": t.ended, "findings": t.findings, "difference": t.difference}
        for t in dossier.experiments
    ]
    return {
        "environment": dossier.environment,
        "results": [{"title": r.title, "dialect": r.dialect, "judgement": r.judgement} for r in dossier.results],
        "experiments": told,
        "confusion": confusion,
    }


def _tell(dossier: Dossier) -> None:
    out = console()
    if dossier.results:
        out.print(table(dossier.results))
        for reason in reasons(dossier.results):
            out.print(f"\n{escape(reason)}", soft_wrap=True)
        out.print(f"\n{summary(dossier.results, len(dossier.results))}")
    for told in dossier.experiments:
        for finding in told.findings:
            out.print(escape(f"\n{finding.variant}"), soft_wrap=True)
            for line in finding_lines_of(finding):
                out.print(escape(f"  {line}"), soft_wrap=True)
        if told.difference:
            out.print(escape(f"  {told.difference.text}"), soft_wrap=True)
    for truth, cells, differ in dossier.confusion.rows():
        if differ:
            said = "; ".join(f"{dialect}: {', '.join(codes)}" for dialect, codes in cells.items())
            out.print(escape(f"the dialects differ on {truth}: {said}"), soft_wrap=True)
