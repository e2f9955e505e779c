"""Says who made a call: by the stacks of the recording, and by symbols that tell bytecode from what it calls."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.refusals import symbols
from harness.refusals.recording import Recording
from harness.refusals.stacks import BYTECODE, INTERPRETER, Place, RawStack, Rules, Stack, file_name, kind_of, owner

if TYPE_CHECKING:
    from harness.refusals.page import Page


def read(page: Page) -> Recording:
    """Take the recording off a page."""
    modules, raw = page.modules(), page.stacks()
    stacks = tuple(placed(stack, modules) for stack in raw)
    calls = tuple(one for one in page.calls() if one.stack < len(raw))
    return Recording(calls, tuple(raw), stacks, page.overflowed())


def placed(stack: RawStack, modules: list[str]) -> Stack:
    """Replace the numbers of modules by their paths."""
    return tuple((modules[number] if number < len(modules) else "?", offset) for number, offset in stack)


def bytecode(modules: list[str]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Where each interpreter among the modules runs bytecode."""
    found = [path for path in modules if INTERPRETER.match(file_name(path))]
    return {path: tuple(symbols.spans(path, BYTECODE)) for path in found}


class Ownership:
    """Who asked for a call, by the rules of a sweep."""

    def __init__(self, rules: Rules, modules: list[str]) -> None:
        self._rules, self._spans = rules, bytecode(modules)

    def of(self, stack: Stack) -> str:
        """Path of the module that asked; empty where bytecode did."""
        return owner(stack, self.kind, self._runs_bytecode)

    def kind(self, path: str) -> str:
        """How a module counts."""
        return kind_of(path, self._rules)

    def spans(self) -> tuple[tuple[int, int], ...]:
        """Return, for the library, where the one interpreter of the process runs bytecode."""
        return next(iter(self._spans.values()), ())

    def _runs_bytecode(self, place: Place) -> bool:
        return any(start <= place[1] < end for start, end in self._spans.get(place[0], ()))

    def owns(self, stack: Stack) -> bool:
        """Whether a call from there may be refused."""
        path = self.of(stack)
        return bool(path) and self.kind(path) == "owner"


def askers(recording: Recording, ownership: Ownership) -> Counter[str]:
    """How many calls each module asked for; bytecode is called "the interpreter"."""
    names = [file_name(ownership.of(stack)) or "the interpreter" for stack in recording.stacks]
    return Counter(names[call.stack] for call in recording.calls)
