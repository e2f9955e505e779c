"""crash-harness experiment: many trials, a rate with its interval, and advice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from harness.cli.answers import tell_all
from harness.cli.behind import COMMAND, WithCommand
from harness.cli.limits import limit_options
from harness.cli.options import JOBS, OF_HISTORY, common, host_option, refuse_beside
from harness.cli.stopping import PROPER, stopping_of, stopping_options
from harness.exceptions import InvalidInputError
from harness.experiments.advice import TARGET
from harness.experiments.kept import open_history
from harness.experiments.variant import VariantOptions, plan
from harness.scenarios.select import select
from harness.supervisor import Limits

if TYPE_CHECKING:
    from harness.evidence import Host, Start
    from harness.supervisor.limits import MemoryBy


@click.command(
    cls=WithCommand,
    epilog="Example: crash-harness experiment 'native-addon-race[wild]' --width .05 --vs start=fresh",
)
@click.argument("scenario", nargs=-1)
@stopping_options
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
        refuse_beside(context, "--resume", set(context.params) - {"old", "as_json"}, OF_HISTORY)
        if command:
            raise InvalidInputError(f"--resume: the command {OF_HISTORY}: leave it out")
    elif bool(scenario) == bool(command):
        raise InvalidInputError("expected SCENARIO, or a command after --")
    chosen_start: Start | None = None if start == "auto" else cast("Start", start)
    limits = Limits(memory, memory_by, processes=processes)
    asked = VariantOptions(dialect, seed, host, chosen_start, limits, timeout, jobs, target, expect_below)
    stopping = stopping_of(trials, width, sprt, (alpha, beta), time_s)
    planned = [] if old else plan(select(scenario, None) if scenario else [], command, asked, vs, stopping)
    with open_history(history, old, planned) as (book, experiments):
        code = tell_all(experiments, book, as_json=as_json)
    context.exit(code)
