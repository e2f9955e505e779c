"""The command line as a whole: one group, a command each."""

from __future__ import annotations

import click

from harness.cli.calibrate import calibrate_race
from harness.cli.dialects import dialects
from harness.cli.doctor import doctor
from harness.cli.engines import engines
from harness.cli.exec import exec_command
from harness.cli.experiment import experiment
from harness.cli.export import export
from harness.cli.faults import faults
from harness.cli.filters import classify_lines, decide_lines
from harness.cli.gate import gate
from harness.cli.replay import replay
from harness.cli.report import report
from harness.cli.run import run
from harness.cli.sweep import sweep


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 all as expected, 1 a FAIL, 2 wrong use, 3 the harness could not do its job, 4 UNKNOWN.",
)
@click.version_option(package_name="crash-harness")
def program() -> None:
    """Make native code crash for real, and prove that a retry engine classifies and retries the crashes correctly."""


for command in (
    doctor,
    faults,
    run,
    exec_command,
    experiment,
    sweep,
    engines,
    calibrate_race,
    gate,
    replay,
    report,
    dialects,
    classify_lines,
    decide_lines,
    export,
):
    program.add_command(command)
