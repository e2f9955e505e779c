"""A report on a terminal, or in a log: tables, trails, progress. What comes from a name or a victim is only text."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console  # noqa: TID251 -- here, where it is made harmless
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.report import deltas, engines, sweep, words
from harness.report.experiment import RANKING, conclusion_lines, ranking_rows
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.progress import Task

    from harness.conformance.check import Check
    from harness.experiments.conduct import Conclusion
    from harness.journal import History
    from harness.report.reader import HistoryReport, KeptRun
    from harness.scenarios.campaign import Result

PLAIN_WIDTH = 240
SHOWN = 40  # titles that are not decided; --json has them all
STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INFRA: "bold magenta",
    Verdict.UNKNOWN: "yellow",
    Verdict.SKIP: "dim",
}


class Terminal(Console):
    """A console that shows what a text says, and lets no text command the terminal."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Render markup; control characters in it become visible."""
        return super().render_str(words.lines_of(text), **how)

    def on_broken_pipe(self) -> None:
        """Let the exception go on, in whose handler this is called: the exit code is not this room's affair."""
        raise  # noqa: PLE0704 -- as above


class Told(TextColumn):
    """The description of a task."""

    def render(self, task: Task) -> Text:
        """Render it as the console would."""
        return Text.from_markup(words.printable(task.description))


def console(*, stderr: bool = False) -> Terminal:
    """Return a console that does not wrap tables to 80 columns where nobody looks at a terminal."""
    made = Terminal(stderr=stderr, highlight=False, emoji=False)
    return made if made.is_terminal else Terminal(stderr=stderr, highlight=False, emoji=False, width=PLAIN_WIDTH)


def progress(out: Console) -> Progress:
    """Return a bar that lives on a terminal and is silent elsewhere."""
    columns = (Told(""), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def shown(text: str) -> str:
    """Text without markup, and without anything that a terminal would obey."""
    return escape(words.printable(text))


def say(out: Console, line: str, *, fits: bool = False) -> None:
    """Print a line as it is, however long; one that `fits` is cut at the terminal's edge."""
    out.print(shown(line), soft_wrap=not fits, no_wrap=fits, overflow="ellipsis" if fits else None)


def plain_line(result: Result) -> str:
    """One line a result, for logs."""
    seen = ""
    if result.run:
        seen = f"{words.lived_s(result.run):.2f} s  {words.terminations(result.run)}: {result.run.status}"
    return "  ".join(filter(None, [f"{result.judgement.verdict:<5}", result.title, seen]))


def render(report: HistoryReport) -> str:
    """Write a report as it looks on this terminal."""
    out = console()
    with out.capture() as written:
        if report.results:
            tell_results(out, report.results, len(report.results))
        for run in report.runs:
            _tell_run(out, run)
        for one in report.experiments:
            for line in conclusion_lines(one.conclusion):
                say(out, line)
        tell_ranking(out, [one.conclusion for one in report.experiments])
        for check in report.checks:
            tell_check(out, check)
        for line in (line for swept in report.sweeps for line in sweep.lines(swept)):
            say(out, line)
        _tell_deltas(out, report)
        if report.open_question:
            out.print()
            for title in report.undecided[:SHOWN]:
                say(out, f"not decided: {title}")
            say(out, f"{report.open_question}")
    return written.get()


def _tell_deltas(out: Console, report: HistoryReport) -> None:
    if report.deltas:
        out.print()
        say(out, f"{deltas.TITLE}, {deltas.remark(report.deltas)}")
    if any(one.differing for one in report.deltas):
        out.print(table(deltas.HEADINGS, deltas.rows(report.deltas)))


def tell_ranking(out: Console, told: Sequence[Conclusion]) -> None:
    """Print the rates of a run that has several, the highest first."""
    if found := list(ranking_rows(told)):
        out.print(table(RANKING, found))


def _tell_run(out: Console, run: KeptRun) -> None:
    say(out, run.title)
    for attempt in run.run.attempts:
        say(out, f"  {words.attempt_line(attempt)}")
    so_far = f"not decided, {words.counted(len(run.run.attempts), 'attempt')} so far"
    say(out, f"{run.verdict}: {words.ending(run.run)}" if run.verdict else so_far)


def tell_check(out: Console, check: Check, command: tuple[str, ...] = ()) -> None:
    """Print an engine's properties and what is behind each failure; `command` is an adapter's that has no file."""
    say(out, engines.headline(check))
    out.print(table(engines.HEADINGS, engines.rows(check)))
    for line in engines.trails(check, command):
        say(out, line)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of texts, a line for each row however narrow the terminal; verdicts have their colours.

    A cell that does not fit is cut at its end, with "…"; --json has all of it.
    """
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(_cell(heading))
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(text: str) -> Text:
    """One line; it is the text that may not wrap, so that the widest columns give way first."""
    style = STYLES[Verdict(text)] if text in list(Verdict) else ""
    return Text(words.printable(text), style, no_wrap=True, overflow="ellipsis")


def tell_history(out: Console, history: History) -> None:
    """Say how a history stands: what is open in it and how to go on, or that it had ended and nothing was run."""
    for line in history.moved():
        say(out, f"note: {line}")
    left = history.undecided()
    if left and history.job:
        command = shlex.join(["crash-harness", history.job.kind, "--resume", str(history.path)])
        say(out, f"{len(left)} of {len(history.job.titles)} not decided; to go on: {command}")
    elif not history.wrote:
        say(out, f"ended at {history.ended_at()}; nothing was run")


def tell_results(
    out: Console, results: Sequence[Result], total: int, *, verbose: bool = False, slowest: int = 0
) -> None:
    """Print why each result that is no PASS came out so, and the counts; `verbose`: a table of all before that."""
    ordered = sorted(results, key=lambda one: one.title)
    if verbose:
        out.print(table(HEADINGS, map(_row, ordered)))
    elif failed := [one for one in ordered if one.judgement.verdict is not Verdict.PASS]:
        out.print(table(HEADINGS, map(_row, failed)))
    for reason in reasons(ordered):
        out.print(f"\n{escape(reason)}", soft_wrap=True)
    if slowest:
        out.print("\nslowest")
        for one in sorted(results, key=lambda one: words.lived_s(one.run), reverse=True)[:slowest]:
            say(out, f"{words.lived_s(one.run):8.2f} s  {one.title}")
    out.print(f"\n{summary(results, total)}")


HEADINGS = ("verdict", "case", "ended", "status", "seconds", "expected")


def _row(result: Result) -> tuple[str, ...]:
    run = result.run
    seen = (words.terminations(run), run.status, f"{words.lived_s(run):.2f}") if run else ("", "", "")
    return (result.judgement.verdict, result.title, *seen, words.expected(result))


def reasons(results: Sequence[Result]) -> list[str]:
    """The trail of each result but a PASS: verdict, reasons, attempts, and how to live it again."""
    return [
        "\n  ".join(words.trail(result))
        for result in sorted(results, key=lambda one: one.title)
        if result.judgement.verdict is not Verdict.PASS
    ]


def summary(results: Sequence[Result], total: int) -> str:
    """Count the verdicts in one line."""
    counts = Counter(result.judgement.verdict for result in results)
    parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    left = f"; {total - len(results)} of {total} not decided" if len(results) < total else ""
    lived = sum(words.lived_s(result.run) for result in results)
    return (
        f"{words.counted(len(results), 'case')}: {', '.join(parts) or 'none decided'}{left}; {lived:.1f} s of attempts"
    )
