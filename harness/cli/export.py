"""crash-harness export: a history as JSON lines."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.output import emit
from harness.journal import read


@click.command(epilog="Example: crash-harness export runs.sqlite > runs.jsonl")
@click.argument("history", type=click.Path(path_type=Path))
def export(history: Path) -> None:
    """Write HISTORY, one JSON object a line: its events as they were journalled."""
    with read(history) as reading:
        for event in reading.events():
            emit(event)
