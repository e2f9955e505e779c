"""crash-harness run --catalogue: the roll call, printed."""

from __future__ import annotations

from collections import Counter

from harness.cli.output import emit_pretty, write
from harness.faults.catalogue import catalogue
from harness.report.shapes import answers_shape
from harness.report.terminal import console, progress, say, table
from harness.report.words import counted
from harness.scenarios.rollcall import Answer, call_all
from harness.scenarios.verdict import INTERRUPTED, Verdict, exit_code

HEADINGS = ("verdict", "fault", "tier", "observed", "expected")


def list_calls(as_json: bool) -> int:
    """Name every shot and what it must look like; fire none. Returns the exit code."""
    shots = [(fault, tier) for fault in catalogue().values() for tier in fault.tiers]
    if as_json:
        emit_pretty([{"fault": fault.name, "tier": tier, "expected": fault.expects} for fault, tier in shots])
        return 0
    for fault, tier in shots:
        write(f"{fault.name} {tier}: {' or '.join(fault.expects)}")
    return 0


def roll_call(jobs: int, *, as_json: bool, verbose: bool) -> int:
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
    told = [one for one in answers if verbose or one.judgement.verdict is not Verdict.PASS]
    if told:
        out.print(table(HEADINGS, map(row, told)))
    for one in answers:
        if one.judgement.reasons:
            say(out, f"{one.judgement.verdict} {one.fault} ({one.tier}): {'; '.join(one.judgement.reasons)}")
    counts = Counter(answer.judgement.verdict for answer in answers)
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    left = f"; {total - len(answers)} of {total} not called" if not finished else ""
    out.print(f"\n{counted(len(answers), 'shot')}: {words}{left}")
    return exit_code(answer.judgement.verdict for answer in answers) if finished else INTERRUPTED


def row(one: Answer) -> tuple[str, ...]:
    """Verdict, fault, tier, what was observed and expected."""
    return one.judgement.verdict, one.fault, one.tier, ", ".join(one.observed), " or ".join(one.expected)
