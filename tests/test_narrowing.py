"""Which tests make another crash: the search, on lists of numbers."""

from collections.abc import Sequence

import pytest

from harness.pytest_guard.narrowing import smallest


@pytest.mark.parametrize("culprits", [{0}, {99}, {41}, {3, 4}, {0, 99}, {7, 50, 93}])
def test_the_culprits_are_found(culprits: set[int]) -> None:
    """All of them and nothing else, in their order."""
    found, is_least = smallest(range(100), lambda some: culprits <= set(some), 1000)
    assert (found, is_least) == (sorted(culprits), True)


def test_one_culprit_takes_few_questions() -> None:
    """At most twice the logarithm."""
    asked: list[Sequence[int]] = []

    def crashes(some: Sequence[int]) -> bool:
        asked.append(some)
        return 1 in some

    assert smallest(range(1024), crashes, 1000)[0] == [1]
    assert len(asked) <= 20


def test_a_search_that_takes_too_long_says_so() -> None:
    """With what it has so far."""
    found, is_least = smallest(range(100), lambda some: {1, 98} <= set(some), 3)
    assert not is_least
    assert {1, 98} <= set(found)
