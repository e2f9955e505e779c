"""crash-harness run: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from rich.markup import escape

from harness.cli.options import JOBS, common, emit_pretty, say
from harness.cli.order import Order, open_history
from harness.cli.rollcall import list_calls, roll_call
from harness.dialects.custom import opened
from harness.exceptions import InvalidInputError
from harness.report import words
from harness.report.terminal import console, plain_line, progress, reasons, summary, table
from harness.scenarios.campaign import Campaign, Result, decided, processors, run_all, title_of
from harness.scenarios.select import select
from harness.scenarios.verdict import exit_code, observed

if TYPE_CHECKING:
    from harness.scenarios.schema import Scenario

INTERRUPTED = 130


def record(result: Result) -> dict[str, object]:
    """Return a result for JSON: snake_case, with the whole run."""
    expectation = result.case.expectation(result.dialect)
    return {
        "scenario": result.scenario.name,
        "case": result.case.name,
        "cause": result.scenario.cause,
        "evidence": result.scenario.evidence,
        "fault": result.case.victim.fault,
        "tier": result.case.victim.tier,
        "dialect": result.dialect,
        "seed": result.seed,
        "verdict": result.judgement.verdict,
        "reasons": result.judgement.reasons,
        "expected": expectation,
        "observed": [observed(attempt) for attempt in result.run.attempts] if result.run else None,
        "run": result.run,
    }


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
        _refuse_beside_catalogue(context)
        context.exit(list_calls(as_json) if only_list else roll_call(jobs or processors(), as_json))
    if only_list:
        _list(select(scenario, case), as_json)
        return
    order = Order(scenario, case, dialect, seed)
    with open_history(history, resume, order) as (book, asked), opened(asked.dialect) as chosen:
        campaign = Campaign(chosen, asked.seed, history=book)
        code = _run(asked, campaign, jobs or processors(), as_json)
    context.exit(code)


def _refuse_beside_catalogue(context: click.Context) -> None:
    """A shot of the roll call is held against its own row: no scenario, dialect, seed or history has a part in it."""
    for name in ("scenario", "case", "history", "resume", "classifier", "dialect", "seed"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InvalidInputError(f"--catalogue: expected no {name} beside it")


def _list(scenarios: list[Scenario], as_json: bool) -> None:
    if as_json:
        emit_pretty(
            [{"scenario": one.name, "claim": one.claim, "cases": [c.name for c in one.case]} for one in scenarios]
        )
        return
    for scenario in scenarios:
        say(f"{scenario.name}: {scenario.claim}")
        for case in scenario.case:
            say(f"  {title_of(scenario, case)}")


def _run(asked: Order, campaign: Campaign, jobs: int, as_json: bool) -> int:
    scenarios = select(asked.scenarios, asked.case)
    total = sum(len(one.case) for one in scenarios)
    book = campaign.history
    out, results = console(stderr=as_json), decided(book) if book else []
    if results:
        out.print(f"{words.counted(len(results), 'case')} decided already, {total - len(results)} to go")
    with progress(out) as bar:
        task = bar.add_task("running", total=total, completed=len(results))
        done = {result.title for result in results}

        def on_result(result: Result) -> None:
            results.append(result)
            bar.advance(task)
            out.print(escape(plain_line(result)), soft_wrap=True)

        finished = run_all(scenarios, campaign, jobs, on_result, done)
    _report(results, total, finished, as_json)
    return exit_code(result.judgement.verdict for result in results) if finished else INTERRUPTED


def _report(results: list[Result], total: int, finished: bool, as_json: bool) -> None:
    if as_json:
        ordered = sorted(results, key=lambda one: one.title)
        emit_pretty({"interrupted": not finished, "results": [record(one) for one in ordered]})
    out = console(stderr=as_json)
    out.print()
    out.print(table(results))
    for reason in reasons(results):
        out.print(f"\n{escape(reason)}", soft_wrap=True)
    out.print(f"\n{summary(results, total)}")
