"""crash-harness experiment: many trials, a rate with its interval, and advice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.answers import tell_all
from harness.cli.many import commands_of, many_options
from harness.cli.options.behind import COMMAND, WithCommand
from harness.cli.options.common import JOBS, OF_HISTORY, common, host_option, refuse_beside, schedule_option
from harness.cli.options.elsewhere import on_options, where_of
from harness.cli.options.limits import limit_options
from harness.cli.options.policy import policy_options
from harness.cli.options.resuming import check_command, check_named_again
from harness.cli.options.stopping import stopping_of, stopping_options
from harness.cli.options.surroundings import containment_option, witnesses
from harness.cli.options.variants import variant_options, variants_of
from harness.cli.planned import plan_options, tell_plans
from harness.exceptions import InvalidInputError
from harness.experiments.kept import open_history
from harness.experiments.variant import plan
from harness.experiments.workers import pool_on
from harness.scenarios.select import select
from harness.supervisor.limits import ROWS

if TYPE_CHECKING:
    from harness.experiments.variant import Experiment

RESUMED = {"old", "as_json", "on", "tls_ca_file", "tls_cert", "tls_key", "dialect"}
OF_SPRT = ("alpha", "beta", "power")
OF_COMMANDS = ("timeout", "memory", "memory_by", *ROWS)
NOT_PLANNED = ("history", "old", "bisect", "on")


@click.command(
    cls=WithCommand,
    epilog="Example: crash-harness experiment 'native-addon-race[wild]' --width .05 --vs start=fresh",
)
@click.argument("scenario", nargs=-1)
@stopping_options
@plan_options
@many_options
@variant_options
@host_option
@click.option("--history", type=click.Path(path_type=Path), help="Journal the trials in this new file.")
@click.option(
    "--resume", "old", type=click.Path(path_type=Path), help="Go on where the experiment of this history was ended."
)
@click.option("--jobs", type=JOBS, help="Groups at a time; 1 where the machine's load matters.")
@on_options("Fire them elsewhere")
@schedule_option
@limit_options
@containment_option
@witnesses
@policy_options
@common
@click.pass_context
def experiment(
    context: click.Context,
    /,
    scenario: tuple[str, ...],
    history: Path | None,
    old: Path | None,
    is_plan: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Fire many trials and say how often they fail, how alike they are, and how many attempts that calls for.

    SCENARIO is as for run, a case as "scenario[case]"; or give a command of yours after "--", or many by --commands,
    --each or --crash-history. Nothing stops at the first success: only a run does.

    --sprt and --expect-below give a verdict in the exit code: 0 low, 1 high, 4 undecided. With --bisect, a script for
    `git bisect run` is this command alone. With --plan nothing is tried but ten trials, to say how long it would take.
    """
    command: tuple[str, ...] = context.meta.get(COMMAND, ())
    if not given["sprt"]:
        refuse_beside(context, "without --sprt", OF_SPRT, "has no part in it")
    if not is_plan:
        refuse_beside(context, "without --plan", ("seconds",), "has no part in it")
    if old:
        refuse_beside(context, "--resume", set(context.params) - RESUMED, OF_HISTORY)
    if scenario:
        refuse_beside(context, "SCENARIO", OF_COMMANDS, "is of a command, and a case has limits of its own")
    planned = [] if old else _planned(scenario, command, given)
    if any(one.command for two in planned for one in two.variants):
        refuse_beside(context, "a command", ("host",), "is of a scenario's fault")
    if is_plan:
        refuse_beside(context, "--plan", NOT_PLANNED, "is of an experiment that is conducted")
        tell_plans(planned, given["seconds"], as_json=as_json)
        return
    with open_history(history, old, planned) as (book, experiments):
        if old:
            variants = [variant for one in experiments for variant in one.variants]
            check_named_again(context, old, [variant.dialect for variant in variants])
            check_command(old, command, [variant.command for variant in variants if variant.command])
        is_brief = bool(given["listed"] or given["each"] or given["crashes"])
        code = tell_all(experiments, book, pool_on(where_of(given)), as_json=as_json, is_brief=is_brief)
    context.exit(code)


def _planned(scenario: tuple[str, ...], command: tuple[str, ...], given: dict[str, Any]) -> list[Experiment]:
    """Make experiments of what was said. Raises InvalidInputError."""
    commands = commands_of(given["listed"], given["each"], given["crashes"], command)
    if bool(scenario) == bool(commands):
        raise InvalidInputError("expected SCENARIO, or a command after --")
    chosen = select(scenario, None) if scenario else []
    return plan(chosen, commands, variants_of(given), given["vs"], stopping_of(given))
