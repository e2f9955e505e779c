"""crash-harness experiment: many trials, a rate with its interval, and advice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.markup import escape

from harness.cli.options import COUNT, JOBS, common, emit_pretty, host_option, limit_options
from harness.cli.order import NO_HISTORY, OLD_HISTORY
from harness.dialects.custom import opened_all
from harness.exceptions import InvalidInputError
from harness.experiments.advice import TARGET
from harness.experiments.conduct import INTERRUPTED, Progress, conduct, resume
from harness.experiments.findings import differ, find
from harness.experiments.sequential import SequentialTest
from harness.experiments.stopping import Stopping
from harness.experiments.variant import Asked, Experiment, plan
from harness.journal import History
from harness.machine import environment
from harness.report.experiment import finding_lines, progress_line
from harness.report.terminal import console, progress
from harness.scenarios.select import select
from harness.supervisor import Limits

if TYPE_CHECKING:
    from harness.evidence import Host, Start
    from harness.supervisor.limits import MemoryBy

DEFAULT_TRIALS = 200
EXIT_INTERRUPTED = 130
COMMAND = "harness.command"
PROPER = click.FloatRange(0, 1, min_open=True, max_open=True)


class WithCommand(click.Command):
    """A command whose arguments end at "--"; what follows is a user's own command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the user's command aside."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[COMMAND] = args[:at], tuple(args[at + 1 :])
        return super().parse_args(ctx, args)


