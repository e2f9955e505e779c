"""The options that say how often a job is tried: the words of harness.Policy, on the command line."""

from __future__ import annotations

from typing import Any

import click
from msgspec import UNSET

from harness.cli.options.common import options
from harness.cli.options.word import Word
from harness.engine.policy import Policy, check_retry
from harness.exceptions import InvalidInputError, shown
from harness.wire import javascript
from harness.wire.policy import PRESETS


def policy_of(max_attempts: Any, retry_config: Any, machine: str) -> Policy:
    """Make the policy of what was said; an option that was left out is UNSET, and Policy fills it in."""
    return Policy(max_attempts, retry_config, machine)


def _attempts(_: click.Context, parameter: click.Parameter, value: int | None) -> object:
    if value is None:
        return UNSET
    try:
        return Policy(value).max_attempts
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _config(_: click.Context, parameter: click.Parameter, value: str | None) -> object:
    """Read JSON; null is said on purpose: no locked config."""
    if value is None:
        return UNSET
    try:
        config = javascript.read(value.encode())
        if config is not None:
            check_retry(config)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), param=parameter) from error
    except ValueError as error:
        said = f'expected JSON like {{"maxAttempts": 3}}, not {shown(value)}: {error}'
        raise click.BadParameter(said, param=parameter) from error
    return config


OPTIONS = (
    click.option("--max-attempts", type=int, callback=_attempts, help="Alone, it is a policy with the default delays."),
    click.option(
        "--retry-config", callback=_config, metavar="JSON", help='Upstream\'s: {"maxAttempts": 3, "factor": 2, …}.'
    ),
    click.option(
        "--machine",
        type=Word(list(PRESETS), "policy.machine"),
        default="small-1x",
        show_default=True,
        help="Upstream's machine that --memory is meant for; a retry may ask for a larger one.",
    ),
)
policy_options = options(OPTIONS)
