"""crash-harness sweep: refuse the nth allocation of the user's own code."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click
import msgspec

from harness.cli import sweep_asked
from harness.cli.options.behind import COMMAND, WithCommand
from harness.cli.options.common import OF_HISTORY, json_option, options, refuse_beside
from harness.cli.options.resuming import check_command
from harness.cli.options.sweep import GROUPS
from harness.cli.output import emit
from harness.cli.report import of_formats, write_files
from harness.exceptions import InvalidInputError
from harness.gate import sweeping
from harness.refusals import conduct, kept, subject
from harness.refusals.conduct import Tell
from harness.refusals.outcome import command_line
from harness.refusals.verdicts import GOOD
from harness.report.reader import of_sweep
from harness.report.sweep import finding_line, lines, record
from harness.report.terminal import console, progress, say
from harness.scenarios.verdict import INTERRUPTED

if TYPE_CHECKING:
    from rich.progress import Progress

    from harness.journal import History
    from harness.refusals.kept import Asked
    from harness.refusals.outcome import Report
    from harness.refusals.refusal import Refusal
    from harness.report.terminal import Terminal

OF_FUNCTIONS = ("setup", "warmup", "then")
OF_THIS_SESSION = {"old", "as_json", "time_s", "jobs", "gdb", "html", "junit", "markdown", "history", "strict"} | {
    *("baseline", "accept", "because", "owner", "review", "words"),
}


class Teller(Tell):
    """Says each new finding as it comes, and shows how far the sweep is."""

    def __init__(self, out: Terminal, bar: Progress) -> None:
        self._out, self._bar, self._told = out, bar, set[tuple[object, ...]]()
        self._task = bar.add_task("refusing", total=None)

    def refused(self, refusal: Refusal, done: int, total: int) -> None:
        """Tell one refusal, if it is the first of its kind."""
        self._bar.update(self._task, completed=done, total=total)
        what = (refusal.verdict, refusal.signal, refusal.crash[:2])
        if refusal.verdict in GOOD or what in self._told:
            return
        self._told.add(what)
        say(self._out, f"{done} of {total}: {finding_line(refusal)}")


@click.command(
    "sweep",
    cls=WithCommand,
    epilog="Example: crash-harness sweep mymodule:load --in _mymodule     crash-harness sweep -- ./program input",
)
@click.argument("words", nargs=-1, metavar="MODULE:FUNCTION | -- CMD...")
@options(*GROUPS)
@of_formats
@json_option
@click.pass_context
def sweep(context: click.Context, /, words: tuple[str, ...], **given: Any) -> None:
    """Refuse what your own code asks for, one call at a time, and see whether it survives.

    A function is called in forks of a process that has loaded it; a command is started each time. Each refusal is
    judged by what the call does, and by the next call in the same process. Exit status 0 when every refusal was
    handled, 1 when one was not, 3 when there was nothing to sweep, 4 when a site could not be hit.
    """
    if not given["accept"]:
        refuse_beside(context, "without --accept", ("owner", "review"), "has no part in it")
    terms = sweep_asked.terms_of(given)
    with ExitStack() as stack:
        asked, history = _opened(context, words, given)
        if history:
            stack.enter_context(history)
        told = _swept(asked, terms, history)
    write_files(given, of_sweep(told))
    if given["as_json"]:
        emit(record(told))
    out = console(stderr=given["as_json"])
    debugged = conduct.debug(asked.subject().host(asked.plan), asked.plan) if given["gdb"] else ""
    for line in (*lines(told), *debugged.splitlines()):
        say(out, line)
    context.exit(INTERRUPTED if told.interrupted else of_sweep(told).exit_code)


def _opened(context: click.Context, words: tuple[str, ...], given: dict[str, Any]) -> tuple[Asked, History | None]:
    if given["old"]:
        refuse_beside(context, "--resume", set(context.params) - OF_THIS_SESSION, OF_HISTORY)
        if given["history"]:
            raise InvalidInputError("--history, --resume: expected one of them")
        history, asked = kept.go_on(given["old"])
        with ExitStack() as refused:
            refused.enter_context(history)
            check_command(given["old"], words or context.meta.get(COMMAND, ()), [asked.named])
            refused.pop_all()
        plan = msgspec.structs.replace(asked.plan, jobs=given["jobs"], time_s=given["time_s"])
        return msgspec.structs.replace(asked, plan=plan), history
    command = context.meta.get(COMMAND)
    if command:
        refuse_beside(context, "a command", OF_FUNCTIONS, "is of a function")
    if "files" not in given["refuse"]:
        refuse_beside(context, "without --refuse files", ("errors",), "has no part in it")
    asked = sweep_asked.asked_of(words, command, given)
    return asked, kept.begin(given["history"], asked) if given["history"] else None


def _swept(asked: Asked, terms: sweeping.Terms, history: History | None) -> Report:
    if history and (decided := kept.answer(history)):
        return sweeping.judge(decided, asked.plan, terms) if terms != sweeping.Terms() else decided
    one, out = subject.settled(asked.subject()), console(stderr=True)
    with progress(out) as bar:
        teller: Tell = Teller(out, bar)
        if history:
            teller = kept.Keeper(history, one.name, teller)
        told = sweeping.sweep(one, asked.plan, terms, command_line(asked.again), teller)
    if history and told.is_finished and not told.interrupted:
        kept.decide(history, told)
    return told
