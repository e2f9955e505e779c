"""crash-harness gate check: every case and question held against a baseline."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from harness.cli.gate_told import runs_shown, tell
from harness.cli.options.common import JOBS, common, dialect_or
from harness.cli.options.files import Output
from harness.cli.output import write
from harness.dialects import lineage
from harness.dialects.custom import opened
from harness.gate.asked import stale_ids, unskipped
from harness.gate.check import check
from harness.gate.file import load
from harness.gate.fresh import check_fresh
from harness.gate.live import CaseRunner, pairs_of
from harness.journal import replace_file
from harness.report.junit import render_findings
from harness.scenarios.campaign import processors
from harness.scenarios.select import select
from harness.scenarios.verdict import exit_code


@click.command("check", epilog="Example: crash-harness gate check baseline.toml --json")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("scenario", nargs=-1)
@click.option(
    "--fresh-seeds", is_flag=True, help="Fire fresh trials of dosed cases too, until their rates are decided."
)
@click.option("--no-skip", is_flag=True, help="A case that this machine can't run is a FAIL.")
@click.option("--must-run", multiple=True, metavar="ID", help="The same for this case alone.")
@click.option("--junit", type=Output(), metavar="FILE", help="Write JUnit XML.")
@click.option("--jobs", type=JOBS, help="Runs at a time; the number of processors if not given.")
@common
@click.pass_context
def check_file(
    context: click.Context,
    file: Path,
    scenario: tuple[str, ...],
    fresh_seeds: bool,
    no_skip: bool,
    must_run: tuple[str, ...],
    junit: Path | None,
    jobs: int | None,
    as_json: bool,
    dialect: str,
    seed: int | None,
) -> None:
    """Live every case of FILE again and compare; SCENARIO, as for run, narrows it down.

    The dialect is that of FILE unless --dialect says otherwise; --seed is that of --fresh-seeds, else a random one.
    """
    baseline = load(file)
    dialect = dialect_or(context, dialect, next(lineage(baseline.dialect)))
    pairs = pairs_of(select(scenario or baseline.scenarios, None))
    today = date.today().isoformat()  # noqa: DTZ011 -- a review is due by the local day
    with opened(dialect) as chosen, runs_shown("checking") as seen:
        runner, stale = CaseRunner(chosen, jobs or processors()), stale_ids(baseline, scenario, pairs)
        findings = check(baseline, pairs, stale, runner, seen.lived, today=today)
        if fresh_seeds:
            findings += check_fresh(baseline, pairs, runner, seed, seen.fired)
    findings = unskipped(findings, pairs if no_skip else must_run, pairs)
    tell(findings, as_json)
    if junit:
        replace_file(junit, render_findings(findings))
        write(f"wrote {junit}", err=True)
    context.exit(exit_code(one.judgement.verdict for one in findings))
