"""The guarded processes of a session, one after the other: which test goes to which, and how each ends."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.evidence import EndedBy, Exited
from harness.exceptions import InfraError
from harness.pytest_guard import death as dead
from harness.pytest_guard import forking, leftovers
from harness.pytest_guard.attempt import Attempt, Missing, Outcome
from harness.pytest_guard.channel import ChannelClosed
from harness.pytest_guard.child import Child, Death
from harness.pytest_guard.orders import orders
from harness.pytest_guard.reports import completed, failed
from harness.pytest_guard.settings import EXCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from harness.pytest_guard.settings import Settings, Wish

STARTS: Final = 3
MOST_WATCHED_S: Final = 3.0
MISSING: Final = (
    "the guarded process did not collect this test. Its id differs from one process to the next: is it made of a set,"
    " an object's address, the time or a random number? Give the parameters ids= that stay"
)
Key = tuple[str, ...]


class Processes:
    """At most one guarded process at a time."""

    def __init__(self, session: pytest.Session, settings: Settings, wishes: Mapping[pytest.Item, Wish]) -> None:
        self._session, self._settings, self._wishes = session, settings, wishes
        self.poisoned: dict[str, str] = {}
        self._child: Child | None = None
        self._key: tuple[Key, int | None] | None = None  # None: it has collected everything, and run nothing
        self._last: pytest.Item | None = None
        self._discard = ""
        self._seeds: dict[pytest.Item, int] = {}
        self._names: dict[pytest.Item, tuple[str, int]] = {}

    def know(self, items: Sequence[pytest.Item]) -> None:
        """Name each test as the guarded process does: by its id, and by which of that id it is."""
        seen: defaultdict[str, int] = defaultdict(int)
        is_grouped = self._session.config.getoption("loadgroup", None)
        for item in items:
            grouped = is_grouped and item.get_closest_marker("xdist_group")
            nodeid = item.nodeid.rpartition("@")[0] if grouped else item.nodeid
            self._names[item] = (nodeid, seen[nodeid])
            seen[nodeid] += 1

    # --- the start ---

    def try_to_collect(self) -> tuple[str | None, Death] | None:
        """Start a process that collects all. Return where it died and how, or None when it has collected."""
        self._start(None, self._settings.memory)
        assert self._child is not None  # noqa: S101 -- for the type checker
        where = None
        try:
            while (message := self._child.receive())[0] != "collected":
                where = message[1]["path"] if message[0] == "collecting" else where
        except ChannelClosed:
            child, self._child = self._child, None
            return where, child.end()
        except KeyboardInterrupt:
            self._child.interrupt()
            raise
        return None

    def _start(self, only: Path | None, memory: int | None) -> None:
        self._child, self._key = self._started(only, memory), None

    def _started(self, only: Path | None, memory: int | None) -> Child:
        told = orders(self._session.config, only, self.poisoned)
        return Child(told, memory, backtrace=self._settings.backtrace)

    def _ready(self, item: pytest.Item, memory: int | None) -> Child:
        """Return a process for a test: the one that there is, or a fresh one."""
        key = (self._place(item), memory)
        fits = self._key == key or (self._key is None and self._child is not None and self._child.memory == memory)
        if self._child is None or not fits:
            self.close()
            whole = self._place(item)[0] in {"session", "fork"} or not Path(item.path).is_file()
            self._start(None if whole else Path(item.path), memory)
        self._key = key
        assert self._child is not None  # noqa: S101 -- for the type checker
        return self._child

    def _place(self, item: pytest.Item) -> Key:
        """Name the place of a test: tests of one place may share a process."""
        wish = self._wishes[item]
        if wish.scope == "session":
            return ("session",)
        if wish.scope == "fork":
            return ("fork",)
        return ("module", str(item.path)) if wish.scope == "module" else ("test", *map(str, self._names[item]))

    # --- the run ---

    def run(
        self, item: pytest.Item, nextitem: pytest.Item | None, wish: Wish, memory: int | None, plugin: str = ""
    ) -> Outcome:
        """Run one attempt of a test, with one more plugin if it is named. Raises InfraError where nothing comes up."""
        order = self._order(item, None if self._ends_with(item, nextitem) else nextitem, plugin)
        why = ""
        for _ in range(STARTS):
            child = self._ready(item, memory)
            try:
                outcome = Attempt(item, child, wish.deadline_s, in_fork=bool(order["fork"])).live(order)
            except Missing:
                return Outcome(completed(item, [failed(item, "setup", MISSING)]))
            death = outcome.death
            if outcome.lives or death is None:
                child.ran.append(item)
                self._last, self._discard = item, outcome.discard
                return outcome
            self._child = None
            outcome.before, outcome.lived_s = child.ran, time.monotonic() - (child.began_s or time.monotonic())
            if not outcome.idle:
                return outcome
            if child.ran:
                self._report(death, "between tests")
            why = f"{dead.headline(death)}\n{death.evidence.stderr}"
        raise InfraError(f"no guarded process comes up: {why}")

    def _order(self, item: pytest.Item, following: pytest.Item | None, plugin: str) -> dict[str, Any]:
        return {
            "item": self._names[item],
            "next": None if following is None else self._names[following],
            "seed": self._seeds.setdefault(item, secrets.randbits(64)),
            "plugin": plugin,
            "fork": forking.__name__ if self._wishes[item].scope == "fork" else "",
            "failures_left": self._failures_left(),
        }

    def _failures_left(self) -> int:
        """After how many more failures the session stops, which then has to end all fixtures; 0 is never."""
        most: int = self._session.config.getoption("maxfail")
        is_final = EXCEPTIONS not in self._settings.retry_on
        return max(0, most - self._session.testsfailed) if most and is_final else 0

    def trial(self, tests: Sequence[pytest.Item], lived_s: float) -> Death | None:
        """Run tests in a fresh process, with reports to nobody. Return the death that it dies of itself, if it does.

        A process that outlives them is watched for a while: for as long as the one lived that died, but a few seconds.
        """
        self.close()
        files = {str(item.path) for item in tests}
        one_file = tests[-1].path if len(files) == 1 and tests[-1].path.is_file() else None
        child = self._started(one_file, self._wishes[tests[-1]].memory)
        child.is_shown = False
        until_s = time.monotonic() + min(lived_s, MOST_WATCHED_S)
        for item, following in zip(tests, [*tests[1:], None], strict=True):
            try:
                order = self._order(item, following, "") | {"failures_left": 0}
                outcome = Attempt(item, child, self._wishes[item].deadline_s, is_heard=False).live(order)
            except Missing:
                continue
            if outcome.death is not None:
                return outcome.death if outcome.death.evidence.ended_by is EndedBy.SELF else None
        child.dies_within(until_s - time.monotonic())
        death, in_order = self._parted(child)
        return None if in_order else death

    def _ends_with(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Whether a process has nothing to run after this test."""
        if nextitem is None:
            return True
        if nextitem not in self._wishes:
            return self._place(item)[0] == "test"
        both = (self._place(item), self._wishes[item].memory), (self._place(nextitem), self._wishes[nextitem].memory)
        return both[0] != both[1]

    def settle(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """End the process that has nothing more to run, or is poisoned, when its last test has been reported."""
        if self._discard or self._ends_with(item, nextitem):
            self.close()

    # --- the end ---

    def close(self) -> None:
        """Have the process end itself, and report a crash that it dies of then."""
        child, self._child, self._discard = self._child, None, ""
        if child is None:
            return
        death, in_order = self._parted(child)
        if not in_order:
            self._report(death, "process exit" if death.finished is not None else "session teardown")

    def _parted(self, child: Child) -> tuple[Death, bool]:
        """Have a process end itself. Return how it ended, and whether as it should."""
        try:
            child.send("end")
            while True:
                word, more = child.receive()
                if word == "screen" and child.is_shown:
                    self._session.config.get_terminal_writer().write(more["text"], flush=True)
        except ChannelClosed:
            pass
        except KeyboardInterrupt:
            child.interrupt()
            raise
        death = child.end()
        return death, death.finished is not None and death.evidence.termination == Exited(death.finished & 0xFF)

    def _report(self, death: Death, when: str) -> None:
        if self._last is not None:
            leftovers.report(self._last, death, when, self._settings.at_exit)

    def abandon(self) -> None:
        """Kill the process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.end()
