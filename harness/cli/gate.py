"""crash-harness gate record and check: a baseline for CI."""

from __future__ import annotations

import os
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.cli.options import COUNT, JOBS, common, dialect_or, emit_pretty, write
from harness.dialects import lineage
from harness.dialects.custom import opened
from harness.exceptions import InvalidInputError
from harness.gate.baseline import Acceptance
from harness.gate.check import Finding, check
from harness.gate.file import load, save
from harness.gate.fresh import FreshSeeds
from harness.gate.live import CaseRunner, Pair, pairs_of
from harness.gate.record import SEEDS, Wanted
from harness.gate.record import record as record_baseline
from harness.report.gate import finding_lines, summary
from harness.report.shapes import finding_shape
from harness.report.terminal import console, progress, say, shown
from harness.scenarios.campaign import processors
from harness.scenarios.select import select
from harness.scenarios.verdict import Judgement, Verdict, exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from rich.progress import Progress, TaskID

    from harness.gate.baseline import Baseline
    from harness.gate.live import Unit

RANDOM_BYTES = 4
SHOWN_CHANGES = 12


def _day(_: click.Context, parameter: click.Parameter, value: str | None) -> str:
    if value is None:
        return ""
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise click.BadParameter(f"expected a day as YYYY-MM-DD, not {value!r}", param=parameter) from error


@click.group("gate")
def gate() -> None:
    """Hold classification, decisions and outcomes against a baseline file."""


