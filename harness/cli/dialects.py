"""crash-harness dialects: which there are, and two of them beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from harness.cli.options import dialect_option, emit_pretty, json_option, write
from harness.dialects import BUILT_IN, parted
from harness.dialects.compare import argued, compare
from harness.dialects.custom import opened_all
from harness.exceptions import InvalidInputError
from harness.report.dialects import PAGES
from harness.report.terminal import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.dialects.protocol import Dialect


@click.command(epilog="Example: crash-harness dialects strict --dialect upstream-4.4")
@click.argument("other", required=False)
@click.option("--markdown", is_flag=True, help="The page about OTHER: docs/why-strict.md, docs/legacy.md.")
@json_option
@dialect_option
def dialects(other: str | None, markdown: bool, as_json: bool, dialect: str) -> None:
    """Say on which deaths the dialect OTHER differs from --dialect, and what each makes of them.

    Without OTHER, list the dialects. OTHER may be a judge of yours, as for --classifier.
    """
    if markdown:
        if other not in PAGES:
            raise InvalidInputError(f"--markdown: there are pages about {' and '.join(PAGES)}")
        write(PAGES[other](), end=False)
    elif other is None:
        _list(as_json)
    else:
        parted(other)
        with opened_all([dialect, other]) as opened:
            _compare(opened[dialect], opened[other], as_json)


def _list(as_json: bool) -> None:
    rows = [(one.name, one.stands_for, one.like or "") for one in BUILT_IN.values()]
    if as_json:
        emit_pretty([{"name": name, "stands_for": what, "like": like or None} for name, what, like in rows])
        return
    _print(("dialect", "stands for", "like"), rows)


def _compare(first: Dialect, second: Dialect, as_json: bool) -> None:
    rows = [row for row in compare(first, second) if row.differs]
    reasons = argued(second)
    if as_json:
        differences = [{"death": one.death, "first": one.first, "second": one.second} for one in rows]
        rules = [{"rule": one.name, "reason": one.reason, "needs": one.needs} for one in reasons]
        emit_pretty({"first": first.name, "second": second.name, "differences": differences, "rules": rules})
        return
    _print(("death", first.name, second.name), [(row.death, str(row.first), str(row.second)) for row in rows])
    if reasons:
        console().print()
        _print(("rule", "reason", "evidence it needs"), [(one.name, one.reason, one.needs) for one in reasons])


def _print(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(escape(heading), overflow="fold")
    for row in rows:
        made.add_row(*map(escape, row))
    console().print(made)
