"""Options that every command takes, and how JSON goes out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from click.core import ParameterSource

from harness.exceptions import InvalidInputError
from harness.supervisor import parse_bytes
from harness.wire.codes import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Function = TypeVar("Function", bound="Callable[..., Any]")


def json_option(command: Function) -> Function:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable on stdout, words on stderr.")(command)


def common(command: Function) -> Function:
    """Add --json, --dialect and --seed."""
    command = json_option(command)
    command = click.option(
        "--dialect",
        type=click.Choice([dialect.value for dialect in Dialect]),
        default=Dialect.UPSTREAM_4_5.value,
        show_default=True,
        callback=lambda _, __, value: Dialect(value),
        help="Classification rules and retry table.",
    )(command)
    return click.option("--seed", type=int, help="Replaces the seeds of scenarios; draws delays.")(command)


def classifier(command: Function) -> Function:
    """Add --classifier."""
    return click.option(
        "--classifier",
        metavar="SPEC",
        help="Judge by your own: module:function, or 'cmd:PROGRAM' that answers the classify and decide lines.",
    )(command)


def refuse_beside(context: click.Context, what: str, names: Iterable[str]) -> None:
    """Raise InvalidInputError where one of these was given on the command line: a history says what they are."""
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InvalidInputError(f"{what}: {name} is that of the history: leave it out")


def emit(value: object) -> None:
    """Write one JSON document and a newline to stdout, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def emit_pretty(value: object) -> None:
    """Write the same, indented, for documents that a person may read."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def size(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Read an option as a size in bytes."""
    try:
        return None if value is None else parse_bytes(value)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error
