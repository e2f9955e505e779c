"""crash-harness exec: any command, under the supervisor and the engine."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.cli.options import common, emit, limit_options, say
from harness.engine.draw import draw
from harness.engine.lifecycle import SUCCEEDED
from harness.engine.loop import Attempt, Engine, Life, Policy, Run
from harness.journal import History
from harness.report.words import attempt_line, counted
from harness.supervisor import Command, Limits, supervise
from harness.wire.policy import DEFAULTS, PRESETS, memory_bytes, parse_policy, refuse_unknown

if TYPE_CHECKING:
    from harness.supervisor.limits import MemoryBy
    from harness.wire.codes import Dialect


LONGEST_SLEEP_S = 86400.0


class WallClock:
    """Real milliseconds since the epoch; waits only when it is told to."""

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits

    @property
    def now_ms(self) -> float:
        """Milliseconds since the epoch."""
        return float(time.time_ns() // 1_000_000)

    def wait_ms(self, delay_ms: float) -> None:
        """Sleep until the next attempt is due."""
        left_s = delay_ms / 1000 if self._waits else 0.0
        while left_s > 0:
            time.sleep(min(left_s, LONGEST_SLEEP_S))
            left_s -= LONGEST_SLEEP_S


def _json(_: click.Context, parameter: click.Parameter, value: str | None) -> object:
    if value is None:
        return None
    try:
        config = msgspec.json.decode(value)
        parse_policy(config)
        refuse_unknown(config)
    except (msgspec.DecodeError, ValueError) as error:
        raise click.BadParameter(str(error), param=parameter) from error
    return config


def policy_of(max_attempts: int | None, config: object, machine: str) -> Policy:
    """Fill in what was not said, as a task definition would.

    --max-attempts alone is a policy with that many attempts; --retry-config alone allows as many as it says itself.
    """
    if config is None:
        config = None if max_attempts is None else {"maxAttempts": max_attempts}
    elif max_attempts is None and isinstance(config, dict):
        max_attempts = config.get("maxAttempts", DEFAULTS.max_attempts)
    return Policy(max_attempts, config, machine)


def limits_on(machine: str, asked: str, limits: Limits) -> Limits:
    """What was asked for on one machine, in proportion on another."""
    if limits.memory_bytes is None:
        return limits
    share = memory_bytes(machine) / memory_bytes(asked)
    return msgspec.structs.replace(limits, memory_bytes=round(limits.memory_bytes * share))


class Relay:
    """Passes the command's output on; stdout is ours alone under --json. A stream that is closed gets nothing."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._line_is_open = False

    def __call__(self, number: int, chunk: bytes) -> None:
        """Write a chunk at once."""
        stream = sys.stdout if number == 1 and not self._as_json else sys.stderr
        if stream is None:
            return
        self._line_is_open = not chunk.endswith(b"\n")
        stream.buffer.write(chunk)
        stream.buffer.flush()

    def say(self, line: str) -> None:
        """Write a line of ours to stderr, on a line of its own."""
        say(f"\n{line}" if self._line_is_open else line, err=True)
        self._line_is_open = False


def indented(text: str | None) -> list[str]:
    """Lines of a backtrace below the attempt they belong to; a crash without one says why."""
    return [f"    {line}" for line in (text or "").splitlines()]


def record(run: Run) -> dict[str, object]:
    """Return a run for JSON; members without a value are null, so that the shape is always the same."""
    return {"status": run.status, "attempts": [_attempt(attempt) for attempt in run.attempts]}


def _attempt(attempt: Attempt) -> dict[str, object]:
    names = ("number", "machine", "evidence", "error", "enhanced", "rule", "cause", "decision")
    return {name: getattr(attempt, name) for name in names}


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="Example: crash-harness exec --max-attempts 3 --timeout 60 --memory 512MiB -- python job.py",
)
@click.argument("command", nargs=-1, required=True)
@limit_options
@click.option("--max-attempts", type=click.IntRange(0, 2**53), help="Alone, it is a policy with the default delays.")
@click.option("--retry-config", callback=_json, metavar="JSON", help='Upstream\'s: {"maxAttempts": 3, "factor": 2, …}.')
@click.option(
    "--machine",
    type=click.Choice(list(PRESETS)),
    default="small-1x",
    show_default=True,
    help="Upstream's machine that --memory is meant for; a retry may ask for a larger one.",
)
@click.option(
    "--black-box",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Preload a library that records a crash of COMMAND and counts refused allocations.",
)
@click.option(
    "--history",
    type=click.Path(path_type=Path),
    help="Commit each step to this file; with the same command again, go on where it was ended.",
)
@click.option("--backtrace", is_flag=True, help="Show the native backtrace of a crash, by gdb from its core.")
@click.option("--wait/--no-wait", default=False, help="Sleep the delays between attempts; else they are only recorded.")
@common
@click.pass_context
def exec_command(
    context: click.Context,
    command: tuple[str, ...],
    timeout: float | None,
    memory: int | None,
    memory_by: MemoryBy,
    processes: int | None,
    max_attempts: int | None,
    retry_config: object,
    machine: str,
    black_box: str,
    history: Path | None,
    backtrace: bool,
    wait: bool,
    as_json: bool,
    dialect: Dialect,
    seed: int | None,
) -> None:
    """Run COMMAND under supervision, classify how it ends, and retry it as the policy says.

    Its standard input is empty. Exit status 0 when it succeeded in the end, 1 when not.
    """
    limits, policy = Limits(memory, memory_by, processes=processes), policy_of(max_attempts, retry_config, machine)
    relay = Relay(as_json=as_json)

    def execute(_: int, on: str) -> Life:
        own = limits_on(on, machine, limits)
        box = black_box == "on"
        return Life(supervise(Command(command), own, timeout, relay=relay, black_box=box, backtrace=backtrace))

    def observe(attempt: Attempt) -> None:
        relay.say("\n".join([attempt_line(attempt), *indented(attempt.evidence.backtrace)]))

    with ExitStack() as stack:
        book = stack.enter_context(History(history)) if history else None
        title = shlex.join(command)
        steps = book.steps(title) if book else []
        draws = count(1 + len(steps))
        engine = Engine(policy, dialect, lambda: draw(seed or 0, next(draws), "delay"), WallClock(waits=wait))
        finished = engine.run(execute, observe, save=partial(book.save, title) if book else None, saved=steps)
    if as_json:
        emit(record(finished))
    say(f"{finished.status} after {counted(len(finished.attempts), 'attempt')} ({dialect})", err=True)
    context.exit(0 if finished.status == SUCCEEDED else 1)
