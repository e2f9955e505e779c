"""crash-harness report: a history for people and for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options.common import Function, json_option
from harness.cli.options.files import Output
from harness.cli.output import write
from harness.journal import read, replace_file
from harness.report.formats import FORMATS, render
from harness.report.reader import read as read_report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.report.reader import HistoryReport


def of_formats(command: Function) -> Function:
    """Add an option for each format that goes to a file."""
    for name, one in reversed(FORMATS.items()):
        if one.about:
            command = click.option(f"--{name}", type=Output(), metavar="FILE", help=one.about)(command)
    return command


def write_files(given: Mapping[str, Any], told: HistoryReport) -> bool:
    """Write a report in each format that was asked for, and say so; return whether any was."""
    documents = [(given[name], render(name, told)) for name in FORMATS if given.get(name)]
    for path, text in documents:
        replace_file(path, text)
        write(f"wrote {path}", err=True)
    return bool(documents)


@click.command(epilog="Example: crash-harness report runs.sqlite --html report.html --junit junit.xml")
@click.argument("history", type=click.Path(path_type=Path))
@of_formats
@json_option
@click.pass_context
def report(context: click.Context, /, history: Path, as_json: bool, **files: Path | None) -> None:
    """Tell what HISTORY has: verdicts, attempts, experiments, what was asked for and is not decided.

    The exit code is that of its verdicts: 4 where something is not decided, 3 where the harness failed.
    """
    with read(history) as reading:
        told = read_report(reading, history.name)
    wrote = write_files(files, told)
    if as_json or not wrote:
        click.echo(render("json" if as_json else "terminal", told), nl=False)  # noqa: TID251 -- it is harmless already, and styled
    context.exit(told.exit_code)
