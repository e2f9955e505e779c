"""Signals at random moments and at each step: nothing left, nothing lost, always back. `make chaos` does many more."""

import os

import aimed
import chaos
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_hundred_kills_leave_nothing_and_lose_nothing() -> None:
    """SIGKILL of the supervisor at random: 0 orphans, nothing left, 0 acknowledged results lost, 0 unjournalled."""
    counts = chaos.chaos(int(os.environ.get("CHAOS_KILLS", "100")), seed=7)
    assert counts.started > counts.acknowledged > 0
    assert counts[2:] == (0, 0, 0, 0)


@pytest.mark.long
def test_a_hundred_signals_at_the_steps_of_a_life_leave_nothing() -> None:
    """SIGKILL, SIGSTOP and SIGCONT of supervisor, guard, parent and init: the true end or INFRA, and nothing left."""
    try:
        counts = aimed.shoot_all(int(os.environ.get("CHAOS_AIMED", "100")), seed=7)
    except PermissionError:
        pytest.skip("there is no ptrace")
    assert counts.sent > 0
    assert counts.true > counts.infra > 0
    assert counts[3:] == (0, 0, 0, 0, 0, 0)


def test_without_its_guards_the_chaos_finds_orphans() -> None:
    """The negative control: where the guards can't act, the victims of a dead supervisor live on, and are counted."""
    try:
        counts = chaos.kill_once(0.05, 3, patience_s=1, holds=True)
    except PermissionError:
        pytest.skip("there is no ptrace")
    assert counts.orphans
