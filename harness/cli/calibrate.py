"""crash-harness calibrate: how wide the window of a race must be."""

from __future__ import annotations

from typing import get_args

import click

from harness.cli.options.common import host_option, json_option
from harness.cli.options.word import Word
from harness.cli.output import emit_pretty, write
from harness.evidence import Host, Start
from harness.experiments.calibration import DIAL, Calibration, Tried, calibrate, check
from harness.faults.catalogue import find
from harness.report.experiment import fact_lines
from harness.scenarios.verdict import Verdict, exit_code


@click.command("calibrate", epilog="Example: crash-harness calibrate torn_publish --target .3")
@click.argument("race")
@click.option("--target", type=float, default=0.3, show_default=True, help="Share of trials that it should strike.")
@click.option(
    "--start",
    type=Word(get_args(Start), "start"),
    default="warm",
    show_default=True,
    help="Each victim a new process image, or a fork of one.",
)
@host_option
@json_option
@click.pass_context
def calibrate_race(context: click.Context, race: str, target: float, start: Start, host: Host, as_json: bool) -> None:
    """Find the setting of RACE's window at which it strikes that often, here and now.

    The rate moves with the machine's load: use the setting in an experiment that follows, and don't store the rate.
    The setting is measured; where that refutes it, it is searched for again, three times at most. Exit code 4 where
    the last measurement refutes it too.
    """
    fault = find(race)
    check(fault, target)

    def observe(found: Tried) -> None:
        word = {-1: "too rare", 0: "taken", 1: "too often"}[found.side(target)]
        write(f"{DIAL} {found.setting:>9}: {found.failures} of {found.trials}, {found.rate:.0%}: {word}", err=True)

    found = calibrate(fault, target, host, start, observe)
    if as_json:
        emit_pretty(found)
    else:
        _tell(found, host, start)
    context.exit(exit_code([Verdict.PASS if found.holds else Verdict.UNKNOWN]))


def _tell(found: Calibration, host: Host, start: Start) -> None:
    if found.holds:
        write(f"{found.race}: {DIAL} = {found.setting}   ({host}, {start})")
    else:
        write(f"{found.race}: no setting holds: {found.rounds} times the measurement refuted what the search had found")
        write(f"the last was {DIAL} = {found.setting}   ({host}, {start})")
    for line in fact_lines(found.finding):
        write(f"  {line}")
