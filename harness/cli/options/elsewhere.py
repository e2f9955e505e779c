"""The options that say on which workers a command's work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.cli.options.common import Function, options
from harness.exceptions import InvalidInputError
from harness.experiments.where import Keys, Where, read_where

if TYPE_CHECKING:
    from collections.abc import Callable


def on_options(what: str) -> Callable[[Function], Function]:
    """Add --on, whose help begins with `what` it does, and the files for a scheduler behind TLS."""
    file = click.Path(exists=True, dir_okay=False)
    return options(
        (
            click.option("--on", metavar="WHERE", help=f"{what}: local:N worker processes, or dask://HOST:PORT."),
            click.option("--tls-ca-file", type=file, help="For --on dask+tls://HOST:PORT: whom to trust (PEM)."),
            click.option("--tls-cert", type=file, help="Our certificate for it."),
            click.option(
                "--tls-key", type=file, help="The key of that. Without these, Dask's own configuration is used."
            ),
        )
    )


def where_of(given: dict[str, Any]) -> Where | None:
    """Read what was said; None for here. Raises InvalidInputError."""
    keys = Keys(*(given.pop(name) for name in ("tls_ca_file", "tls_cert", "tls_key")))
    on = given.pop("on")
    if on is None and keys:
        raise InvalidInputError("--tls-ca-file, --tls-cert, --tls-key: expected --on dask+tls://HOST:PORT beside them")
    return None if on is None else read_where(on, keys)
