"""crash-harness run: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import JOBS, OF_HISTORY, check_named_again, common, emit_pretty, refuse_beside, write
from harness.cli.rollcall import list_calls, roll_call
from harness.dialects.custom import opened
from harness.report import words
from harness.report.shapes import results_shape
from harness.report.terminal import console, plain_line, progress, say, tell_history, tell_results
from harness.scenarios.campaign import Campaign, Result, decided, processors, run_all, title_of
from harness.scenarios.order import Order, open_history
from harness.scenarios.select import select
from harness.scenarios.verdict import exit_code

if TYPE_CHECKING:
    from harness.report.terminal import Terminal
    from harness.scenarios.schema import Scenario

INTERRUPTED = 130


@click.command(epilog="Example: crash-harness run native-addon-race --dialect upstream-4.4")
@click.argument("scenario", nargs=-1)
@click.option("--case", help="Only the cases of this name.")
@click.option("--list", "only_list", is_flag=True, help="Name what would be run; run nothing.")
@click.option("--catalogue", "whole", is_flag=True, help="Fire every fault in each of its tiers instead.")
@click.option("--history", type=click.Path(path_type=Path), help="Journal the runs in this new file.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on where the run of this history was ended.")
@click.option("--jobs", type=JOBS, help="Cases at a time; the number of processors if not given.")
@common
@click.pass_context
def run(
    context: click.Context,
    scenario: tuple[str, ...],
    case: str | None,
    only_list: bool,
    whole: bool,
    history: Path | None,
    resume: Path | None,
    jobs: int | None,
    as_json: bool,
    dialect: str,
    seed: int | None,
) -> None:
    """Run scenarios and judge what was observed against what was expected.

    SCENARIO is a file, a folder, or the name of a shipped scenario; without any, all that ship are run.
    """
    if whole:
        names = ("scenario", "case", "history", "resume", "seed", "dialect", "classifier")
        refuse_beside(context, "--catalogue", names, "has no part in it")
        context.exit(list_calls(as_json) if only_list else roll_call(jobs or processors(), as_json))
    if only_list:
        _list(select(scenario, case), as_json)
        return
    if resume:
        refuse_beside(context, "--resume", ("scenario", "case", "seed"), OF_HISTORY)
    order = Order(scenario, case, dialect, seed)
    with open_history(history, resume, order) as (book, asked):
        if resume:
            check_named_again(context, resume, [asked.dialect])
        with opened(asked.dialect) as chosen:
            campaign = Campaign(chosen, asked.seed, history=book)
            code = _run(asked, campaign, jobs or processors(), as_json)
    context.exit(code)


def _list(scenarios: list[Scenario], as_json: bool) -> None:
    if as_json:
        found = [(one, [case.name for case in one.case]) for one in scenarios]
        emit_pretty([{"scenario": one.name, "claim": one.claim, "cases": cases} for one, cases in found])
        return
    for scenario in scenarios:
        write(f"{scenario.name}: {scenario.claim}")
        for case in scenario.case:
            write(f"  {title_of(scenario, case)}")


def _run(asked: Order, campaign: Campaign, jobs: int, as_json: bool) -> int:
    scenarios, book = asked.select(), campaign.history
    titles = [title_of(one, case) for one in scenarios for case in one.case]
    out, results = console(stderr=as_json), decided(book) if book else []
    if results:
        out.print(f"{words.counted(len(results), 'case')} decided already, {len(titles) - len(results)} to go")
    finished = _live(scenarios, campaign, jobs, out, results) if len(results) < len(titles) else True
    if as_json:
        emit_pretty(results_shape(results, interrupted=not finished))
    out.print()
    tell_results(out, results, len(titles))
    if book:
        tell_history(out, book)
    return exit_code(result.judgement.verdict for result in results) if finished else INTERRUPTED


def _live(scenarios: list[Scenario], campaign: Campaign, jobs: int, out: Terminal, results: list[Result]) -> bool:
    done = {result.title for result in results}
    with progress(out) as bar:
        task = bar.add_task("running", total=sum(len(one.case) for one in scenarios), completed=len(results))

        def on_result(result: Result) -> None:
            results.append(result)
            bar.advance(task)
            say(out, plain_line(result))

        return run_all(scenarios, campaign, jobs, on_result, done)
