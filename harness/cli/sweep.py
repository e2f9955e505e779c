"""crash-harness sweep: refuse the nth allocation of the user's own code."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import emit
from harness.exceptions import InfraError, InvalidInputError
from harness.refusals import conduct, subject
from harness.refusals.outcome import Report, infra, report
from harness.refusals.server import Call
from harness.refusals.stacks import Rules
from harness.refusals.targets import ERRNOS, FAMILIES, MODES, Plan
from harness.refusals.verdicts import GOOD
from harness.report.sweep import finding_line, lines, record

CODES = {"PASS": 0, "FAIL": 1, "UNKNOWN": 4, "INFRA": 3}
INTERRUPTED = 130


class WithCommand(click.Command):
    """Remembers whether there was a '--': what follows is a command, and no function's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look before click takes it away."""
        ctx.meta["is_command"] = "--" in args
        return super().parse_args(ctx, args)


OPTIONS = (
    click.option("--in", "libraries", multiple=True, metavar="LIB", help="Only what LIB asks for, by a part of its file name; repeatable."),
    click.option("--also-interpreter", is_flag=True, help="Also what Python itself asks for."),
    click.option("--mode", type=click.Choice([*MODES, "both"]), default="both", show_default=True),
    click.option("--refuse", multiple=True, metavar="FAMILY", help="memory (the default), mmap, threads, fork, files; repeatable."),
    click.option("--errors", multiple=True, metavar="NAME", help="Of files: ENOSPC, EIO, EINTR, short; all by default."),
    click.option("--min-size", "least_bytes", type=click.IntRange(0), default=0, help="Leave smaller requests alone."),
    click.option("--shrinks", is_flag=True, help="Also a realloc that would fit where it is."),
    click.option("--dense", is_flag=True, help="Every call, instead of one for each site."),
    click.option("--depth", type=click.IntRange(1, 32), default=4, show_default=True, help="Frames that make a site."),
    click.option("--at", type=click.IntRange(1), help="The nth call alone."),
    click.option("--site", metavar="HASH[:K]", help="One site alone, its Kth call."),
    click.option("--window", type=click.Choice(["start", "main", "mark"]), help="Of a command; by default its mark if it makes one, else main."),
)


def _with_options(function: Any) -> Any:
    for option in reversed(OPTIONS):
        function = option(function)
    return function
