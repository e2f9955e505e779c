"""A crash is confirmed: the test that was blamed runs again alone; then, if need be, after fewer and fewer others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.evidence import EndedBy, Signaled
from harness.pytest_guard.narrowing import smallest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from harness.pytest_guard.attempt import Outcome
    from harness.pytest_guard.child import Death

    Trial = Callable[[Sequence[pytest.Item]], Death | None]

MOST_TRIALS: Final = 40
BROKEN_HEAP: Final = re.compile(
    r"(malloc|free|realloc|munmap_chunk|malloc_consolidate|corrupted|double free|invalid (pointer|size|chunk))\b"
)


def is_doubtful(outcome: Outcome) -> bool:
    """Whether something that an earlier test has left may be the cause: its thread, or the heap that it broke."""
    death = outcome.death
    if death is None or not isinstance(death.evidence.termination, Signaled):
        return False
    fault = death.evidence.fault
    threads = (fault.thread if fault else None, death.main_thread)
    in_other_thread = None not in threads and threads[0] != threads[1]
    return in_other_thread or (death.evidence.termination.signal == "SIGABRT" and _says_heap_is_broken(death))


def _says_heap_is_broken(death: Death) -> bool:
    said = [death.evidence.stderr, *(text for _, text in death.output)]
    return any(BROKEN_HEAP.match(line) for text in said for line in text.splitlines())


def can_confirm(outcome: Outcome) -> bool:
    """Whether it is a crash at all. A time-out is not one, nor is a kill by somebody else."""
    death = outcome.death
    return death is not None and death.evidence.ended_by is EndedBy.SELF and not death.evidence.memory.oom_kills


def confirmed(item: pytest.Item, before: Sequence[pytest.Item], trial: Trial) -> str:
    """Say whether a test crashes alone, or only after which others. `trial` runs tests in a fresh process."""
    if not before:
        return "it crashes alone: nothing had run before it in its process"
    if trial([item]) is not None:
        return "it crashes alone too"
    if trial([*before, item]) is None:
        return f"it passed alone, and after the same {_tests(len(before))} too: it crashes only now and then"
    culprits, is_least = smallest(before, lambda some: trial([*some, item]) is not None, MOST_TRIALS)
    names = ", ".join(one.nodeid for one in culprits)
    more = "" if is_least else f" (given up after {MOST_TRIALS} runs: fewer may do)"
    return f"it passed alone, and crashes only after others: {names}{more}"


def _tests(number: int) -> str:
    return f"{number} test{'' if number == 1 else 's'}"
