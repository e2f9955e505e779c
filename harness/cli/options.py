"""Options that every command takes, and how JSON goes out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from click.core import ParameterSource

from harness.dialects import BUILT_IN, DEFAULT, lineage, parted, spelled
from harness.exceptions import InvalidInputError
from harness.supervisor import check_timeout, parse_bytes
from harness.wire import javascript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Function = TypeVar("Function", bound="Callable[..., Any]")


def json_option(command: Function) -> Function:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable on stdout, words on stderr.")(command)


def common(command: Function) -> Function:
    """Add --json, --dialect with --classifier, and --seed."""
    command = dialect_option(json_option(command))
    return click.option("--seed", type=int, help="Replaces the seeds of scenarios; draws delays.")(command)


JUDGE = "harness.judge"


def dialect_option(command: Function) -> Function:
    """Add --dialect and --classifier. The command gets one name, for `harness.dialects.custom.opened`."""
    command = click.option(
        "--classifier",
        metavar="SPEC",
        is_eager=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.__setitem__(JUDGE, value),
        help="Judge by your own: module:function, or 'cmd:PROGRAM' that answers the classify and decide lines."
        " --dialect is what it is like: what scenarios expect is that one's.",
    )(command)
    return click.option(
        "--dialect",
        metavar="NAME",
        default=DEFAULT,
        show_default=True,
        callback=_dialect,
        help=f"Classification rules and retry table: {', '.join(BUILT_IN)}.",
    )(command)


def _dialect(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        judge, like = parted(value)
    except InvalidInputError as error:
        raise click.BadParameter(str(error).removeprefix("dialect: "), param=parameter) from error
    given = context.meta.get(JUDGE)
    if given and judge:
        raise click.BadParameter("names a judge already; --classifier is another", param=parameter)
    return spelled(given or judge, like)


def dialect_or(context: click.Context, dialect: str, kept: str) -> str:
    """Put the dialect that was `kept` in a file in the place of what the command line did not say."""
    judge, _ = parted(dialect)
    if context.get_parameter_source("dialect") is not ParameterSource.DEFAULT:
        return dialect
    return spelled(judge, next(lineage(kept))) if judge else kept


def refuse_beside(context: click.Context, what: str, names: Iterable[str]) -> None:
    """Raise InvalidInputError where one of these was given on the command line: a history says what they are."""
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InvalidInputError(f"{what}: {name} is that of the history: leave it out")


def emit(value: object) -> None:
    """Write one JSON document and a newline to stdout, at once."""
    sys.stdout.buffer.write(javascript.write(value) + b"\n")
    sys.stdout.buffer.flush()


def emit_pretty(value: object) -> None:
    """Write the same, indented, for documents that a person may read."""
    sys.stdout.buffer.write(msgspec.json.format(javascript.write(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def size(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Read an option as a size in bytes."""
    try:
        return None if value is None else parse_bytes(value)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def seconds(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Read an option as a time in seconds."""
    try:
        check_timeout(value)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error
    return value
