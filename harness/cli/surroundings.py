"""The options that say in what surroundings a user's command lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from harness.supervisor.ladder import Wanted
from harness.supervisor.process import Stdin

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")


def containment_option(command: Function) -> Function:
    """Add --containment."""
    return click.option(
        "--containment",
        type=click.Choice(get_args(Wanted)),
        default="auto",
        show_default=True,
        help="PID and mount namespaces of its own: where we may (auto), or else INFRA (namespace), or never (bare).",
    )(command)


def stdin_option(command: Function) -> Function:
    """Add --stdin."""
    return click.option(
        "--stdin",
        type=click.Choice(get_args(Stdin)),
        default="null",
        show_default=True,
        help="COMMAND's standard input: empty, or ours.",
    )(command)
