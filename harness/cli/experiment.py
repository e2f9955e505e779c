"""crash-harness experiment: many trials, a rate with its interval, and advice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from harness.cli.behind import COMMAND, WithCommand
from harness.cli.options import (
    COUNT,
    JOBS,
    OF_HISTORY,
    check_named_again,
    common,
    emit_pretty,
    host_option,
    limit_options,
    refuse_beside,
)
from harness.cli.surroundings import containment_option
from harness.exceptions import InvalidInputError
from harness.experiments.advice import TARGET
from harness.experiments.conduct import INTERRUPTED, Conclusion, conduct_all
from harness.experiments.kept import open_history
from harness.experiments.sequential import SequentialTest
from harness.experiments.stopping import Stopping
from harness.experiments.variant import VariantOptions, plan
from harness.report.experiment import Shown, conclusion_lines
from harness.report.shapes import conclusions_shape
from harness.report.terminal import console, progress, say, tell_history
from harness.scenarios.select import select
from harness.scenarios.verdict import exit_code
from harness.supervisor import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.evidence import Host, Start
    from harness.experiments.variant import Experiment
    from harness.journal import History
    from harness.supervisor.ladder import Wanted
    from harness.supervisor.limits import MemoryBy

DEFAULT_TRIALS = 200
OF_THIS_SESSION = {"old", "as_json", "dialect"}
EXIT_INTERRUPTED = 130
PROPER = click.FloatRange(0, 1, min_open=True, max_open=True)


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
@click.option(
    "--expect-below",
    type=PROPER,
    metavar="RATE",
    help="Exit with 0 if the failure rate is shown to be below (95 %), with 1 if above, else with 4.",
)
@click.option(
    "--bisect",
    is_flag=True,
    expose_value=False,
    help="Exit as `git bisect run` wants it: 125 where nothing can be told.",
)
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
@containment_option
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
    expect_below: float | None,
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
    containment: Wanted,
    as_json: bool,
    dialect: str,
    seed: int | None,
) -> None:
    """Fire many trials and say how often they fail, how alike they are, and how many attempts that calls for.

    SCENARIO is as for run, a case as "scenario[case]"; or give a command of yours after "--". Nothing stops at the
    first success: only a run does.

    --sprt and --expect-below give a verdict in the exit code: 0 low, 1 high, 4 undecided. With --bisect, a script for
    `git bisect run` is this command alone.
    """
    command: tuple[str, ...] = context.meta.get(COMMAND, ())
    if old:
        refuse_beside(context, "--resume", set(context.params) - OF_THIS_SESSION, OF_HISTORY)
        if command:
            raise InvalidInputError(f"--resume: the command {OF_HISTORY}: leave it out")
    elif bool(scenario) == bool(command):
        raise InvalidInputError("expected SCENARIO, or a command after --")
    test = SequentialTest(*sprt, alpha, beta) if sprt else None
    if test:
        test.check()
    if not any((trials, width, test, time_s)):
        trials = DEFAULT_TRIALS
    chosen_start: Start | None = None if start == "auto" else cast("Start", start)
    limits = Limits(memory, memory_by, processes=processes)
    asked = VariantOptions(dialect, seed, host, chosen_start, limits, timeout, jobs, target, expect_below, containment)
    stopping = Stopping(trials, width, test, time_s)
    planned = [] if old else plan(select(scenario, None) if scenario else [], command, asked, vs, stopping)
    with open_history(history, old, planned) as (book, experiments):
        if old:
            check_named_again(context, old, [variant.dialect for one in experiments for variant in one.variants])
        code = _conduct(experiments, book, as_json=as_json)
    context.exit(code)


def _conduct(experiments: Sequence[Experiment], book: History | None, *, as_json: bool) -> int:
    """Tell each answer as it comes; an experiment of a history that had ended is only told again."""
    out, told = console(stderr=as_json), list[Conclusion]()
    with progress(console(stderr=True)) as bar:
        for one in conduct_all(experiments, book, Shown(bar)):
            told.append(one)
            for line in conclusion_lines(one):
                say(out, line)
    interrupted = bool(told) and told[-1].ended == INTERRUPTED
    if as_json:
        emit_pretty(conclusions_shape(told, interrupted=interrupted))
    if book:
        tell_history(out, book)
    return EXIT_INTERRUPTED if interrupted else exit_code(one.verdict for one in told if one.verdict)
