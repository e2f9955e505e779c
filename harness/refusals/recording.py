"""What a window asked for when nothing was refused: every call in order, with its stack. Values in, values out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.refusals.stacks import RawStack, Stack, site

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One call: what was asked for, of how many bytes, from which stack of the recording, by its number."""

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


def sites_of(recording: Recording, depth: int) -> list[str]:
    """The site of each stack, by its number."""
    return [site(stack, depth) for stack in recording.stacks]
