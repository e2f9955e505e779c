"""crash-harness gate record: a baseline for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.gate_told import runs_shown, tell
from harness.cli.options.common import COUNT, JOBS, common
from harness.cli.options.files import Output
from harness.cli.options.word import day
from harness.cli.output import write
from harness.dialects.custom import opened
from harness.gate.asked import accepted
from harness.gate.file import load, save
from harness.gate.live import CaseRunner, pairs_of
from harness.gate.record import SEEDS, Wanted
from harness.gate.record import record as record_baseline
from harness.scenarios.campaign import processors
from harness.scenarios.select import select
from harness.scenarios.verdict import exit_code

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

SHOWN_CHANGES = 12


@click.command(
    epilog="Example: crash-harness gate record -o baseline.toml"
    " --accept 'jit-gc[wild]' --because 'a new compiler; see the ticket'"
)
@click.argument("scenario", nargs=-1)
@click.option("-o", "--output", type=Output(), metavar="FILE", required=True, help="The file.")
@click.option("--seeds", type=COUNT, default=SEEDS, show_default=True, help="Runs of each dosed case.")
@click.option("--accept", multiple=True, metavar="ID", help="Record this case though it fails; needs --because.")
@click.option("--because", multiple=True, metavar="TEXT", help="Why: the file keeps it. One for each --accept.")
@click.option("--owner", metavar="NAME", default="", help="Who answers for what is accepted.")
@click.option("--review", metavar="YYYY-MM-DD", callback=day, help="The day after which what is accepted fails.")
@click.option("--jobs", type=JOBS, help="Runs at a time; the number of processors if not given.")
@common
@click.pass_context
def record(
    context: click.Context,
    scenario: tuple[str, ...],
    output: Path,
    seeds: int,
    accept: tuple[str, ...],
    because: tuple[str, ...],
    owner: str,
    review: date | None,
    jobs: int | None,
    as_json: bool,
    dialect: str,
    seed: int | None,
) -> None:
    """Live every case and write what was seen as the baseline; never from a failing run.

    SCENARIO is as for run; entries of other scenarios stay in the file. It is replaced in one step, or not at all.
    """
    pairs = pairs_of(select(scenario, None))
    old = load(output) if output.is_file() else None  # a pipe or a device has no end
    wanted = Wanted(
        scenario, pairs, seeds, seed, accepted(accept, because, pairs, owner, review.isoformat() if review else "")
    )
    with opened(dialect) as chosen, runs_shown("recording") as seen:
        made = record_baseline(wanted, CaseRunner(chosen, jobs or processors()), old, seen.lived)
    if made.baseline:
        save(output, made.baseline)
    tell(made.findings, as_json, written=made.baseline is not None, changed=made.changed)
    for line in made.changed[:SHOWN_CHANGES]:
        write(f"changed answer: {line}", err=True)
    if len(made.changed) > SHOWN_CHANGES:
        write(f"and {len(made.changed) - SHOWN_CHANGES} more; --json has them", err=True)
    if made.baseline is None:
        write(f"crash-harness: {output}: not written", err=True)
    context.exit(exit_code(one.judgement.verdict for one in made.findings))
