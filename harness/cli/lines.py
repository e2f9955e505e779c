"""The lines of a filter's input, whatever that is: a file, a pipe, a device without end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from harness.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

MOST_BYTES = 64 << 20
"""Bytes of a line that is answered; a longer one is refused, and the next one is answered again."""

ENDLESS_BYTES = 1 << 28
"""Bytes after which a line is taken for one without end, as /dev/zero is."""


def source(context: click.Context, _: click.Parameter, value: str) -> IO[bytes]:
    """Open FILE, or take stdin for "-"."""
    if value == "-":
        if sys.stdin is None:
            raise InvalidInputError("stdin is closed")
        return sys.stdin.buffer
    try:
        return context.with_resource(Path(value).open("rb"))
    except OSError as error:
        raise InvalidInputError(f"{value}: {error.strerror}") from error


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines as they come; of one that is too long, its beginning. Raises InvalidInputError for a read error."""
    try:
        while line := file.readline(MOST_BYTES + 1):
            yield line
            rest, skipped = line, 0
            while len(rest) > MOST_BYTES and not rest.endswith(b"\n"):
                rest, skipped = file.readline(MOST_BYTES + 1), skipped + MOST_BYTES
                if skipped > ENDLESS_BYTES:
                    raise InvalidInputError(f"{file.name}: a line of more than {ENDLESS_BYTES >> 20} MiB")
    except OSError as error:
        raise InvalidInputError(f"{file.name}: {error.strerror}") from error


def bounded(line: bytes) -> bytes:
    """Return the line. Raises InvalidInputError if it is too long."""
    if len(line) > MOST_BYTES:
        raise InvalidInputError(f"a line of more than {MOST_BYTES >> 20} MiB")
    return line
