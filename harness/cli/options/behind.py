"""Commands whose arguments end at "--", behind which a user's own stands; and exit codes for `git bisect run`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from harness.cli.mistake import worded
from harness.cli.output import write
from harness.exceptions import HarnessError, InfraError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND, BISECT = "harness.command", "harness.bisect"
BISECT_SKIPS, BISECT_STOPS = 125, 255
UNKNOWN = 4


class WithCommand(click.Command):
    """A command whose arguments end at "--"; what follows is a user's own command.

    Under --bisect its exit codes are those that `git bisect run` takes rightly, mistakes and failures of ours included.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the user's command aside."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[COMMAND] = args[:at], tuple(args[at + 1 :])
        ctx.meta[BISECT] = "--bisect" in args
        with _for_bisect(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run it."""
        with _for_bisect(ctx):
            return super().invoke(ctx)


@contextmanager
def _for_bisect(context: click.Context) -> Iterator[None]:
    """Let `git bisect run` skip a commit that can't be judged, and stop at a mistake in the command line."""
    try:
        yield
    except (click.UsageError, HarnessError) as error:
        if not context.meta[BISECT]:
            raise
        said = worded(error) if isinstance(error, click.UsageError) else error
        write(f"crash-harness: {said}", err=True)
        wrong = isinstance(error, click.UsageError | InvalidInputError)
        context.exit(BISECT_STOPS if wrong else BISECT_SKIPS)
    except click.exceptions.Exit as left:
        if not context.meta[BISECT] or left.exit_code not in (InfraError.exit_code, UNKNOWN):
            raise
        raise click.exceptions.Exit(BISECT_SKIPS) from left
