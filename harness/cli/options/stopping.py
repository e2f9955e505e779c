"""The options that say when an experiment ends, and what that says in the exit code."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options.common import COUNT, options
from harness.cli.options.word import Number
from harness.exceptions import InvalidInputError
from harness.experiments.sequential import SequentialTest
from harness.experiments.stopping import Stopping

DEFAULT_TRIALS, BETA = 200, 0.05
PROPER = Number(0, 1, min_open=True, max_open=True)


def stopping_of(given: dict[str, Any]) -> Stopping:
    """Make the rule of what was said; where nothing was, a number of trials. Raises InvalidInputError."""
    trials, width, time_s, power = (given[name] for name in ("trials", "width", "time_s", "power"))
    p0, p1 = given["sprt"] or (0, 0)
    beta = _beta(given["beta"], power)
    test = SequentialTest(p0, p1, given["alpha"], beta) if given["sprt"] else None
    if test:
        test.check()
    return Stopping(trials if any((trials, width, test, time_s)) else DEFAULT_TRIALS, width, test, time_s)


def _beta(beta: float | None, power: float | None) -> float:
    """Return how often the test may err where P1 holds. Raises InvalidInputError where it is said twice."""
    if beta is not None and power is not None:
        raise InvalidInputError("--power: it is 1 - beta, and --beta says it already")
    if power is not None:
        return 1 - power
    return BETA if beta is None else beta


def _rates(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        p0, p1 = map(float, value.split(":"))
    except ValueError as error:
        raise click.BadParameter(f"expected P0:P1, not {value!r}", param=parameter) from error
    return p0, p1


OPTIONS = (
    click.option("--trials", type=COUNT, help=f"Stop after so many of each variant [{DEFAULT_TRIALS}]."),
    click.option("--width", type=Number(0, 0.5, min_open=True), help="Stop when half the 95 % interval is this."),
    click.option("--sprt", callback=_rates, metavar="P0:P1", help="Stop when one failure rate is decided for."),
    click.option(
        "--alpha", type=PROPER, default=0.05, show_default=True, help="How often --sprt may err where P0 holds."
    ),
    click.option("--beta", type=PROPER, help=f"How often --sprt may err where P1 holds [{BETA}]."),
    click.option("--power", type=PROPER, help="1 - beta, in the place of --beta."),
    click.option(
        "--expect-below",
        type=PROPER,
        metavar="RATE",
        help="Exit with 0 if the failure rate is shown to be below (95 %), with 1 if above, else with 4.",
    ),
    click.option(
        "--bisect",
        is_flag=True,
        expose_value=False,
        help="Exit as `git bisect run` wants it: 125 where nothing can be told.",
    ),
    click.option("--time", "time_s", type=Number(0, min_open=True), help="Stop after so many seconds."),
)
stopping_options = options(OPTIONS)
