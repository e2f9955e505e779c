"""crash-harness dialects: two dialects beside each other."""

from __future__ import annotations

import click
from rich.markup import escape
from rich.table import Table

from harness.cli.options import dialect_option, emit_pretty, json_option, say
from harness.exceptions import InvalidInputError
from harness.report.dialects import PAGES, compare
from harness.report.terminal import console
from harness.wire.codes import Dialect

NAMES = [dialect.value for dialect in Dialect]


@click.command(epilog="Example: crash-harness dialects strict --dialect upstream-4.5")
@click.argument("other", type=click.Choice(NAMES))
@click.option("--markdown", is_flag=True, help="The page about OTHER: docs/why-strict.md, docs/legacy.md.")
@json_option
@dialect_option
def dialects(other: str, markdown: bool, as_json: bool, dialect: Dialect) -> None:
    """Say on which deaths the dialect OTHER differs from --dialect, and what each makes of them."""
    second = Dialect(other)
    if markdown:
        if second not in PAGES:
            raise InvalidInputError(f"--markdown: there are pages about {' and '.join(PAGES)}")
        say(PAGES[second](), end=False)
        return
    rows = [row for row in compare(dialect, second) if row.differs]
    if as_json:
        emit_pretty({"first": dialect, "second": second, "differences": rows})
        return
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("death", dialect, second):
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(escape(row.death), escape(str(row.first)), escape(str(row.second)))
    console().print(made)
