"""Many cases at once on the machine's cores, each judged as it ends."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import msgspec

from harness.capabilities import why_not
from harness.exceptions import InfraError
from harness.gate import Judgement, Verdict, judge
from harness.supervisor import Stop
from harness.trial import run_case, seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.codes import Dialect
    from harness.engine import Run
    from harness.scenario import Case, Scenario


class Result(msgspec.Struct, frozen=True):
    """One case as it was lived and judged. `run` is None when it was skipped or could not be run."""

    scenario: Scenario
    case: Case
    dialect: Dialect
    seed: int
    run: Run | None
    judgement: Judgement

    @property
    def title(self) -> str:
        """Scenario and case: "native-addon-race[dosed]"."""
        return f"{self.scenario.name}[{self.case.name}]"


def is_exact(case: Case, seed: int) -> bool:
    """Whether the attempts listed are the ones that must come: not for wild tiers, nor under a foreign seed."""
    if case.victim.tier == "wild":
        return False
    return case.victim.tier != "dosed" or seed == case.victim.seed


def live(scenario: Scenario, case: Case, dialect: Dialect, seed: int | None = None, stop: Stop | None = None) -> Result:
    """Run and judge one case. Never raises for what the harness could not do: that is a verdict, INFRA."""
    chosen, run = seed_of(case, seed), None
    reason = why_not(case.needs())
    if reason:
        judgement = Judgement(Verdict.SKIP, (reason,))
    else:
        try:
            run = run_case(case, dialect, chosen, stop)
            judgement = judge(case.expectation(dialect), run, exact=is_exact(case, chosen))
        except InfraError as error:
            judgement = Judgement(Verdict.INFRA, (str(error),))
    return Result(scenario, case, dialect, chosen, run, judgement)


def run_all(
    scenarios: Sequence[Scenario],
    dialect: Dialect,
    seed: int | None,
    jobs: int,
    on_result: Callable[[Result], object],
) -> bool:
    """Run every case, `jobs` at a time; `on_result` gets each as it ends, in this thread.

    Returns False when Ctrl-C ended it: every victim is dead by then, and what was not decided is left out.
    """
    with Stop() as stop, ThreadPoolExecutor(jobs) as pool:
        futures = [
            pool.submit(live, scenario, case, dialect, seed, stop) for scenario in scenarios for case in scenario.case
        ]
        try:
            for future in as_completed(futures):
                on_result(future.result())
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(cancel_futures=True)
            return False
    return True


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))
