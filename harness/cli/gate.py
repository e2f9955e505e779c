"""crash-harness gate: a baseline for CI."""

from __future__ import annotations

import click

from harness.cli.gate_check import check_file
from harness.cli.gate_record import record


@click.group("gate")
def gate() -> None:
    """Hold classification, decisions and outcomes against a baseline file."""


gate.add_command(record)
gate.add_command(check_file)
