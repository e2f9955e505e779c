"""crash-harness faults: the catalogue."""

from __future__ import annotations

import click

from harness.cli.options.common import json_option
from harness.cli.output import emit_pretty, write
from harness.faults.catalogue import Row, catalogue, find
from harness.machine import why_not
from harness.report.catalogue import page
from harness.report.terminal import console, table

HEADINGS = ("fault", "family", "tiers", "expected evidence", "not here because")


@click.command(epilog="Example: crash-harness faults torn_publish")
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="The whole catalogue as a page: docs/faults.md.")
@json_option
def faults(name: str | None, markdown: bool, as_json: bool) -> None:
    """List the native faults, or tell all about one."""
    chosen = [find(name)] if name else list(catalogue().values())
    if markdown:
        write(page(chosen), end=False)
    elif as_json:
        emit_pretty(chosen[0] if name else chosen)
    elif name:
        _describe(chosen[0])
    else:
        console().print(table(HEADINGS, map(_row, chosen)))


def _row(row: Row) -> tuple[str, ...]:
    return row.name, row.family, " ".join(row.tiers), " or ".join(row.expects), why_not(row.needs) or ""


def _describe(fault: Row) -> None:
    write(f"{fault.name}: {fault.mechanism}")
    write(f"family {fault.family}, {fault.kind}; tiers: {', '.join(fault.tiers)}")
    write(f"expected evidence: {' or '.join(fault.expects)}")
    write(f"needs: {', '.join(fault.needs) or 'nothing'}")
    for dial in fault.parameters:
        write(f"parameter {dial.name}: {dial.low} to {dial.high} {dial.unit}, {dial.initial} if not given")
    if reason := why_not(fault.needs):
        write(f"not on this machine: {reason}")
