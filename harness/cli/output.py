"""How words and JSON go out: a person's words harmless to a terminal, JSON alone on its line."""

from __future__ import annotations

import sys

import click

from harness.report.words import lines_of
from harness.wire import javascript

MOST_SHOWN = 600
"""Characters of an error that are shown, half of them from its beginning: what a user wrote may be megabytes."""


def write_error(line: str) -> None:
    """Write an error to stderr, with its middle left out where it is overlong."""
    half = MOST_SHOWN // 2
    write(line if len(line) <= MOST_SHOWN else f"{line[:half]} … {line[-half:]}", err=True)


def write(text: str, *, err: bool = False, end: bool = True) -> None:
    """Write lines for a person to stdout or stderr; control characters in them are shown and not obeyed."""
    click.echo(lines_of(text), err=err, nl=end)  # noqa: TID251 -- here, where they are made harmless


def emit(value: object) -> None:
    """Write one JSON document and a newline to stdout, at once."""
    _write(javascript.write(value))


def emit_pretty(value: object) -> None:
    """Write the same, indented, for documents that a person may read."""
    _write(javascript.write_indented(value))


def _write(document: bytes) -> None:
    if sys.stdout is not None:
        sys.stdout.buffer.write(document + b"\n")
        sys.stdout.buffer.flush()
