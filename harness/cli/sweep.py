"""crash-harness sweep: refuse the nth allocation of the user's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.cli import refusing
from harness.cli.options import emit, json_option, write
from harness.exceptions import InvalidInputError
from harness.gate import sweeping
from harness.refusals import conduct, subject
from harness.refusals.conduct import Tell
from harness.refusals.outcome import command_line
from harness.refusals.verdicts import GOOD
from harness.report.sweep import finding_line, lines, record

if TYPE_CHECKING:
    from harness.refusals.refusal import Refusal
    from harness.refusals.subject import Subject
    from harness.refusals.targets import Plan

CODES = {"PASS": 0, "FAIL": 1, "INFRA": 3, "UNKNOWN": 4}
INTERRUPTED = 130


class WithCommand(click.Command):
    """Remembers whether there was a '--': what follows it is a command, and no function's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look before click takes it away."""
        ctx.meta["is_command"] = "--" in args
        return super().parse_args(ctx, args)


class Teller(Tell):
    """Says each new finding as it comes."""

    def __init__(self) -> None:
        self._told: set[tuple[object, ...]] = set()

    def refused(self, refusal: Refusal, done: int, total: int) -> None:
        """Tell one refusal, if it is the first of its kind."""
        what = (refusal.verdict, refusal.signal, refusal.crash[:2])
        if refusal.verdict in GOOD or what in self._told:
            return
        self._told.add(what)
        write(f"{done} of {total}: {finding_line(refusal)}", err=True)


@click.command(
    "sweep",
    cls=WithCommand,
    epilog="Example: crash-harness sweep mymodule:load --in _mymodule     crash-harness sweep -- ./program input",
)
@click.argument("words", nargs=-1, required=True, metavar="MODULE:FUNCTION | -- CMD...")
@refusing.options(refusing.WHAT, refusing.WHERE, refusing.JUDGED, refusing.KNOWN, refusing.BOUNDS)
@click.option("--gdb", is_flag=True, help="Of one refusal (--site or --at): what gdb says, in a process of its own.")
@json_option
@click.pass_context
def sweep(context: click.Context, /, words: tuple[str, ...], **given: Any) -> None:
    """Refuse what your own code asks for, one call at a time, and see whether it survives.

    A function is called in forks of a process that has loaded it; a command is started each time. Each refusal is
    judged by what the call does, and by the next call in the same process. Exit status 0 when every refusal was
    handled, 1 when one was not, 3 when there was nothing to sweep, 4 when a site could not be hit.
    """
    plan = refusing.plan_of(given)
    if given["gdb"] and not (plan.site or plan.at):
        raise InvalidInputError("--gdb: expected one refusal, by --site or --at; a finding's replay line has it")
    swept = _subject(words, plan, given, is_command=context.meta["is_command"])
    replay = [*refusing.again(given), *([swept.name] if swept.call else ["--", *swept.words])]
    told = sweeping.sweep(swept, plan, refusing.terms_of(given), command_line(replay), Teller())
    if given["as_json"]:
        emit(record(told))
    write("\n".join(lines(told)), err=given["as_json"])
    if given["gdb"]:
        write(conduct.debug(swept.host(plan), plan), err=given["as_json"])
    context.exit(INTERRUPTED if told.interrupted else CODES[told.verdict])


def _subject(words: tuple[str, ...], plan: Plan, given: dict[str, Any], *, is_command: bool) -> Subject:
    if is_command:
        return subject.command(words, plan)
    if len(words) > 1 or plan.window:
        raise InvalidInputError(f"{' '.join(words)}: expected one module:function, or '--' and a command")
    return subject.function(words[0], refusing.call_of(given, plan))
