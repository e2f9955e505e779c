"""experiment --plan: how many trials it takes, and how long that is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.options.common import options
from harness.cli.options.word import Number
from harness.cli.output import emit_pretty, write
from harness.experiments.planning import forecasts
from harness.experiments.timing import seconds_a_trial
from harness.report.planning import plan_lines, plan_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.experiments.variant import Experiment

OPTIONS = (
    click.option("--plan", "is_plan", is_flag=True, help="Say how many trials it takes, and how long, and end there."),
    click.option(
        "--seconds-per-trial",
        "seconds",
        type=Number(0, min_open=True),
        help="For --plan: how long a trial takes; without it ten are timed.",
    ),
)
plan_options = options(OPTIONS)


def tell_plans(experiments: Sequence[Experiment], seconds: float | None, *, as_json: bool) -> None:
    """Plan each of them. Raises InfraError where a trial could not be timed."""
    shapes = []
    for one in experiments:
        pace = seconds if seconds is not None else seconds_a_trial(one)
        found = forecasts(one.stopping, one.expect_below)
        shapes.append(plan_shape(one, found, pace))
        for line in plan_lines(one, found, pace, timed=seconds is None):
            write(line, err=as_json)
    if as_json:
        emit_pretty({"plans": shapes})
