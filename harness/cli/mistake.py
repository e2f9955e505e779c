"""What is wrong with a command line, in one line: which option, what was expected, what was near."""

from __future__ import annotations

from typing import Final

import click

from harness.exceptions import near

PLAINER: Final = {"valid integer range": "whole number", "valid float range": "number", "valid integer": "whole number"}


def worded(error: click.ClickException) -> str:
    """Word a mistake as Python does: "--mode: expected one of once, both, not 'onse'; did you mean 'once'?"."""
    if isinstance(error, click.NoSuchOption):
        return f"there is no option {error.option_name!r}{_nearest(error)}{_help(error)}"
    if isinstance(error, click.MissingParameter):
        return f"{error.format_message().rstrip('.')}{_help(error)}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{name_of(error.param)}: {_value(error.param, error.message)}"
    return error.format_message().rstrip(".").replace("\n", " ")


def _nearest(error: click.NoSuchOption) -> str:
    known = [] if error.ctx is None else [name for one in error.ctx.command.params for name in one.opts]
    return near(error.option_name, known)


def _help(error: click.UsageError) -> str:
    return "" if error.ctx is None else f"; see {error.ctx.command_path} --help"


def name_of(parameter: click.Parameter) -> str:
    """As it stands on the command line."""
    return parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.human_readable_name


def _value(parameter: click.Parameter, message: str) -> str:
    """Without the name that the API has for the same, and in plain words."""
    for said, plain in PLAINER.items():
        message = message.replace(said, plain)
    return message.rstrip(".").removeprefix(f"{name_of(parameter).lstrip('-')}: ").replace("\n", " ")
