"""A plugin of a guarded process, for a Hypothesis test that has ended one: its examples run in forks.

There a crash is an exception, so that Hypothesis finds it again, shrinks it, keeps it, and prints the failing example.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

NEEDED: Final = "6.131"  # the oldest that was tried
UNFIT: Final = "its examples are not shrunk: "

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Isolate the examples of this test."""
    session: Any = item.config.pluginmanager.getplugin("crash-guarded")
    with isolated_examples(session.deadline_s):
        return (yield)


@contextmanager
def isolated_examples(deadline_s: float | None) -> Iterator[None]:
    """Have Hypothesis run its examples in forks meanwhile, each for so long at most."""
    from hypothesis import __version__, core  # noqa: PLC0415 -- the test's own

    try:
        from harness.pytest_guard.examples import Examples, check_fit  # noqa: PLC0415 -- it needs Hypothesis

        check_fit()
    except ImportError:
        pytest.skip(f"{UNFIT}that takes Hypothesis {NEEDED} or later, and this is {__version__}")
    kind: Any = core.StateForActualGivenExecution
    once, begin = kind.execute_once, kind.__init__
    examples = Examples(once, deadline_s)

    def execute_once(state: object, data: object, **words: Any) -> None:
        __tracebackhide__ = True
        examples.execute_once(state, data, **words)

    kind.execute_once, kind.__init__ = execute_once, _patient(begin)
    try:
        yield
    finally:
        kind.execute_once, kind.__init__ = once, begin
        examples.end()


def _patient(begin: Any) -> Any:
    """Return a constructor that changes settings: a fork takes its time, and many more would explain nothing."""
    from hypothesis import HealthCheck, Phase, settings  # noqa: PLC0415 -- the test's own

    def patient(state: Any, *args: Any, **words: Any) -> None:
        begin(state, *args, **words)
        phases = tuple(one for one in state.settings.phases if one is not Phase.explain)
        checks = list(HealthCheck)
        state.settings = settings(state.settings, deadline=None, suppress_health_check=checks, phases=phases)

    return patient


def why_not(report: Any) -> str:
    """Return the reason why a Hypothesis of this version can't shrink a crash; empty where that is not what it says."""
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    return UNFIT + told.partition(UNFIT)[2] if UNFIT in told else ""


def can_shrink(item: pytest.Item) -> bool:
    """Whether a test is one of Hypothesis's: a function with @given, or a state machine."""
    return bool(getattr(getattr(item, "obj", None), "is_hypothesis_test", False))