def _rates(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        p0, p1 = map(float, value.split(":"))
    except ValueError as error:
        raise click.BadParameter(f"expected P0:P1, not {value!r}", param=parameter) from error
    return p0, p1


@click.command(
    cls=WithCommand,
    epilog="Example: crash-harness experiment 'native-addon-race[wild]' --width .05 --vs start=fresh",
)
@click.argument("scenario", nargs=-1)
@click.option("--trials", type=COUNT, help=f"Stop after so many of each variant [{DEFAULT_TRIALS}].")
@click.option("--width", type=click.FloatRange(0, 0.5, min_open=True), help="Stop when half the 95 % interval is this.")
@click.option("--sprt", callback=_rates, metavar="P0:P1", help="Stop when one failure rate is decided for.")
@click.option("--alpha", type=PROPER, default=0.05, show_default=True, help="How often --sprt may err where P0 holds.")
@click.option("--beta", type=PROPER, default=0.05, show_default=True, help="How often --sprt may err where P1 holds.")
@click.option("--time", "time_s", type=click.FloatRange(0, min_open=True), help="Stop after so many seconds.")
@click.option(
    "--target",
    type=PROPER,
    default=TARGET,
    show_default=True,
    help="What may be left of P(all attempts fail) in the advice.",
)
@click.option(
    "--vs",
    metavar="CHANGE",
    help="Compare, interleaved: KEY=VALUE,… (start, host, dialect, dose, a parameter), or a command.",
)
@click.option(
    "--start",
    type=click.Choice(["auto", "fresh", "warm"]),
    default="auto",
    show_default=True,
    help="Each victim a new process image, or a fork of one; auto is warm where the scenario allows it.",
)
@host_option
@click.option("--history", type=click.Path(path_type=Path), help="Journal the trials in this new file.")
@click.option(
    "--resume", "old", type=click.Path(path_type=Path), help="Go on where the experiment of this history was ended."
)
@click.option("--jobs", type=JOBS, help="Groups at a time; 1 where the machine's load matters.")
@limit_options
@common
@click.pass_context
def experiment(
    context: click.Context,
    scenario: tuple[str, ...],
    trials: int | None,
    width: float | None,
    sprt: tuple[float, float] | None,
    alpha: float,
    beta: float,
    time_s: float | None,
    target: float,
    vs: str | None,
    start: str,
    host: Host,
    history: Path | None,
    old: Path | None,
    jobs: int | None,
    timeout: float | None,
    memory: int | None,
    memory_by: MemoryBy,
    processes: int | None,
    as_json: bool,
    dialect: str,
    seed: int | None,
) -> None:
    """Fire many trials and say how often they fail, how alike they are, and how many attempts that calls for.

    SCENARIO is as for run, a case as "scenario[case]"; or give a command of yours after "--". Nothing stops at the
    first success: only a run does.
    """
    command: tuple[str, ...] = context.meta.get(COMMAND, ())
    path: Path | None
    if old:
        experiments, path = _resumed(old, scenario, command), old
    else:
        if bool(scenario) == bool(command):
            raise InvalidInputError("expected SCENARIO, or a command after --")
        test = SequentialTest(*sprt, alpha, beta) if sprt else None
        if test:
            test.check()
        if not any((trials, width, test, time_s)):
            trials = DEFAULT_TRIALS
        asked = Asked(dialect, seed, host, _start(start), Limits(memory, memory_by, processes=processes), timeout, jobs)
        chosen = select(scenario, None) if scenario else []
        experiments, path = plan(chosen, command, asked, vs, Stopping(trials, width, test, time_s)), history
    context.exit(_conduct_all(experiments, path, target, new=old is None, as_json=as_json))


def _start(word: str) -> Start | None:
    return "warm" if word == "warm" else "fresh" if word == "fresh" else None


def _resumed(path: Path, *others: tuple[str, ...]) -> list[Experiment]:
    if any(others):
        raise InvalidInputError("--resume: what is tried, and when it stops, is the history's")
    if not path.exists():
        raise InvalidInputError(f"{path}: {NO_HISTORY}")
    with History(path) as book:
        found = [msgspec.convert(event.body, Experiment) for event in book.events("experiment")]
    if not found:
        raise InvalidInputError(f"{path}: no history of an experiment")
    return found


def _conduct_all(experiments: list[Experiment], path: Path | None, target: float, *, new: bool, as_json: bool) -> int:
    if path is None:
        return _conduct_each(experiments, None, target, as_json=as_json)
    if new and path.exists():
        raise InvalidInputError(f"{path}: {OLD_HISTORY}")
    with History(path) as book:
        if new:
            book.write("header", body={"environment": environment()})
            for one in experiments:
                book.write("experiment", one.title, body=one)
        return _conduct_each(experiments, book, target, as_json=as_json)


def _conduct_each(experiments: list[Experiment], book: History | None, target: float, *, as_json: bool) -> int:
    out, answers, interrupted = console(stderr=as_json), [], False
    for one in experiments:
        reached = _conduct(one, book)
        interrupted = reached.ended == INTERRUPTED
        findings = [find(name, tally, target) for name, tally in reached.tallies.items() if tally.trials]
        difference = differ([(findings[0], findings[1], reached.pairing)])[0] if len(findings) > 1 else None
        answers.append(
            {
                "title": one.title,
                "ended": reached.ended,
                "elapsed_s": reached.elapsed_s,
                "findings": findings,
                "difference": difference,
            }
        )
        for line in finding_lines(one, reached, findings, difference):
            out.print(escape(line), soft_wrap=True)
        if interrupted:
            break
    if as_json:
        emit_pretty({"interrupted": interrupted, "experiments": answers})
    return EXIT_INTERRUPTED if interrupted else 0


def _conduct(one: Experiment, book: History | None) -> Progress:
    """Begin, or go on where the history ends; an experiment that had ended is only told again."""
    names = {variant.name for variant in one.variants}
    reached = Progress.begin(one)
    if book:
        groups = (group for group in book.groups() if group[0].variant in names)
        reached = resume(one, groups, book.elapsed_s())
    leading = reached.tallies[one.variants[0].name]
    reached.ended = (reached.is_level and one.stopping.reason(leading, reached.elapsed_s)) or ""
    if not reached.ended:
        _fire(one, reached, book)
    for tally in reached.tallies.values():
        tally.close()
    return reached


def _fire(one: Experiment, reached: Progress, book: History | None) -> None:
    with progress(console(stderr=True)) as bar:
        most = one.stopping.most_trials()
        task = bar.add_task(escape(one.title), total=most)
        leading, shown_s = reached.tallies[one.variants[0].name], 0.0

        def observe(now: Progress) -> None:
            nonlocal shown_s
            if time.monotonic() - shown_s > 0.2:  # noqa: PLR2004 -- seconds; a person reads no faster
                shown_s = time.monotonic()
                bar.update(task, completed=leading.trials, description=progress_line(one, now))

        with opened_all(variant.dialect for variant in one.variants) as dialects:
            conduct(one, reached, book, observe, dialects)
    if book and reached.ended:
        book.write("concluded" if reached.ended != INTERRUPTED else "interrupted", one.title, body=reached.ended)
