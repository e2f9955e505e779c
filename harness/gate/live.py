"""Lives what a gate compares: the controls, and seeded runs of every case, on as many threads as it is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.dialects.guarded import Guarded
from harness.dialects.protocol import Dialect  # noqa: TC001 -- msgspec reads the annotations of CaseRunner
from harness.evidence import Exited, Signaled, Witness
from harness.exceptions import InfraError, JudgeError
from harness.gate.observing import Seen, see
from harness.scenarios.campaign import as_they_end, title_of
from harness.scenarios.live import run_case
from harness.supervisor import Shot, Stop, supervise
from harness.wire.errors import UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.engine.loop import Run
    from harness.scenarios.schema import Case, Scenario

CONTROL_DEADLINE_S = 60.0

Pair = tuple["Scenario", "Case"]
RunsBySeed = dict[int, tuple["Run | None", Seen]]


class Unit(NamedTuple):
    """One seeded run to be lived."""

    title: str
    case: Case
    seed: int
    expected: tuple[str, ...] | None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C has ended the gate; every victim is dead."""


class CaseRunner(msgspec.Struct, frozen=True):
    """Lives cases under one dialect, `jobs` at a time."""

    dialect: Dialect
    jobs: int = 1

    @property
    def guarded(self) -> Dialect:
        """The dialect whose answers the gate checks, held to its word."""
        return Guarded(self.dialect)

    def live(self, unit: Unit, stop: Stop) -> tuple[Run | None, Seen]:
        """Live one run. `Seen.trouble` says what the harness could not do; `shows` says it where the dialect broke."""
        try:
            run = run_case(unit.case, self.guarded, unit.seed, stop=stop)
        except InfraError as error:
            return None, Seen("", (), 0, str(error))
        except (JudgeError, UnexpectedError) as error:
            return None, Seen(f"the classifier broke: {error}", (), 0)
        return run, see(run, unit.expected)

    def live_all(self, units: Iterable[Unit], on_unit: Callable[[Unit], object]) -> dict[str, RunsBySeed]:
        """Live units on `jobs` threads; by title and seed. Raises Interrupted."""
        lived: dict[str, RunsBySeed] = {}
        with Stop() as stop, ThreadPoolExecutor(self.jobs) as pool:
            try:  # Ctrl-C may come while units are still handed out, and some live already
                futures = {pool.submit(self.live, unit, stop): unit for unit in units}
                for future in as_they_end(futures):
                    unit = futures[future]
                    lived.setdefault(unit.title, {})[unit.seed] = future.result()
                    on_unit(unit)
            except KeyboardInterrupt:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise Interrupted from None
        return {title: dict(sorted(runs.items())) for title, runs in lived.items()}


def controls() -> list[str]:
    """Fire a victim that never crashes and one that always does, and return what is wrong with their evidence."""
    wanted = {"never": (Exited(0), Witness.DONE), "null_read": (Signaled("SIGSEGV"), None)}
    reasons = []
    for fault, (end, witness) in wanted.items():
        try:
            evidence = supervise(Shot(fault), deadline_s=CONTROL_DEADLINE_S)
        except InfraError as error:
            reasons.append(f"control {fault}: {error}")
            continue
        if str(evidence.termination) != str(end) or (witness and evidence.witness is not witness):
            reasons.append(f"control {fault}: expected {end}, observed {evidence.termination}")
    return reasons


def pairs_of(scenarios: Iterable[Scenario]) -> dict[str, Pair]:
    """Return scenarios and cases by the case's title, in order."""
    found = {title_of(one, case): (one, case) for one in scenarios for case in one.case}
    return {title: found[title] for title in sorted(found)}
