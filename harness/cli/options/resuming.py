"""What has to be said again when a history is gone on with."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from click.core import ParameterSource

from harness.cli.options.common import JUDGE, OF_HISTORY
from harness.dialects import parted
from harness.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import click


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


def check_command(history: Path, said: Sequence[str], kept: Iterable[Sequence[str]]) -> None:
    """Raise InvalidInputError for words that name another command or function than the history. No words are fine."""
    names = [shlex.join(words) for words in kept]
    if said and shlex.join(said) not in names:
        raise InvalidInputError(f"{history}: it is of {' and '.join(names) or 'a scenario'}, not of {shlex.join(said)}")
