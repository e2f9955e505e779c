"""What an experiment would take, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.experiments.planning import Forecast
    from harness.experiments.variant import Experiment

MINUTE_S, HOUR_S = 60, 3600
ASSUMED = "for independent trials: those that resemble each other take more of them to a width or a bound"


def _span(seconds: float) -> str:
    """Write a time as a person would say it."""
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.3g} s"
    return f"{seconds / MINUTE_S:.0f} min" if seconds < 2 * HOUR_S else f"{seconds / HOUR_S:.1f} h"


def plan_lines(one: Experiment, found: list[Forecast], seconds: float, *, timed: bool) -> Iterator[str]:
    """The plan of one experiment."""
    of_each = " for one of each variant" if len(one.variants) > 1 else " a trial"
    yield one.title
    yield f"  {seconds:.3g} s{of_each}{', by ten timed ones' if timed else ''}; {one.jobs} at a time"
    for forecast in found:
        yield f"  {_line(forecast, one, seconds)}"
    if one.stopping.time_s is not None:
        yield f"  --time {one.stopping.time_s:g}: about {one.stopping.time_s * one.jobs / seconds:.0f} trials"
    yield f"  {ASSUMED}"


def _line(forecast: Forecast, one: Experiment, seconds: float) -> str:
    where = "" if forecast.rate is None else f" at a rate of {forecast.rate:.3g}"
    if forecast.trials is None:
        return f"{forecast.rule}{where}: no number of trials is enough"
    pace = seconds / one.jobs
    words = [f"{forecast.rule}{where}: {forecast.trials} trials{' on average' if forecast.within else ''}"]
    words.append(f"about {_span(forecast.trials * pace)}")
    if forecast.within:
        words.append(f"95 of 100 end within {forecast.within}, {_span(forecast.within * pace)}")
    if forecast.right is not None:
        words.append(f"decided rightly in {forecast.right:.1%}")
    return ", ".join(words)


def plan_shape(one: Experiment, found: list[Forecast], seconds: float) -> dict[str, object]:
    """One experiment of `experiment --plan --json`."""
    return {
        "title": one.title,
        "seconds_per_trial": seconds,
        "forecasts": [
            {
                "rule": forecast.rule,
                "rate": forecast.rate,
                "trials": forecast.trials,
                "seconds": None if forecast.trials is None else forecast.trials * seconds / one.jobs,
                "within": forecast.within,
                "right": forecast.right,
            }
            for forecast in found
        ],
    }