@gate.command(
    epilog="Example: crash-harness gate record -o baseline.toml"
    " --accept 'jit-gc[wild]' --because 'a new compiler; see the ticket'"
)
@click.argument("scenario", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file.")
@click.option("--seeds", type=COUNT, default=SEEDS, show_default=True, help="Runs of each dosed case.")
@click.option("--accept", multiple=True, metavar="ID", help="Record this case though it fails; needs --because.")
@click.option("--because", multiple=True, metavar="TEXT", help="Why: the file keeps it. One for each --accept.")
@click.option("--owner", metavar="NAME", default="", help="Who answers for what is accepted.")
@click.option("--review", metavar="YYYY-MM-DD", callback=_day, help="The day after which what is accepted fails.")
@click.option("--jobs", type=JOBS, help="Runs at a time; the number of processors if not given.")
@common
@click.pass_context
def record(
    context: click.Context,
    scenario: tuple[str, ...],
    output: Path,
    seeds: int,
    accept: tuple[str, ...],
    because: tuple[str, ...],
    owner: str,
    review: str,
    jobs: int | None,
    as_json: bool,
    dialect: str,
    seed: int | None,
) -> None:
    """Live every case and write what was seen as the baseline; never from a failing run.

    SCENARIO is as for run; entries of other scenarios stay in the file. It is replaced in one step, or not at all.
    """
    pairs = pairs_of(select(scenario, None))
    old = load(output) if output.exists() else None
    wanted = Wanted(scenario, pairs, seeds, seed, _accepted(accept, because, pairs, owner, review))
    with opened(dialect) as chosen, progress(console(stderr=True)) as bar:
        runner = CaseRunner(chosen, jobs or processors())
        made = record_baseline(wanted, runner, old, _step(bar, "recording"))
    if made.baseline:
        save(output, made.baseline)
    _report(made.findings, as_json, written=made.baseline is not None, changed=made.changed)
    for line in made.changed[:SHOWN_CHANGES]:
        write(f"changed answer: {line}", err=True)
    if len(made.changed) > SHOWN_CHANGES:
        write(f"and {len(made.changed) - SHOWN_CHANGES} more; --json has them", err=True)
    if made.baseline is None:
        write(f"crash-harness: {output}: not written", err=True)
    context.exit(exit_code(one.judgement.verdict for one in made.findings))


def _accepted(
    ids: Sequence[str], reasons: Sequence[str], known: dict[str, Pair], owner: str, review: str
) -> dict[str, Acceptance]:
    if len(ids) != len(reasons) or not all(reason.strip() for reason in reasons):
        raise InvalidInputError("--accept: expected one --because with a reason for each")
    if unknown := [one for one in ids if one not in known]:
        raise InvalidInputError(f"--accept: {unknown[0]!r} is none of the cases; those are {', '.join(known)}")
    return {one: Acceptance(reason, (), owner, review) for one, reason in zip(ids, reasons, strict=True)}


@gate.command("check", epilog="Example: crash-harness gate check baseline.toml --json")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("scenario", nargs=-1)
@click.option(
    "--fresh-seeds", is_flag=True, help="Fire fresh trials of dosed cases too, until their rates are decided."
)
@click.option("--no-skip", is_flag=True, help="A case that this machine can't run is a FAIL.")
@click.option("--must-run", multiple=True, metavar="ID", help="The same for this case alone.")
@click.option("--jobs", type=JOBS, help="Runs at a time; the number of processors if not given.")
@common
@click.pass_context
def check_file(
    context: click.Context,
    file: Path,
    scenario: tuple[str, ...],
    fresh_seeds: bool,
    no_skip: bool,
    must_run: tuple[str, ...],
    jobs: int | None,
    as_json: bool,
    dialect: str,
    seed: int | None,
) -> None:
    """Live every case of FILE again and compare; SCENARIO, as for run, narrows it down.

    The dialect is that of FILE unless --dialect says otherwise; --seed is that of --fresh-seeds, else a random one.
    """
    baseline = load(file)
    dialect = dialect_or(context, dialect, next(lineage(baseline.dialect)))
    pairs = pairs_of(select(scenario or baseline.scenarios, None))
    with opened(dialect) as chosen, progress(console(stderr=True)) as bar:
        runner = CaseRunner(chosen, jobs or processors())
        stale = stale_ids(baseline, scenario, pairs)
        findings = check(baseline, pairs, stale, runner, _step(bar, "checking"), today=date.today().isoformat())  # noqa: DTZ011 -- a review is due by the local day
        if fresh_seeds:
            findings += _night(baseline, pairs, runner, bar, seed)
    findings = unskipped(findings, pairs if no_skip else must_run, pairs)
    _report(findings, as_json)
    context.exit(exit_code(one.judgement.verdict for one in findings))


def unskipped(findings: list[Finding], wanted: Iterable[str], known: Collection[str]) -> list[Finding]:
    """Fail the cases of these ids that were skipped. Raises InvalidInputError for an id that no case has."""
    must = set(wanted)
    if unknown := sorted(must - set(known)):
        raise InvalidInputError(f"--must-run: {unknown[0]!r} is none of the cases; those are {', '.join(known)}")
    return [
        msgspec.structs.replace(one, judgement=Judgement(Verdict.FAIL, ("it must run", *one.judgement.reasons)))
        if one.id in must and one.judgement.verdict is Verdict.SKIP
        else one
        for one in findings
    ]


def stale_ids(baseline: Baseline, narrowed: Sequence[str], pairs: dict[str, Pair]) -> list[str]:
    """Return ids in the file that no case has, among the scenarios that are asked for."""
    known = set(pairs)
    ids = [entry.id for entry in baseline.case]
    if narrowed:
        whole = pairs_of(
            select([scenario.path for scenario in {one.name: one for one, _ in pairs.values()}.values()], None)
        )
        names, known = {scenario.name for scenario, _ in pairs.values()}, set(whole)
        ids = [one for one in ids if one.partition("[")[0] in names]
    return [one for one in ids if one not in known]


def _night(
    baseline: Baseline, pairs: dict[str, Pair], runner: CaseRunner, bar: Progress, seed: int | None
) -> list[Finding]:
    base = int.from_bytes(os.urandom(RANDOM_BYTES), "big") if seed is None else seed
    findings = []
    for entry in baseline.case:
        pair = pairs.get(entry.id)
        if pair is None or entry.tier != "dosed" or pair[1].victim.tier != "dosed":
            continue
        task = bar.add_task(shown(f"fresh seeds: {entry.id}"), total=entry.cap)
        night = FreshSeeds(runner, base, partial(_show, bar, task))
        findings.append(night.check(entry, pair))
    return findings


def _show(bar: Progress, task: TaskID, trials: int) -> None:
    bar.update(task, completed=trials)


def _step(bar: Progress, what: str) -> Callable[[Unit], None]:
    """Count runs as they end; how many there will be is not known before the baseline is read."""
    task = bar.add_task(what, total=None)

    def advance(unit: Unit) -> None:
        bar.update(task, advance=1, description=shown(f"{what} {unit.title}"))

    return advance


def _report(findings: list[Finding], as_json: bool, **more: object) -> None:
    if as_json:
        emit_pretty({**more, "findings": [finding_shape(one) for one in findings]})
    out = console(stderr=as_json)
    for one in findings:
        for line in finding_lines(one):
            say(out, line)
    out.print(f"\n{summary(findings)}")
