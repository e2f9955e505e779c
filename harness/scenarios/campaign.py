"""Many cases at once on the machine's cores, each judged as it ends."""

from __future__ import annotations

import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from harness.dialects.protocol import Dialect  # noqa: TC001 -- msgspec reads the annotations of records
from harness.engine.loop import Run  # noqa: TC001 -- as above
from harness.exceptions import InfraError, JudgeError
from harness.journal import Kind
from harness.machine import why_not
from harness.scenarios.live import run_case, seed_of
from harness.scenarios.schema import Case, Scenario  # noqa: TC001 -- as above
from harness.scenarios.verdict import Judgement, Verdict, judge
from harness.supervisor import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from harness.journal import History, Reading
    from harness.scenarios.live import Elsewhere

T = TypeVar("T")
LOOK_UP_S = 0.5


class Result(msgspec.Struct, frozen=True):
    """One case as it was lived and judged, under the dialect of this name.

    `run` is None when it was skipped or could not be run.
    """

    scenario: Scenario
    case: Case
    dialect: str
    seed: int
    run: Run | None
    judgement: Judgement

    @property
    def title(self) -> str:
        """Scenario and case: "native-addon-race[dosed]"."""
        return title_of(self.scenario, self.case)


def title_of(scenario: Scenario, case: Case) -> str:
    """Spell a case as tables and the history do."""
    return f"{scenario.name}[{case.name}]"


def is_exact(case: Case, seed: int) -> bool:
    """Whether the attempts listed are those that must come: not for wild tiers, nor for a seed that is not its own."""
    if case.victim.tier == "wild":
        return False
    return case.victim.tier != "dosed" or seed == case.victim.seed


class Campaign(msgspec.Struct, frozen=True):
    """How cases are lived: under which dialect and seed, until `stop` is set, journalled in `history`.

    `elsewhere` has attempts lived by the workers that are the cases' hosts.
    """

    dialect: Dialect
    seed: int | None = None
    stop: Stop | None = None
    history: History | None = None
    elsewhere: Elsewhere | None = None

    def live(self, scenario: Scenario, case: Case) -> Result:
        """Run and judge one case. Never raises for what the harness could not do: that is a verdict, INFRA."""
        seed, run = seed_of(case, self.seed), None
        reason = why_not(case.needs())
        if reason:
            judgement = Judgement(Verdict.SKIP, (reason,))
        else:
            try:
                run = self._run(case, seed, title_of(scenario, case))
                judgement = judge(case.expectation(self.dialect.name), run, exact=is_exact(case, seed))
            except InfraError as error:
                judgement = Judgement(Verdict.INFRA, (str(error),))
            except JudgeError as error:
                judgement = Judgement(Verdict.FAIL, (str(error),))
        return self._decide(Result(scenario, case, self.dialect.name, seed, run, judgement))

    def _run(self, case: Case, seed: int, title: str) -> Run:
        book = self.history
        if book is None:
            return run_case(case, self.dialect, seed, stop=self.stop, elsewhere=self.elsewhere)
        return run_case(
            case,
            self.dialect,
            seed,
            stop=self.stop,
            observe=lambda attempt: book.write(Kind.FINISHED, title, attempt.number, attempt),
            journal=partial(book.attempt, title),
            elsewhere=self.elsewhere,
        )

    def _decide(self, result: Result) -> Result:
        """Journal a result, unless it was cut short. One that can't be journalled must not look decided: INFRA."""
        if self.history is None or (self.stop and self.stop.is_set()):
            return result
        try:
            kind = Kind.INFRA if result.judgement.verdict is Verdict.INFRA else Kind.DECIDED
            self.history.write(kind, result.title, body=result)
        except InfraError as error:
            return msgspec.structs.replace(result, judgement=Judgement(Verdict.INFRA, (str(error),)))
        return result


def decided(reading: Reading) -> list[Result]:
    """Results of a history of runs that stay: a resumed run does not live these cases again."""
    return [result for _, result in reading.bodies(Kind.DECIDED, Result)]


def results(reading: Reading) -> list[Result]:
    """All results of a history of runs, the last of each case: also of those that the harness could not decide."""
    failed = [result for _, result in reading.bodies(Kind.INFRA, Result)]
    return list({result.title: result for result in (*failed, *decided(reading))}.values())


def as_they_end(futures: Iterable[Future[T]]) -> Iterator[Future[T]]:
    """Yield futures as they end.

    Wakes up twice a second: a Ctrl-C that comes just before a wait for a lock does not interrupt it.
    """
    left = set(futures)
    while left:
        ended, left = wait(left, LOOK_UP_S, FIRST_COMPLETED)
        yield from ended


def run_all(
    scenarios: Sequence[Scenario],
    campaign: Campaign,
    jobs: int,
    on_result: Callable[[Result], object],
    done: Container[str] = (),
    *,
    fail_fast: bool = False,
) -> bool:
    """Run every case but those `done`, `jobs` at a time; `on_result` gets each as it ends, in this thread.

    `fail_fast`: no case is begun after the first that fails, or can't be run; those under way are ended properly.
    Returns False when Ctrl-C ended it: every victim is dead by then, and what was not decided is left out.
    """
    cases = [(scenario, case) for scenario in scenarios for case in scenario.case]
    halted = threading.Event()

    def live(scenario: Scenario, case: Case) -> Result | None:
        if halted.is_set():
            return None
        result = stoppable.live(scenario, case)
        if fail_fast and result.judgement.verdict in (Verdict.FAIL, Verdict.INFRA):
            halted.set()
        return result

    with Stop() as stop, ThreadPoolExecutor(jobs) as pool:
        stoppable = msgspec.structs.replace(campaign, stop=stop)
        try:  # Ctrl-C may come while cases are still handed out, and some live already
            futures = [pool.submit(live, *pair) for pair in cases if title_of(*pair) not in done]
            for future in as_they_end(futures):
                if result := future.result():
                    on_result(result)
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(cancel_futures=True)
            if campaign.history:
                campaign.history.interrupted()
            return False
    return True


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))
