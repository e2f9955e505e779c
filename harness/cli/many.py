"""Many commands in one campaign: from a file, or from what a command lists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click

from harness.cli.listing import lines_of
from harness.cli.options.common import options
from harness.engine.durable import PYTEST
from harness.exceptions import InvalidInputError
from harness.journal import Kind, read
from harness.reading import read_file

HOLE: Final = "{}"
SESSION: Final = re.compile(r" #\d+$")  # of a test that has crashed in more than one session

OPTIONS = (
    click.option(
        "--commands",
        "listed",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Try each line of this file, a command as a shell would split it; they are ranked in the end.",
    ),
    click.option(
        "--each",
        metavar="LISTING",
        help="Run this command, and try the one after -- once for each line with '::' that it writes, in place of {}.",
    ),
    click.option(
        "--crash-history",
        "crashes",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Try the command after -- once for each test that this history of `pytest --crash-guard` has a crash of,"
        " in place of {}.",
    ),
)
many_options = options(OPTIONS)


def commands_of(
    listed: Path | None, each: str | None, crashes: Path | None, command: tuple[str, ...]
) -> list[tuple[str, ...]]:
    """Return the commands to be tried.

    Raises InvalidInputError for what is not a command, InfraError if none can be listed.
    """
    if listed and (each is not None or crashes or command):
        raise InvalidInputError("--commands: the commands are those of the file; leave --each and the one after -- out")
    if each is not None and crashes:
        raise InvalidInputError("--each, --crash-history: each says which tests; give one of them")
    if listed:
        return _of_file(listed)
    if crashes:
        return _filled("--crash-history", crashed_tests(crashes), command)
    if each is not None:
        return _filled("--each", lines_of(each), command)
    return [command] if command else []


def crashed_tests(path: Path) -> list[str]:
    """Return the tests of a history of `pytest --crash-guard`, in the order of their first crash."""
    with read(path) as reading:
        job = reading.job
        if job is None or job.kind != PYTEST:
            raise InvalidInputError(f"--crash-history: {path}: expected a history of pytest --crash-guard")
        titles = [SESSION.sub("", event.title) for event in reading.events(Kind.DECIDED)]
    if not titles:
        raise InvalidInputError(f"--crash-history: {path}: there is no crash in it")
    return list(dict.fromkeys(titles))


def _of_file(path: Path) -> list[tuple[str, ...]]:
    """Read one command a line; skip empty lines and those that begin with #."""
    found = []
    for number, line in enumerate(read_file(path, pipes=True).splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise InvalidInputError(f"{path}, line {number}: {error}") from error
        found += [tuple(words)] if words else []
    if not found:
        raise InvalidInputError(f"{path}: there is no command in it")
    return found


def _filled(option: str, lines: list[str], command: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Put each line in the place of {}."""
    if not any(HOLE in word for word in command):
        raise InvalidInputError(f"{option}: expected a command with {HOLE} after --")
    return [tuple(word.replace(HOLE, line) for word in command) for line in lines]
