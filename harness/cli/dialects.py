"""crash-harness dialects: which there are, and two of them beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.options.common import dialect_option, json_option
from harness.cli.output import emit_pretty, write
from harness.dialects import BUILT_IN, parted
from harness.dialects.compare import argued, compare
from harness.dialects.custom import opened_all
from harness.exceptions import InvalidInputError
from harness.report.dialects import PAGES
from harness.report.terminal import console, say, table

if TYPE_CHECKING:
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
    console().print(table(("dialect", "stands for", "like"), rows))


def _compare(first: Dialect, second: Dialect, as_json: bool) -> None:
    rows = [row for row in compare(first, second) if row.differs]
    reasons = argued(second)
    if as_json:
        differences = [{"death": one.death, "first": one.first, "second": one.second} for one in rows]
        rules = [{"rule": one.name, "reason": one.reason, "needs": one.needs} for one in reasons]
        emit_pretty({"first": first.name, "second": second.name, "differences": differences, "rules": rules})
        return
    out = console()
    if not rows:
        say(out, f"on every death that is compared, {second.name} does what {first.name} does")
        return
    out.print(table(("death", first.name, second.name), [(row.death, str(row.first), str(row.second)) for row in rows]))
    for one in reasons:
        say(out, "")
        say(out, f"{one.name}: {one.reason} It needs {one.needs}.")
