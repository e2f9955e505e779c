"""Options that several commands have, each command those that it uses; and how JSON goes out."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
import msgspec
from click.core import ParameterSource

from harness.cli.word import Word
from harness.dialects import BUILT_IN, DEFAULT, lineage, parted, spelled
from harness.evidence import Host
from harness.exceptions import InvalidInputError
from harness.report.words import lines_of
from harness.supervisor import check_timeout, parse_bytes
from harness.supervisor.limits import MemoryBy
from harness.wire import javascript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Function = TypeVar("Function", bound="Callable[..., Any]")


SEED = click.IntRange(-(2**63), 2**63 - 1)
COUNT = click.IntRange(1, 2**53)
JOBS = click.IntRange(1, 1000)
JUDGE = "harness.judge"


def json_option(command: Function) -> Function:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable on stdout, words on stderr.")(command)


def seed_option(command: Function) -> Function:
    """Add --seed."""
    return click.option("--seed", type=SEED, help="Replaces the seeds of scenarios; draws delays.")(command)


def common(command: Function) -> Function:
    """Add --json, --dialect with --classifier, and --seed."""
    return seed_option(dialect_option(json_option(command)))


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


OF_HISTORY = "is that of the history"


def refuse_beside(context: click.Context, what: str, names: Iterable[str], why: str) -> None:
    """Raise InvalidInputError, which says why, where one of these was given on the command line."""
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InvalidInputError(f"{what}: {name} {why}: leave it out")


def check_named_again(context: click.Context, history: Path, kept: Iterable[str]) -> None:
    """Raise InvalidInputError for a dialect that is not the history's, or is code that only the history names.

    The file may come from somebody else: to go on with it must not run what it says, but what its user says.
    """
    names, given = list(kept), context.params["dialect"]
    is_given = context.meta.get(JUDGE) or context.get_parameter_source("dialect") is ParameterSource.COMMANDLINE
    if is_given and given not in names:
        raise InvalidInputError(f"--resume: dialect {OF_HISTORY}, {names[0]!r}: leave it out, or say the same")
    for name in names:
        code, like = parted(name)
        if code and not (is_given and name == given):
            words = shlex.join(["--classifier", code, "--dialect", like])
            raise InvalidInputError(f"{history}: its judge is code, to be run only if you say so again: {words}")


def host_option(command: Function) -> Function:
    """Add --host."""
    return click.option(
        "--host",
        type=click.Choice(get_args(Host)),
        default="python",
        show_default=True,
        help="What the victim is: an interpreter that loads the faults, or a program in C alone.",
    )(command)


def limit_options(command: Function) -> Function:
    """Add what bounds an attempt: --timeout, --memory, --memory-by, --processes."""
    for option in reversed(LIMITS):
        command = option(command)
    return command


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
    click.option("--processes", type=click.IntRange(1), help="Processes and threads an attempt may have at a time."),
)


def write(text: str, *, err: bool = False, end: bool = True) -> None:
    """Write lines for a person to stdout or stderr; control characters in them are shown and not obeyed."""
    click.echo(lines_of(text), err=err, nl=end)  # noqa: TID251 -- here, where they are made harmless


def emit(value: object) -> None:
    """Write one JSON document and a newline to stdout, at once."""
    _write(javascript.write(value))


def emit_pretty(value: object) -> None:
    """Write the same, indented, for documents that a person may read."""
    _write(msgspec.json.format(javascript.write(value), indent=2))


def _write(document: bytes) -> None:
    if sys.stdout is not None:
        sys.stdout.buffer.write(document + b"\n")
        sys.stdout.buffer.flush()
