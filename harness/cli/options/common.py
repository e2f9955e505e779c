"""Options that several commands have, each command those that it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from click.core import ParameterSource

from harness.cli.mistake import name_of
from harness.cli.options.word import Word
from harness.dialects import BUILT_IN, DEFAULT, lineage, parted, spelled
from harness.evidence import Host
from harness.exceptions import InvalidInputError
from harness.supervisor.schedule import MOST_SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Function = TypeVar("Function", bound="Callable[..., Any]")

SEED = click.IntRange(-(2**63), 2**63 - 1)
COUNT = click.IntRange(1, 2**53)
JOBS = click.IntRange(1, 1000)
JUDGE = "harness.judge"
OF_HISTORY = "is that of the history"


def options(*groups: tuple[Any, ...]) -> Callable[[Function], Function]:
    """Add groups of options to a command, in their order."""

    def add(function: Function) -> Function:
        for option in reversed([one for group in groups for one in group]):
            function = option(function)
        return function

    return add


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
    if (given := context.meta.get(JUDGE)) == "":
        raise InvalidInputError("--classifier: expected module:function or cmd:PROGRAM, not ''")
    if given and judge:
        raise click.BadParameter("names a judge already; --classifier is another", param=parameter)
    return spelled(given or judge, like)


def dialect_or(context: click.Context, dialect: str, kept: str) -> str:
    """Put the dialect that was `kept` in a file in the place of what the command line did not say."""
    judge, _ = parted(dialect)
    if context.get_parameter_source("dialect") is not ParameterSource.DEFAULT:
        return dialect
    return spelled(judge, next(lineage(kept))) if judge else kept


def refuse_beside(context: click.Context, what: str, names: Collection[str], why: str) -> None:
    """Raise InvalidInputError, which says why, where one of these was given on the command line."""
    for one in context.command.params:
        if one.name in names and context.get_parameter_source(one.name) is ParameterSource.COMMANDLINE:
            raise InvalidInputError(f"{what}: {name_of(one)} {why}: leave it out")


def host_option(command: Function) -> Function:
    """Add --host."""
    return click.option(
        "--host",
        type=Word(get_args(Host), "host"),
        default="python",
        show_default=True,
        help="What the victim is: an interpreter that loads the faults, or a program in C alone.",
    )(command)


def schedule_option(command: Function) -> Function:
    """Add --schedule."""
    return click.option(
        "--schedule",
        type=click.IntRange(0, MOST_SEED),
        metavar="SEED",
        help="Delay the victim's threads where they synchronise, as SEED draws it, so that races strike more often.",
    )(command)
