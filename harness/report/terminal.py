"""The run table and its progress, for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console  # noqa: TID251 -- here, where it is made harmless
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.report import words
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Task

    from harness.scenarios.campaign import Result

PLAIN_WIDTH = 240
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
        return super().render_str(words.printable(text), **how)

    def on_broken_pipe(self) -> None:
        """Let the exception go on, in whose handler this is called: the exit code is not this room's affair."""
        raise  # noqa: PLE0704 -- as above


class Told(TextColumn):
    """The description of a task."""

    def render(self, task: Task) -> Text:
        """Render it as the console would."""
        return Text.from_markup(words.printable(task.description))


def console(*, stderr: bool = False) -> Console:
    """Return a console that does not wrap tables to 80 columns where nobody looks at a terminal."""
    made = Terminal(stderr=stderr, highlight=False, emoji=False)
    return made if made.is_terminal else Terminal(stderr=stderr, highlight=False, emoji=False, width=PLAIN_WIDTH)


def progress(out: Console) -> Progress:
    """Return a bar that lives on a terminal and is silent elsewhere."""
    columns = (Told(""), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def plain_line(result: Result) -> str:
    """One line a result, for logs."""
    seen = f"{words.terminations(result.run)}: {result.run.status}" if result.run else ""
    return " ".join(filter(None, [f"{result.judgement.verdict:<5}", result.title, seen]))


def table(results: Sequence[Result]) -> Table:
    """Scenario, fault, what was observed, classification, attempts, outcome, expected, verdict."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("scenario", "fault", "observed", "classification"):
        made.add_column(heading, overflow="fold")
    made.add_column("attempts", justify="right")
    for heading in ("outcome", "expected", "verdict"):
        made.add_column(heading, overflow="fold")
    for result in sorted(results, key=lambda one: one.title):
        made.add_row(*_row(result))
    return made


def _row(result: Result) -> list[str]:
    fault = f"{result.case.victim.fault} ({result.case.victim.tier})"
    verdict = f"[{STYLES[result.judgement.verdict]}]{result.judgement.verdict}[/]"
    if result.run is None:
        seen = ["", "", "", ""]
    else:
        run = result.run
        seen = [words.terminations(run), words.codes(run), str(len(run.attempts)), run.status]
    return [escape(cell) for cell in (result.title, fault, *seen, words.expected(result))] + [verdict]


def reasons(results: Sequence[Result]) -> list[str]:
    """Why each result that is no PASS is none, with its trail."""
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
    return f"{words.counted(len(results), 'case')}: {', '.join(parts) or 'none decided'}{left}"
