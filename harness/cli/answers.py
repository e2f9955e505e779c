"""Conducts the experiments of a command, and tells each answer as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.output import emit_pretty
from harness.experiments import conduct
from harness.experiments.conduct import Conclusion, conduct_all
from harness.report.document import conclusions_shape
from harness.report.experiment import Shown, brief_lines, conclusion_lines, corrected_lines
from harness.report.terminal import console, progress, say, tell_history, tell_ranking
from harness.scenarios.verdict import INTERRUPTED, exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.experiments.pool import OpenPool
    from harness.experiments.variant import Experiment
    from harness.journal import History


def tell_all(
    experiments: Sequence[Experiment],
    book: History | None,
    open_pool: OpenPool,
    *,
    as_json: bool,
    is_brief: bool = False,
) -> int:
    """Conduct the experiments and return the exit code; one that had ended in the history is only printed again.

    `is_brief`: a line each, since there are many.
    """
    out, told = console(stderr=as_json), list[Conclusion]()
    with progress(console(stderr=True)) as bar:
        for one in conduct_all(experiments, book, Shown(bar), open_pool=open_pool):
            told.append(one)
            for line in brief_lines(one) if is_brief else conclusion_lines(one):
                say(out, line)
    for line in corrected_lines(told):
        say(out, line)
    tell_ranking(out, told)
    interrupted = bool(told) and told[-1].ended == conduct.INTERRUPTED
    if as_json:
        emit_pretty(conclusions_shape(told, interrupted=interrupted))
    if book:
        tell_history(out, book)
    return INTERRUPTED if interrupted else exit_code(one.verdict for one in told if one.verdict)
