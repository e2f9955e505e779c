"""crash-harness faults: the catalogue."""

from __future__ import annotations

import click
from rich.markup import escape
from rich.table import Table

from harness.cli.options import emit_pretty, json_option, write
from harness.faults.catalogue import Row, catalogue, find
from harness.machine import why_not
from harness.report.catalogue import page
from harness.report.terminal import console


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
        console().print(_table(chosen))


def _table(rows: list[Row]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("fault", "family", "kind", "tiers", "expected evidence", "not here because"):
        made.add_column(heading, overflow="fold")
    for row in rows:
        cells = (
            row.name,
            row.family,
            row.kind,
            " ".join(row.tiers),
            " or ".join(row.expects),
            why_not(row.needs),
        )
        made.add_row(*map(escape, cells))
    return made


def _describe(fault: Row) -> None:
    write(f"{fault.name}: {fault.mechanism}")
    write(f"family {fault.family}, {fault.kind}; tiers: {', '.join(fault.tiers)}")
    write(f"expected evidence: {' or '.join(fault.expects)}")
    write(f"needs: {', '.join(fault.needs) or 'nothing'}")
    for dial in fault.parameters:
        write(f"parameter {dial.name}: {dial.low} to {dial.high} {dial.unit}, {dial.initial} if not given")
    if reason := why_not(fault.needs):
        write(f"not on this machine: {reason}")
