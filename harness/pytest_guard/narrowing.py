"""Which of the tests that ran before one make it crash: the smallest list that does, by delta debugging."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def smallest(tests: Sequence[T], crashes: Callable[[Sequence[T]], bool], most: int) -> tuple[list[T], bool]:
    """Narrow down `tests`, which are known to crash, to as few as still do, asking `crashes` at most so often.

    Return them with whether it came to an end: then none of them can be left out. For one culprit among n that takes
    about 1.5 log2(n) questions.
    """
    kept, parts = list(tests), 2
    while len(kept) > 1:
        for fewer, next_parts in _choices(kept, min(parts, len(kept))):
            if most == 0:
                return kept, False
            most -= 1
            if crashes(fewer):
                kept, parts = fewer, next_parts
                break
        else:
            if parts >= len(kept):
                break
            parts *= 2
    return kept, True


def _choices(kept: list[T], parts: int) -> list[tuple[list[T], int]]:
    """Return what to try of a list in so many parts: each part alone, the latest first; then all but each."""
    bounds = [len(kept) * part // parts for part in range(parts + 1)]
    spans = list(pairwise(bounds))[::-1]
    alone = [(kept[start:stop], 2) for start, stop in spans]
    without = [(kept[:start] + kept[stop:], max(2, parts - 1)) for start, stop in spans] if parts > 2 else []  # noqa: PLR2004 -- the halves again
    return alone + without
