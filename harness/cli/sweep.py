"""crash-harness sweep: refuse the nth allocation of the user's own code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from harness.cli import refusing
from harness.cli.options import emit, json_option, write
from harness.exceptions import InfraError, InvalidInputError
from harness.refusals import conduct, subject
from harness.refusals.conduct import Tell
from harness.refusals.outcome import infra, report
from harness.refusals.verdicts import GOOD
from harness.report.sweep import finding_line, lines, record

if TYPE_CHECKING:
    from harness.refusals.outcome import Report
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
@refusing.options(refusing.WHAT, refusing.WHERE, refusing.JUDGED, refusing.BOUNDS)
@json_option
@click.pass_context
def sweep(context: click.Context, /, words: tuple[str, ...], as_json: bool, strict: bool, **given: Any) -> None:
    """Refuse what your own code asks for, one call at a time, and see whether it survives.

    A function is called in forks of a process that has loaded it; a command is started each time. Each refusal is
    judged by what the call does, and by the next call in the same process. Exit status 0 when every refusal was
    handled, 1 when one was not, 3 when there was nothing to sweep, 4 when a site could not be hit.
    """
    plan = refusing.plan_of(given)
    swept = _subject(words, plan, given, is_command=context.meta["is_command"])
    began = time.monotonic()
    told = _sweep(swept, plan, [*refusing.again(given), *_tail(swept)], strict=strict)
    told = msgspec.structs.replace(told, duration_s=time.monotonic() - began)
    if as_json:
        emit(record(told))
    write("\n".join(lines(told)), err=as_json)
    context.exit(INTERRUPTED if told.interrupted else CODES[told.verdict])


def _subject(words: tuple[str, ...], plan: Plan, given: dict[str, Any], *, is_command: bool) -> Subject:
    if is_command:
        return subject.command(words, plan)
    if len(words) > 1 or plan.window:
        raise InvalidInputError(f"{' '.join(words)}: expected one module:function, or '--' and a command")
    return subject.function(words[0], refusing.call_of(given))


def _tail(swept: Subject) -> list[str]:
    return [swept.name] if swept.call else ["--", *swept.words]


def _sweep(swept: Subject, plan: Plan, command: list[str], *, strict: bool) -> Report:
    try:
        shown = conduct.sweep(swept.host(plan), plan, Teller())
    except InfraError as error:
        return infra(swept.name, error)
    return report(swept.name, shown, command, strict=strict)
