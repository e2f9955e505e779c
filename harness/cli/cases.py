"""Runs cases, tells each as it ends, and all of them at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cli.output import emit_pretty, write
from harness.cli.report import write_files
from harness.report import words
from harness.report.reader import of_results
from harness.report.shapes import results_shape
from harness.report.terminal import console, plain_line, progress, say, tell_history, tell_results
from harness.scenarios.campaign import Campaign, Result, decided, run_all, title_of
from harness.scenarios.verdict import INTERRUPTED, exit_code

if TYPE_CHECKING:
    from harness.report.terminal import Terminal
    from harness.scenarios.order import Order
    from harness.scenarios.schema import Scenario


def tell_titles(scenarios: list[Scenario], *, as_json: bool) -> None:
    """Name the cases, and run none."""
    if as_json:
        found = [(one, [case.name for case in one.case]) for one in scenarios]
        emit_pretty([{"scenario": one.name, "claim": one.claim, "cases": cases} for one, cases in found])
        return
    for scenario in scenarios:
        write(f"{scenario.name}: {scenario.claim}")
        for case in scenario.case:
            write(f"  {title_of(scenario, case)}")


def run_cases(asked: Order, campaign: Campaign, jobs: int, given: dict[str, Any]) -> int:
    """Run the cases that were asked for and are not decided yet, print all results, and return the exit code."""
    scenarios, book = asked.select(), campaign.history
    titles = [title_of(one, case) for one in scenarios for case in one.case]
    out, results = console(stderr=given["as_json"]), decided(book) if book else []
    if results:
        out.print(f"{words.counted(len(results), 'case')} decided already, {len(titles) - len(results)} to go")
    finished = len(results) == len(titles) or _live(scenarios, campaign, jobs, out, results, given["fail_fast"])
    if given["as_json"]:
        emit_pretty(results_shape(results, interrupted=not finished))
    out.print()
    tell_results(out, results, len(titles), verbose=given["verbose"], slowest=given["slowest"] or 0)
    if book:
        tell_history(out, book)
    write_files(given, of_results("run", results, titles, interrupted=not finished))
    return exit_code(result.judgement.verdict for result in results) if finished else INTERRUPTED


def _live(
    scenarios: list[Scenario], campaign: Campaign, jobs: int, out: Terminal, results: list[Result], fail_fast: bool
) -> bool:
    done = {result.title for result in results}
    with progress(out) as bar:
        task = bar.add_task("running", total=sum(len(one.case) for one in scenarios), completed=len(results))

        def on_result(result: Result) -> None:
            results.append(result)
            bar.advance(task)
            say(out, plain_line(result), fits=out.is_terminal)

        return run_all(scenarios, campaign, jobs, on_result, done, fail_fast=fail_fast)
