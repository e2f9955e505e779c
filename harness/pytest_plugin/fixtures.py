"""What the fixtures do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from harness.api import run
from harness.dialects.custom import opened
from harness.exceptions import InvalidInputError
from harness.faults.shot import Fault, check_limits
from harness.pytest_plugin.items import dialect_of
from harness.scenarios.campaign import Campaign, Result
from harness.scenarios.select import select
from harness.supervisor import Limits, check_timeout, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

    from harness.engine.loop import Run
    from harness.evidence import Evidence

DEADLINE_S = 30.0
NO_LIMITS = Limits()


def fire_fault(
    fault: str,
    mode: str = "forced",
    *,
    limits: Limits = NO_LIMITS,
    deadline_s: float = DEADLINE_S,
    **parameters: int,
) -> Evidence:
    """Fire one shot in a fresh victim. Raises InvalidInputError for what the catalogue does not offer."""
    check_timeout(deadline_s, "deadline_s")
    check_limits(fault, limits)
    return supervise(Fault(fault, mode, parameters), limits, deadline_s)


def supervise_command(argv: Sequence[str], *, limits: Limits = NO_LIMITS, deadline_s: float = DEADLINE_S) -> Evidence:
    """Run a command once."""
    check_timeout(deadline_s, "deadline_s")
    return supervise(argv, limits, deadline_s)


def scenario_runner(config: pytest.Config) -> Callable[..., Result]:
    """Return what runs one case under the dialect that the command line of pytest names."""
    default = dialect_of(config)

    def live(name: Path | str, case: str | None = None, *, dialect: str = default, seed: int | None = None) -> Result:
        (scenario,) = select([str(name)], case)
        if len(scenario.case) > 1:
            known = ", ".join(one.name for one in scenario.case)
            raise InvalidInputError(f"{name}: which case? there are {known}")
        with opened(dialect) as chosen:
            return Campaign(chosen, seed).live(scenario, scenario.case[0])

    return live


def job_runner(config: pytest.Config) -> Callable[..., Run]:
    """Return harness.run with the dialect and seed of pytest's command line."""
    seed = config.getoption("--crash-seed") or 0
    return partial(run, dialect=dialect_of(config), seed=seed, timeout_s=DEADLINE_S)
