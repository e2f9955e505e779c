"""crash-harness run --catalogue: the roll call, printed."""

from __future__ import annotations

from collections import Counter

from rich.markup import escape
from rich.table import Table

from harness.cli.options import emit_pretty, write
from harness.faults.catalogue import catalogue
from harness.report.shapes import answers_shape
from harness.report.terminal import STYLES, console, progress
from harness.report.words import counted
from harness.scenarios.rollcall import Answer, call_all
from harness.scenarios.verdict import Verdict, exit_code

INTERRUPTED = 130


def list_calls(as_json: bool) -> int:
    """Name every shot and what it must look like; fire none. Returns the exit code."""
    shots = [(fault, tier) for fault in catalogue().values() for tier in fault.tiers]
    if as_json:
        emit_pretty([{"fault": fault.name, "tier": tier, "expected": fault.expects} for fault, tier in shots])
        return 0
    for fault, tier in shots:
        write(f"{fault.name} {tier}: {' or '.join(fault.expects)}")
    return 0


def roll_call(jobs: int, as_json: bool) -> int:
    """Call the roll, print it, and return the exit code."""
    out, answers = console(stderr=as_json), list[Answer]()
    total = sum(len(fault.tiers) for fault in catalogue().values())
    with progress(out) as bar:
        task = bar.add_task("calling", total=total)

        def on_answer(answer: Answer) -> None:
            answers.append(answer)
            bar.advance(task)

        finished = call_all(jobs, on_answer)
    if as_json:
        emit_pretty(answers_shape(answers, interrupted=not finished))
    out.print(table(answers))
    counts = Counter(answer.judgement.verdict for answer in answers)
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    left = f"; {total - len(answers)} of {total} not called" if not finished else ""
    out.print(f"\n{counted(len(answers), 'shot')}: {words}{left}")
    return exit_code(answer.judgement.verdict for answer in answers) if finished else INTERRUPTED


def table(answers: list[Answer]) -> Table:
    """Fault, tier, what was observed and expected, verdict."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("fault", "family", "tier", "observed", "expected", "verdict"):
        made.add_column(heading, overflow="fold")
    for one in answers:
        cells = (one.fault, one.family, one.tier, ", ".join(one.observed), " or ".join(one.expected))
        reason = f" {'; '.join(one.judgement.reasons)}" if one.judgement.reasons else ""
        verdict = f"[{STYLES[one.judgement.verdict]}]{one.judgement.verdict}[/]{escape(reason)}"
        made.add_row(*map(escape, cells), verdict)
    return made
