"""A plugin of a guarded process, for a Hypothesis test that has ended one: each example in a fork of its own.

There a crash is an exception, so that Hypothesis finds it again, shrinks it, keeps it, and prints the failing example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.isolation import isolated

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Isolate the examples of this test."""
    from hypothesis import HealthCheck, settings  # noqa: PLC0415 -- the test's own

    test = function_of(item)
    inner, asked = test.hypothesis.inner_test, test._hypothesis_internal_use_settings  # noqa: SLF001 -- no public name
    test.hypothesis.inner_test = isolated(inner)  # documented for plugins that run tests in another way
    slower = settings(asked, deadline=None, suppress_health_check=list(HealthCheck))  # a fork takes its time
    test._hypothesis_internal_use_settings = slower  # noqa: SLF001 -- as above
    try:
        return (yield)
    finally:
        test.hypothesis.inner_test, test._hypothesis_internal_use_settings = inner, asked  # noqa: SLF001 -- as above


def function_of(item: pytest.Item) -> Any:
    """Return the function below a method."""
    test = getattr(item, "obj", None)
    return getattr(test, "__func__", test)


def can_shrink(item: pytest.Item) -> bool:
    """Whether a test is one of Hypothesis's with a function for one example."""
    return hasattr(getattr(function_of(item), "hypothesis", None), "inner_test")
