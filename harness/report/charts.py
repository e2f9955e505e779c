"""Plots as SVG text, by matplotlib: dark lines on white, words beside colours, the same bytes for the same numbers."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from harness.exceptions import InvalidInputError
from harness.experiments.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.experiments.findings import Wait
    from harness.report.counts import Curve

BLUE, ORANGE, GREY = "#1f4e79", "#b35806", "#b8c7d9"
LEAST_EXPECTED = 0.5


def _figure() -> tuple[Any, Any]:
    try:
        from matplotlib import rcParams  # noqa: PLC0415 -- only a report with plots needs it
        from matplotlib.figure import Figure  # noqa: PLC0415 -- as above
    except ImportError as error:
        raise InvalidInputError("--html: matplotlib is not installed: pip install 'crash-harness[report]'") from error
    rcParams["svg.fonttype"] = "path"
    rcParams["svg.hashsalt"] = "crash-harness"
    made = Figure(figsize=(6.4, 3.0), layout="constrained")
    axes = made.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return made, axes


def _svg(figure: Any, alternative: str) -> str:
    """Return the svg element alone, hidden from a screen reader, which gets the words of the figure's caption."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return body.replace("<svg ", f'<svg role="img" aria-label="{alternative}" ', 1)


def rate_over_trials(curve: Curve, alternative: str) -> str:
    """Plot the failure rate so far, with its 95 % interval, over the number of trials."""
    figure, axes = _figure()
    trials = [n for n, _ in curve.points]
    bounds = [wilson(x, n) for n, x in curve.points]
    axes.fill_between(trials, [b.low for b in bounds], [b.high for b in bounds], color=GREY, label="95 % interval")
    axes.plot(trials, [x / n for n, x in curve.points], color=BLUE, label="failure rate")
    axes.set(xlabel="trials", ylabel="failure rate", ylim=(0, 1))
    axes.legend(frameon=False)
    return _svg(figure, alternative)


def waits(shown: Sequence[Wait], alternative: str) -> str:
    """Plot attempts to the first success: observed as bars, expected of independent attempts as a line."""
    figure, axes = _figure()
    axes.bar([w.attempts for w in shown], [w.observed for w in shown], color=GREY, edgecolor=BLUE, label="observed")
    axes.plot(
        [w.attempts for w in shown], [w.expected for w in shown], "o--", color=ORANGE, label="expected if independent"
    )
    axes.set(xlabel="attempts to the first success", ylabel="runs of attempts")
    axes.set_xticks([w.attempts for w in shown])
    axes.legend(frameon=False)
    return _svg(figure, alternative)
