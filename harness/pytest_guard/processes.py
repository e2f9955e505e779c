"""The guarded processes of a session, one after the other: which test goes to which, and how each ends."""

from __future__ import annotations

import secrets
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.evidence import Exited
from harness.exceptions import InfraError
from harness.pytest_guard import death as dead
from harness.pytest_guard import leftovers
from harness.pytest_guard.attempt import Attempt, Missing, Outcome
from harness.pytest_guard.channel import ChannelClosed
from harness.pytest_guard.child import Child, Death
from harness.pytest_guard.orders import orders
from harness.pytest_guard.reports import completed, failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from harness.pytest_guard.settings import Settings, Wish

STARTS: Final = 3
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
        told = orders(self._session.config, only, self.poisoned)
        self._child = Child(told, memory, backtrace=self._settings.backtrace)
        self._key = None

    def _ready(self, item: pytest.Item, memory: int | None) -> Child:
        """Return a process for a test: the one that there is, or a fresh one."""
        key = (self._place(item), memory)
        fits = self._key == key or (self._key is None and self._child is not None and self._child.memory == memory)
        if self._child is None or not fits:
            self.close()
            whole = self._place(item)[0] == "session" or not Path(item.path).is_file()
            self._start(None if whole else Path(item.path), memory)
        self._key = key
        assert self._child is not None  # noqa: S101 -- for the type checker
        return self._child

    def _place(self, item: pytest.Item) -> Key:
        """Name the place of a test: tests of one place may share a process."""
        wish = self._wishes[item]
        if wish.scope == "session":
            return ("session",)
        return ("module", str(item.path)) if wish.scope == "module" else ("test", *map(str, self._names[item]))

    # --- the run ---

    def run(
        self, item: pytest.Item, nextitem: pytest.Item | None, wish: Wish, memory: int | None, plugin: str = ""
    ) -> Outcome:
        """Run one attempt of a test, with one more plugin if it is named. Raises InfraError where nothing comes up."""
        is_last = self._ends_with(item, nextitem)
        order: dict[str, Any] = {
            "item": self._names[item],
            "next": None if is_last or nextitem is None else self._names[nextitem],
            "seed": self._seeds.setdefault(item, secrets.randbits(64)),
            "plugin": plugin,
        }
        why = ""
        for _ in range(STARTS):
            child = self._ready(item, memory)
            try:
                outcome = Attempt(item, child, wish.deadline_s).live(order)
            except Missing:
                return Outcome(completed(item, [failed(item, "setup", MISSING)]))
            if outcome.death is None:
                child.ran, self._last = child.ran + 1, item
                self._discard = outcome.discard
                return outcome
            self._child, death = None, outcome.death
            if not outcome.idle:
                return outcome
            if child.ran:
                self._report(death, "between tests")
            why = f"{dead.headline(death)}\n{death.evidence.stderr}"
        raise InfraError(f"no guarded process comes up: {why}")

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
        try:
            child.send("end")
            while True:
                word, more = child.receive()
                if word == "screen":
                    self._session.config.get_terminal_writer().write(more["text"], flush=True)
        except ChannelClosed:
            pass
        except KeyboardInterrupt:
            child.interrupt()
            raise
        death = child.end()
        if death.finished is None or death.evidence.termination != Exited(death.finished & 0xFF):
            self._report(death, "process exit" if death.finished is not None else "session teardown")

    def _report(self, death: Death, when: str) -> None:
        if self._last is not None:
            leftovers.report(self._last, death, when, self._settings.at_exit)

    def abandon(self) -> None:
        """Kill the process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.end()
