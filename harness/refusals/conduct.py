"""A sweep from its recording to its last trial: one host a job, sites dealt as they come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from harness.exceptions import InfraError
from harness.refusals import symbols
from harness.refusals.aim import Marksman
from harness.refusals.findings import find, key
from harness.refusals.preparation import Ready, prepare
from harness.refusals.stacks import file_name, module_of
from harness.refusals.targets import Plan, Target, choose, each_way
from harness.refusals.verdicts import UNPROVED

if TYPE_CHECKING:
    from harness.refusals.findings import Finding
    from harness.refusals.refusal import Refusal
    from harness.refusals.trial import Host


class Swept(NamedTuple):
    """All that a sweep has shown.

    `sites` of the recording, and `missed`: what was not refused there, or not in each way. `doubts` are reasons why
    nothing bad proves nothing. `builds` identifies the modules that are named, by file name.
    `again` has, by the key of a finding, how many of how many lives of its first refusal showed it.
    """

    refusals: list[Refusal]
    sites: int
    missed: list[Target]
    calls: int
    notes: list[str]
    doubts: list[str]
    builds: dict[str, str]
    interrupted: bool = False
    is_finished: bool = True  # not cut short by a time that was over
    again: dict[str, tuple[int, int]] = {}  # noqa: RUF012 -- never changed


SHOWN = 8
LIVES = 3  # of each finding's first refusal
MakeHost = Callable[[], "Host"]


class Tell:
    """Hears of a sweep under way; subclasses show it or keep it, and this one ignores all of it."""

    def begins(self, ready: Ready) -> None:
        """Hear that the recording is there."""

    def before(self, target: Target) -> list[Refusal] | None:  # noqa: ARG002 -- for those that know
        """Return what an earlier session has shown of a target, if it was tried then."""
        return None

    def refused(self, refusal: Refusal, done: int, total: int) -> None:
        """Hear of one more refusal, and of how many targets there are."""


def sweep(make_host: MakeHost, plan: Plan, tell: Tell) -> Swept:
    """Refuse what the plan asks for.

    Ctrl-C ends it early, with what was seen so far. Raises InfraError where there is nothing to sweep.
    """
    with closing(make_host()) as host:
        ready = prepare(host, plan)
        every = ready.targets(plan)
        chosen = choose(every, plan)
        if not chosen:
            raise InfraError(_absent(plan, every))
        targets = each_way(chosen, plan, lambda n: ready.recording.calls[n - 1].size)
        tell.begins(ready)
        course = _Course(make_host, plan, ready, targets, tell)
        course.run()
        return Swept(
            course.refusals(),
            len({(one.site, one.operation) for one in chosen}),
            course.missed(),
            len(every),
            list(dict.fromkeys([*host.notes, *ready.notes])),
            list(ready.doubts),
            _builds(course.refusals(), host.page.modules()),
            course.interrupted,
            course.is_finished,
            course.again,
        )


def _absent(plan: Plan, every: list[Target]) -> str:
    """Why the one refusal that was asked for can't be made."""
    if plan.site:
        return f"there is no site {plan.site} among its {len(every)} calls: the code or what it is given has changed"
    some = ", ".join(str(one.n) for one in every[:SHOWN])
    return f"call {plan.at} is none that may be refused; those are {some}{', …' if len(every) > SHOWN else ''}"


def debug(make_host: MakeHost, plan: Plan) -> str:
    """Live the one refusal of a plan under gdb, and return what that says."""
    with closing(make_host()) as host:
        ready = prepare(host, plan)
        targets = each_way(choose(ready.targets(plan), plan), plan, lambda n: ready.recording.calls[n - 1].size)
        return Marksman(make_host, plan, ready, ready).debug(targets[0])


def _builds(refusals: list[Refusal], modules: list[str]) -> dict[str, str]:
    named = {module_of(text) for one in refusals for text in one.refused + one.crash}
    return {file_name(path): symbols.build_id(path) for path in modules if file_name(path) in named}


class _Course:
    """The trials of a sweep, by as many workers as there are jobs."""

    def __init__(self, make_host: MakeHost, plan: Plan, ready: Ready, targets: list[Target], tell: Tell) -> None:
        self._make_host, self._plan, self._ready, self._targets = make_host, plan, ready, targets
        self._tell = tell
        self._left = deque(targets)
        self._found: dict[Target, list[Refusal]] = {}
        self._lock = threading.Lock()
        self._end_s = None if plan.time_s is None else time.monotonic() + plan.time_s
        self._failed: list[BaseException] = []
        self.interrupted = False
        self.again: dict[str, tuple[int, int]] = {}

    def run(self) -> None:
        """Live trials until no target is left, the time is over, or Ctrl-C."""
        others = [
            threading.Thread(target=self._work_apart) for _ in range(min(self._plan.jobs, len(self._targets)) - 1)
        ]
        for thread in others:
            thread.start()
        try:
            self._work(self._ready)
            self._live_again(find(self.refusals()))
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self._left.clear()
            for thread in others:
                thread.join()
        if self._failed:
            raise self._failed[0]

    def _work_apart(self) -> None:
        """Live trials as one more worker, with a host of its own."""
        try:
            with closing(self._make_host()) as host:
                self._work(prepare(host, self._plan))
        except BaseException as error:  # noqa: BLE001 -- raised again where the sweep ends
            self._failed.append(error)
            self._left.clear()

    def _work(self, ready: Ready) -> None:
        marksman = Marksman(self._make_host, self._plan, ready, self._ready)
        try:
            while (target := self._next()) is not None:
                seen = self._tell.before(target)
                for refusal in marksman.hit(target) if seen is None else seen:
                    self._keep(target, refusal, is_new=seen is None)
        finally:
            marksman.close()

    def _live_again(self, findings: list[Finding]) -> None:
        """Live the first refusal of each finding a few times more: what depends on the heap may not come again."""
        with closing(Marksman(self._make_host, self._plan, self._ready, self._ready)) as marksman:
            for finding in findings:
                if not finding.is_unproved:
                    self.again[finding.key] = self._seen_again(marksman, finding)

    def _seen_again(self, marksman: Marksman, finding: Finding) -> tuple[int, int]:
        seen = lives = 1
        while lives < LIVES and not self._is_over():
            lives += 1
            seen += any(key(refusal) == finding.key for refusal in marksman.hit(finding.first.target))
        return seen, lives

    def _is_over(self) -> bool:
        return self._end_s is not None and time.monotonic() >= self._end_s

    def _next(self) -> Target | None:
        if self._is_over():
            return None
        with suppress(IndexError):
            return self._left.popleft()
        return None

    def _keep(self, target: Target, refusal: Refusal, *, is_new: bool) -> None:
        with self._lock:
            self._found.setdefault(target, []).append(refusal)
            if is_new:
                self._tell.refused(refusal, len(self._found), len(self._targets))

    @property
    def is_finished(self) -> bool:
        """Whether every target has had its turn."""
        return len(self._found) == len(self._targets)

    def refusals(self) -> list[Refusal]:
        """Return the refusals in the order of the targets, whatever the order in which they were tried."""
        return [refusal for target in self._targets for refusal in self._found.get(target, ())]

    def missed(self) -> list[Target]:
        """The first target of each way of each site in which nothing was refused as it should be."""
        hit = {_way(one) for one, found in self._found.items() if any(each.verdict not in UNPROVED for each in found)}
        return list({_way(one): one for one in reversed(self._targets) if _way(one) not in hit}.values())[::-1]


def _way(target: Target) -> tuple[str, str, str, str]:
    return target.site, target.operation, target.mode, target.error
