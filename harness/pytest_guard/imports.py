"""Supervised imports: a guarded process imports the test modules first; what kills it never comes to the parent."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from harness.exceptions import InfraError
from harness.pytest_guard import death as dead

if TYPE_CHECKING:
    from collections.abc import Generator

    from harness.pytest_guard.child import Death
    from harness.pytest_guard.processes import Processes


MOST_SAID: Final = 4000


class Imports:
    """The plugin that has a guarded process collect before the parent does."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._ended_in_order: Death | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Try to collect there, until all modules that end a process are known."""
        try:
            while (found := self._processes.try_to_collect()) is not None:
                where, death = found
                if death.finished is not None:  # a mistake that the parent will find too, and tell better
                    self._ended_in_order = death
                    return
                if where is None or not Path(where).is_file() or where in self._processes.poisoned:
                    refuse(death, where)
                self._processes.poisoned[where] = "\n".join(dead.lines(death, "import"))
        except InfraError as error:
            give_up(str(error))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Put a collection error in the place of a module that ends a process."""
        found = yield
        text = self._processes.poisoned.get(str(file_path))
        return found if text is None else [Poisoned.from_parent(parent, path=file_path, text=text)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Refuse to go on where the guarded process could not collect, and the parent could."""
        if self._ended_in_order is not None:
            refuse(self._ended_in_order, None)


class Poisoned(pytest.File):
    """A file whose import ends a process."""

    def __init__(self, *, text: str, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]  # pytest's own
        self._text = text

    def collect(self) -> NoReturn:
        """Say so."""
        raise self.CollectError(f"importing this module ended a process: {self._text}")


def refuse(death: Death, where: str | None) -> NoReturn:
    """End the session, once, where no guarded process comes up."""
    said = death.evidence.stderr.strip() or death.evidence.stdout.strip()
    at = f" while it collected {where}" if where else ""
    give_up(f"no guarded process comes up: {dead.headline(death)}{at}{_advice(said)}\n{said[-MOST_SAID:]}")


def _advice(said: str) -> str:
    """Say what to do where a plugin asks for what only the controller of xdist gives its workers."""
    key = re.search(r"workerinput\[[\"'](\w+)[\"']\]", said)
    if key is None:
        return ""
    asked = f"workerinput[{key[1]!r}]"
    return f"\na plugin asks for {asked}, which only xdist's controller sets: leave it out by -p no:ITS-NAME"


def give_up(why: str) -> NoReturn:
    """End the session with exit status 3. A worker of xdist's has no other way to say why than its standard error."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        sys.stderr.write(f"crash-guard: {why}\n")
        sys.stderr.flush()
    pytest.exit(f"crash-guard: {why}", 3)
