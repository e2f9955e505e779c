"""crash-harness exec: any command, under the supervisor and the engine."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.api import live
from harness.cli.kept import open_kept, taken_up
from harness.cli.options.common import common, schedule_option
from harness.cli.options.limits import limit_options, limits_of
from harness.cli.options.policy import policy_of, policy_options
from harness.cli.options.surroundings import containment_option, is_fed, stdin_option, witnesses
from harness.cli.output import emit
from harness.cli.relay import Relay
from harness.cli.underway import under_way
from harness.dialects.custom import opened
from harness.engine.executor import Bounds, OfSchedule, OfVictim
from harness.engine.lifecycle import SUCCEEDED
from harness.engine.wallclock import WallClock
from harness.exceptions import InvalidInputError
from harness.report.shapes import attempts_shape
from harness.report.words import attempt_lines, ending, interrupted_line
from harness.supervisor import Command, supervise
from harness.supervisor.schedule import why_not

if TYPE_CHECKING:
    from harness.engine.executor import Executor
    from harness.engine.loop import Attempt


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="Example: crash-harness exec --max-attempts 3 --timeout 60 --memory 512MiB -- python job.py",
)
@click.argument("command", nargs=-1, required=True)
@limit_options
@policy_options
@witnesses
@click.option(
    "--history",
    type=click.Path(path_type=Path),
    help="Commit each step to this file; with the same command again, go on where it was ended.",
)
@click.option("--backtrace", is_flag=True, help="Show the native backtrace of a crash, by gdb from its core.")
@schedule_option
@containment_option
@stdin_option
@click.option("--wait/--no-wait", default=False, help="Sleep the delays between attempts; else they are only recorded.")
@common
@click.pass_context
def exec_command(
    context: click.Context,
    /,
    command: tuple[str, ...],
    history: Path | None,
    as_json: bool,
    dialect: str,
    seed: int | None,
    **given: Any,
) -> None:
    """Run COMMAND under supervision, classify how it ends, and retry it as the policy says.

    COMMAND has what it has without us: descriptors, ignored signals, the terminal; docs/transparency.md names the
    exceptions. Exit status 0 when it succeeded in the end, 1 when not, 130 when Ctrl-C has ended it.
    """
    policy = policy_of(given["max_attempts"], given["retry_config"], given["machine"])
    relay, stdin = Relay(as_json=as_json), given["stdin"]
    way = {name: given[name] for name in ("backtrace", "containment", "stdin")}
    watched = partial(supervise, relay=relay, observe=given["witnesses"], in_terminal=True, **way)
    bounds = Bounds(limits_of(given), given["timeout"], policy.machine, watched)
    with ExitStack() as stack:
        kept = stack.enter_context(open_kept(history, context.params, policy, bounds)) if history else None
        attempts = taken_up(kept, relay) if kept else []

        def observe(attempt: Attempt) -> None:
            attempts.append(attempt)
            relay.say("\n".join(attempt_lines(attempt)))

        chosen = stack.enter_context(opened(dialect))
        shown = under_way(_executor(command, given["schedule"]), relay, is_quiet=stdin == "inherit")
        clock, executor = WallClock(waits=given["wait"]), stack.enter_context(shown)
        try:
            finished = live(executor, policy, bounds, chosen, seed or 0, clock=clock, observe=observe, kept=kept)
        except KeyboardInterrupt:
            if as_json:
                emit(attempts_shape(attempts, None, interrupted=True))
            relay.say(interrupted_line(attempts, is_kept=kept is not None))
            raise
    if as_json:
        emit(attempts_shape(finished.attempts, finished.status, finished.error))
    relay.say(ending(finished, dialect))
    _note_fed(relay, stdin)
    context.exit(0 if finished.status == SUCCEEDED else 1)


def _note_fed(relay: Relay, stdin: str) -> None:
    if stdin == "null" and is_fed():
        relay.say("note: what was piped into exec did not reach COMMAND; --stdin inherit hands it on")


def _executor(command: tuple[str, ...], schedule: int | None) -> Executor:
    """Raises InvalidInputError for a schedule of what no library can be brought into."""
    plain = OfVictim(Command(command))
    if schedule is None:
        return plain
    if reason := why_not(command[0], os.environ):
        raise InvalidInputError(f"--schedule: {reason}")
    return OfSchedule(plain, schedule)
