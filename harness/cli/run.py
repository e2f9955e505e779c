"""crash-harness run: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.cases import run_cases, tell_titles
from harness.cli.options.common import JOBS, OF_HISTORY, common, refuse_beside
from harness.cli.options.elsewhere import on_options, where_of
from harness.cli.options.resuming import check_named_again
from harness.cli.report import of_formats
from harness.cli.rollcall import list_calls, roll_call
from harness.dialects.custom import opened
from harness.experiments.hosts import hosts_on
from harness.scenarios.campaign import Campaign, processors
from harness.scenarios.order import Order, open_history
from harness.scenarios.select import select

OF_THE_ORDER = ("scenario", "case", "pattern", "seed")
OF_THE_CATALOGUE = {"whole", "only_list", "jobs", "as_json", "verbose"}
OF_THE_LIST = {"scenario", "case", "pattern", "only_list", "as_json"}


@click.command(epilog="Example: crash-harness run native-addon-race --dialect upstream-4.4")
@click.argument("scenario", nargs=-1)
@click.option("--case", help="Only the cases of this name.")
@click.option("-k", "pattern", default="", metavar="TEXT", help="Only the cases whose title holds this: 'race[dosed'.")
@click.option("--list", "only_list", is_flag=True, help="Name what would be run; run nothing.")
@click.option("--catalogue", "whole", is_flag=True, help="Fire every fault in each of its tiers instead.")
@click.option("--history", type=click.Path(path_type=Path), help="Journal the runs in this new file.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on where the run of this history was ended.")
@click.option("--jobs", type=JOBS, help="Cases at a time; the number of processors if not given.")
@click.option("--fail-fast", is_flag=True, help="Begin no case after the first that is a FAIL or INFRA.")
@on_options("Have the scenarios' hosts be real")
@click.option("-v", "--verbose", is_flag=True, help="A table of all cases, not only of those that are no PASS.")
@click.option("--slowest", type=click.IntRange(1), metavar="N", help="Name the N cases that lived longest.")
@of_formats
@common
@click.pass_context
def run(context: click.Context, /, scenario: tuple[str, ...], case: str | None, pattern: str, **given: Any) -> None:
    """Run scenarios and judge what was observed against what was expected.

    SCENARIO is a file, a folder, or the name of a shipped scenario; without any, all that ship are run.
    """
    jobs, only_list = given["jobs"] or processors(), given["only_list"]
    if given["whole"]:
        refuse_beside(context, "--catalogue", {*context.params, "classifier"} - OF_THE_CATALOGUE, "has no part in it")
        how = {name: given[name] for name in ("as_json", "verbose")}
        context.exit(list_calls(given["as_json"]) if only_list else roll_call(jobs, **how))
    if only_list:
        refuse_beside(context, "--list", set(context.params) - OF_THE_LIST, "has no part in it")
        tell_titles(select(scenario, case, pattern), as_json=given["as_json"])
        return
    if given["resume"]:
        refuse_beside(context, "--resume", OF_THE_ORDER, OF_HISTORY)
    order = Order(scenario, case, given["dialect"], given["seed"], pattern)
    with open_history(given["history"], given["resume"], order) as (book, asked):
        if given["resume"]:
            check_named_again(context, given["resume"], [asked.dialect])
        where = where_of(given)
        with opened(asked.dialect) as chosen, hosts_on(where, asked.select() if where else []) as elsewhere:
            code = run_cases(asked, Campaign(chosen, asked.seed, history=book, elsewhere=elsewhere), jobs, given)
    context.exit(code)
