"""crash-harness export: a history as JSON lines."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from harness.cli.options import emit
from harness.exceptions import InvalidInputError
from harness.journal import History


@click.command(epilog="Example: crash-harness export runs.sqlite > runs.jsonl")
@click.argument("history", type=click.Path(path_type=Path))
def export(history: Path) -> None:
    """Write HISTORY, one JSON object a line: its events as they were journalled, then its trials."""
    if not history.exists():
        raise InvalidInputError(f"{history}: there is no such history")
    with History(history) as book:
        for event in book.events():
            emit(event)
        for group in book.groups():
            for trial in group:
                emit({"kind": "trial", **msgspec.structs.asdict(trial)})
