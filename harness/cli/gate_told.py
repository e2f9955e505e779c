"""What both gate commands say: their runs while they are lived, and their findings."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.cli.output import emit_pretty, write
from harness.report.gate import GateShown, finding_lines, summary
from harness.report.shapes import finding_shape
from harness.report.terminal import console, progress, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.gate.check import CaseFinding


@contextmanager
def runs_shown(what: str) -> Iterator[GateShown]:
    """Show the runs under way on a progress bar; print a line where Ctrl-C or SIGTERM ends them."""
    with progress(console(stderr=True)) as bar:
        seen = GateShown(bar, what)
        try:
            yield seen
        except KeyboardInterrupt:
            write(seen.interrupted(), err=True)
            raise


def tell(findings: list[CaseFinding], as_json: bool, **more: object) -> None:
    """Print the findings, and what more --json has."""
    if as_json:
        emit_pretty({**more, "findings": [finding_shape(one) for one in findings]})
    out = console(stderr=as_json)
    for one in findings:
        for line in finding_lines(one):
            say(out, line)
    out.print(f"\n{summary(findings)}")
