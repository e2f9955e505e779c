"""What a window asked for when nothing was refused: every call in order, with its stack."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from harness.refusals import symbols
from harness.refusals.page import RawStack  # noqa: TC001 -- msgspec reads the annotations of records
from harness.refusals.stacks import BYTECODE, INTERPRETER, Place, Rules, Stack, file_name, kind_of, owner, site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.refusals.page import Page


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One call: what was asked for, of how many bytes, from which stack of the recording."""

    operation: str
    size: int
    stack: int


class Recording(msgspec.Struct, frozen=True):
    """All calls of a window. `raw` and `stacks` are the same stacks, by numbers of this page and by paths."""

    calls: tuple[Recorded, ...]
    raw: tuple[RawStack, ...]
    stacks: tuple[Stack, ...]
    overflowed: bool = False

    def like(self, other: Recording) -> bool:
        """Whether the same calls came in the same order."""
        return list(self.sequence()) == list(other.sequence())

    def sequence(self) -> Iterator[tuple[str, Stack]]:
        """Each call by what it is and where it came from."""
        return ((call.operation, self.stacks[call.stack]) for call in self.calls)


def read(page: Page) -> Recording:
    """Take the recording off a page."""
    modules, raw = page.modules(), page.stacks()
    stacks = tuple(placed(stack, modules) for stack in raw)
    calls = tuple(Recorded(one.operation, one.size, one.stack) for one in page.calls() if one.stack < len(raw))
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
        """For the library: of the one interpreter that a process has."""
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


def sites_of(recording: Recording, depth: int) -> list[str]:
    """The site of each stack, by its number."""
    return [site(stack, depth) for stack in recording.stacks]
