"""The options that bound an attempt: the words of harness.Limits, on the command line."""

from __future__ import annotations

import re
from typing import Any, get_args

import click

from harness.cli.options.common import options
from harness.cli.options.word import Word
from harness.exceptions import InvalidInputError
from harness.supervisor import Limits, check_timeout, parse_bytes
from harness.supervisor.limits import ROWS, MemoryBy, check_count


def limits_of(given: dict[str, Any]) -> Limits:
    """Make the limits of what was said. Raises InvalidInputError."""
    if given["memory"] is None and given["memory_by"] != "auto":
        raise InvalidInputError("--memory-by: expected --memory beside it: how much")
    return Limits(given["memory"], given["memory_by"], **{name: given[name] for name in ROWS})


def _size(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Read an option as a size in bytes."""
    try:
        return None if value is None else parse_bytes(value)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _seconds(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Read an option as a time in seconds."""
    try:
        check_timeout(value)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error
    return value


def _count(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Read an option as one of the limits that are a number."""
    name = parameter.name or ""
    count = int(value) if value and re.fullmatch(r"-?[0-9]{1,20}", value) else value
    try:
        check_count(f"limits.{name}", ROWS[name].unit, count)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error
    return int(count) if count is not None else None


LIMITS = (
    click.option("--timeout", type=float, callback=_seconds, help="Seconds an attempt may take."),
    click.option(
        "--memory",
        callback=_size,
        help="Memory an attempt may use: bytes, or 64MiB. A larger machine has more, in proportion.",
    ),
    click.option(
        "--memory-by",
        type=Word(get_args(MemoryBy), "limits.memory_by"),
        default="auto",
        show_default=True,
        help="What enforces it: malloc is refused, or the kernel kills; auto is the cgroup where there is one.",
    ),
    *(
        click.option(f"--{name.replace('_', '-')}", name, metavar="N", callback=_count, help=row.meaning)
        for name, row in ROWS.items()
    ),
)
limit_options = options(LIMITS)
