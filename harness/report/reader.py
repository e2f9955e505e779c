"""A history read back, whatever it is of: what was asked for, what was decided, and what was not, and why not."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from harness.conformance import kept as kept_checks
from harness.conformance.check import Check  # noqa: TC001 -- msgspec reads the annotations of HistoryReport
from harness.dialects import BUILT_IN
from harness.engine.durable import EXEC, PYTEST, PYTHON, steps
from harness.engine.lifecycle import Task
from harness.engine.loop import Run, told
from harness.experiments import kept
from harness.experiments.conduct import Among, Conclusion, Progress, conclude, corrected, recount
from harness.experiments.firing import codes_of
from harness.journal import Job, Kind, Standing, spelt
from harness.machine import environment
from harness.refusals import kept as kept_sweeps
from harness.refusals.outcome import Report as Sweep  # noqa: TC001 -- msgspec reads the annotations of records
from harness.report.counts import Confusion, Curve
from harness.report.deltas import Delta, Ends, of_run
from harness.report.words import counted
from harness.scenarios import order
from harness.scenarios.campaign import Result
from harness.scenarios.campaign import results as kept_results
from harness.scenarios.verdict import Verdict, exit_code, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.engine.loop import Attempt
    from harness.experiments.tally import Trial
    from harness.experiments.variant import Experiment
    from harness.journal import Reading

NOUNS = {
    order.KIND: "case",
    kept.KIND: "experiment",
    EXEC: "command",
    PYTHON: "job",
    PYTEST: "test",
    kept_checks.KIND: "engine",
    kept_sweeps.KIND: "sweep",
}


class KeptRun(msgspec.Struct, frozen=True):
    """One command or function, with the attempts it has had. `verdict` is None while it is not decided."""

    title: str
    run: Run
    verdict: Verdict | None


class KeptExperiment(msgspec.Struct, frozen=True):
    """One experiment, with the course of each variant. Its `ended` is empty while it is not decided."""

    conclusion: Conclusion
    curves: tuple[Curve, ...]

    @property
    def title(self) -> str:
        """Its title in the job."""
        return self.conclusion.experiment.title


class HistoryReport(msgspec.Struct, frozen=True):
    """All that a history tells. `job` is None where nothing was begun; `undecided` are titles without an answer."""

    name: str
    job: Job | None
    standing: Standing
    environment: dict[str, str]
    undecided: tuple[str, ...]
    results: tuple[Result, ...] = ()
    experiments: tuple[KeptExperiment, ...] = ()
    runs: tuple[KeptRun, ...] = ()
    checks: tuple[Check, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    confusion: Confusion = msgspec.field(default_factory=Confusion)
    deltas: tuple[Delta, ...] = ()

    def verdicts(self) -> Counter[Verdict]:
        """How many cases and commands came out how."""
        found = Counter(result.judgement.verdict for result in self.results)
        found += Counter(one.verdict for one in self.runs if one.verdict)
        found += Counter(Verdict(one.verdict) for one in self.checks)
        found += Counter(one.conclusion.verdict for one in self.experiments if one.conclusion.verdict)
        return found + Counter(Verdict(one.verdict) for one in self.sweeps)

    @property
    def exit_code(self) -> int:
        """As of its verdicts; what is not decided is UNKNOWN, or INFRA where the harness failed."""
        verdicts = list(self.verdicts())
        if self.open_question:
            verdicts.append(Verdict.INFRA if self.standing.how == "failed" else Verdict.UNKNOWN)
        return exit_code(verdicts)

    @property
    def open_question(self) -> str:
        """What was asked for and not decided, and why: "22 of 33 cases not decided: …". Empty where all was."""
        if self.job is None:
            return "nothing was begun in this history"
        if not self.undecided:
            return ""
        noun, total = NOUNS.get(self.job.kind, self.job.kind), len(self.job.titles)
        return f"{len(self.undecided)} of {counted(total, noun)} not decided: {self.why_open}"

    @property
    def why_open(self) -> str:
        """Why it was left as it is: "it was interrupted at …"."""
        at = spelt(self.standing.at_ms)
        match self.standing.how:
            case "running":
                return "a process is still at it"
            case "interrupted":
                return f"it was interrupted at {at}"
            case "ended":
                return "it was told to stop at the first failure"
            case "failed":
                return f"the harness failed at {at}: {self.standing.reason}"
            case _:
                return f"its process ended without a word after {at}, as by SIGKILL"


def read(reading: Reading, name: str) -> HistoryReport:
    """Read all of it, in one pass over trials. Raises InvalidInputError for a damaged file."""
    standing, job = reading.standing(), reading.job  # in this order: what is decided meanwhile is no contradiction
    found = HistoryReport(name, job, standing, reading.environment(), tuple(reading.unanswered()))
    return READERS[job.kind](reading, found) if job and job.kind in READERS else found


def _cases(reading: Reading, found: HistoryReport) -> HistoryReport:
    return _with_cases(found, kept_results(reading))


def _with_cases(found: HistoryReport, results: list[Result]) -> HistoryReport:
    for result in results:
        _count(found.confusion, result.case.victim.fault, result.run.attempts if result.run else ())
    ordered = sorted(results, key=lambda one: one.title)
    lived = [(one.title, one.run, one.case.policy.checked(), one.dialect) for one in ordered if one.run]
    return msgspec.structs.replace(found, results=tuple(ordered), deltas=_deltas(lived))


def _deltas(lived: Iterable[tuple[str, Run, Task, str]]) -> tuple[Delta, ...]:
    return tuple(filter(None, (of_run(*one) for one in lived)))


def _runs(reading: Reading, found: HistoryReport) -> HistoryReport:
    made, asked = [], found.job.asked if found.job else {}
    for title in _titles(reading, found.job):
        run = told(list(steps(reading, title)))
        _count(found.confusion, title, run.attempts)
        made.append(KeptRun(title, run, None if title in found.undecided else verdict_of(run)))
    policy, dialect = msgspec.convert(asked.get("policy") or {}, Task), str(asked.get("dialect"))
    is_whole = asked.get("policy") is not None  # a test suite has no policy of its own: each test may have one
    lived = [(one.title, one.run, policy, dialect) for one in made if one.verdict and is_whole]
    return msgspec.structs.replace(found, runs=tuple(made), deltas=_deltas(lived))


def _titles(reading: Reading, job: Job | None) -> Iterable[str]:
    """Return what runs there are: those that were asked for, and of a test suite those that crashed."""
    if job and job.kind == PYTEST:
        return dict.fromkeys(event.title for event in reading.events(Kind.DECIDED))
    return job.titles if job else ()


def _checks(reading: Reading, found: HistoryReport) -> HistoryReport:
    return msgspec.structs.replace(found, checks=tuple(kept_checks.checks(reading)))


def _sweeps(reading: Reading, found: HistoryReport) -> HistoryReport:
    return msgspec.structs.replace(found, sweeps=tuple(kept_sweeps.reports(reading)))


def of_results(name: str, results: list[Result], titles: list[str], *, interrupted: bool) -> HistoryReport:
    """Make a report of cases without a history; what is in `titles` and not in the results is not decided."""
    done = {result.title for result in results}
    left = tuple(title for title in titles if title not in done)
    standing = Standing("interrupted" if interrupted else "ended", time.time_ns() // 10**6)
    found = HistoryReport(name, Job(order.KIND, {}, tuple(titles)), standing, environment(), left)
    return _with_cases(found, results)


def of_sweep(sweep: Sweep) -> HistoryReport:
    """Make a report of one sweep, without a history."""
    job = Job(kept_sweeps.KIND, {}, (sweep.subject,))
    return HistoryReport(sweep.subject, job, Standing("ended"), {}, (), sweeps=(sweep,))


def of_check(check: Check) -> HistoryReport:
    """Make a report of one check, without a history."""
    job = Job(kept_checks.KIND, {}, (check.engine,))
    return HistoryReport(check.engine, job, Standing("ended"), {}, (), checks=(check,))


def _count(confusion: Confusion, what: str, attempts: tuple[Attempt, ...]) -> None:
    for attempt in attempts:
        confusion.add(f"{what}, {attempt.injected or 'as it is'}", codes_of(attempt.evidence))


def _experiments(reading: Reading, found: HistoryReport) -> HistoryReport:
    experiments = kept.experiments_of(reading)
    curves = {variant.name: Curve() for one in experiments for variant in one.variants}
    ends = {variant.name: Ends(variant) for one in experiments for variant in one.variants}
    truths = {
        variant.name: variant.case.victim.fault if variant.case else variant.name
        for one in experiments
        for variant in one.variants
    }

    def observe(_: Experiment, progress: Progress, group: list[Trial]) -> None:
        name = group[0].variant
        tally = progress.tallies[name]
        curves[name].add(tally.trials, tally.failures)
        for trial in group:
            ends[name].add(trial)
            found.confusion.add(f"{truths[name]}, {trial.injected or 'as it is'}", _codes(trial))

    counted_up = recount(reading, experiments, observe)
    told = corrected([conclude(one, counted_up[one.title], Among.of(experiments)) for one in experiments])
    made = [KeptExperiment(one, tuple(curves[variant.name] for variant in one.experiment.variants)) for one in told]
    deltas = tuple(delta for seen in ends.values() for delta in seen.deltas())
    return msgspec.structs.replace(found, experiments=tuple(made), deltas=deltas)


def _codes(trial: Trial) -> dict[str, str | None]:
    """All dialects' codes: those that are not named agree with the trial's own."""
    return dict.fromkeys(BUILT_IN, trial.code) | trial.elsewhere


READERS: dict[str, Callable[[Reading, HistoryReport], HistoryReport]] = {
    order.KIND: _cases,
    kept.KIND: _experiments,
    EXEC: _runs,
    PYTHON: _runs,
    PYTEST: _runs,
    kept_checks.KIND: _checks,
    kept_sweeps.KIND: _sweeps,
}
