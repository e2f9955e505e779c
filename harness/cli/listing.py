"""What a command lists, for `experiment --each`."""

from __future__ import annotations

import shlex
from typing import Final

from harness.exceptions import InvalidInputError
from harness.supervisor import Command, supervise

MARK: Final = "::"
STDOUT: Final = 1


def lines_of(listing: str) -> list[str]:
    """Run the listing command, and return what it lists."""
    words, heard = _words(listing), list[bytes]()

    def relay(stream: int, chunk: bytes) -> None:
        if stream == STDOUT:
            heard.append(chunk)

    evidence = supervise(Command(tuple(words)), relay=relay, observe="off")
    lines = [line.strip() for line in b"".join(heard).decode(errors="surrogateescape").splitlines()]
    found = [line for line in lines if MARK in line]
    if not evidence.succeeded or not found:
        last = (evidence.stderr.strip() or evidence.stdout.strip() or "no output").splitlines()[-1]
        how = f"{evidence.termination}, {len(found)} lines with {MARK}"
        raise InvalidInputError(f"--each: {listing}: expected success and lines with {MARK}, not {how}: {last}")
    return found


def _words(listing: str) -> list[str]:
    try:
        words = shlex.split(listing)
    except ValueError as error:
        raise InvalidInputError(f"--each: {listing}: {error}") from error
    if not words:
        raise InvalidInputError("--each: expected a command that lists, and it is empty")
    return words
