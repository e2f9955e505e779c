"""The cause "bad host, the retry lands elsewhere", for real: the hosts are workers, and one is bad by itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest
from elsewhere import own
from msgspec.structs import replace

from harness.dialects import BUILT_IN
from harness.engine.executor import Bounds
from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.host import BAD_BIT, Lived
from harness.experiments.hosts import hosts_on
from harness.experiments.where import Where, read_where
from harness.scenarios.campaign import Campaign, Result
from harness.scenarios.schema import HostsSpec, Scenario, load, shipped
from harness.scenarios.verdict import Verdict

pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster`")
from clusters import Here

BAD_HOST = load(shipped() / "bad-host.toml")
CASE = BAD_HOST.case[0]
HOST = "harness.experiments.host"
LANDS_ELSEWHERE = [
    [("host-a", "forced", "SIGSEGV"), ("host-b", "safe", "exited 0")],
    [("host-b", "safe", "exited 0")],
]


def results_on(where: Where, scenario: Scenario = BAD_HOST) -> list[Result]:
    """Live the cases there."""
    with hosts_on(where, [scenario]) as elsewhere:
        campaign = Campaign(BUILT_IN["upstream-4.8"], elsewhere=elsewhere)
        return [campaign.live(scenario, case) for case in scenario.case]


def ends(results: Sequence[Result]) -> list[list[tuple[str | None, str | None, str]]]:
    """Host, what that host injected, and how it ended, by attempts."""
    runs = [result.run for result in results if result.run]
    return [[(one.host, one.injected, str(one.evidence.termination)) for one in run.attempts] for run in runs]


class Struck:
    """A journal that strikes as an attempt is about to be sent."""

    def __init__(self, strike: Callable[[], object]) -> None:
        self._strike = strike

    def started(self) -> None:
        """Strike."""
        self._strike()

    def kill_intent(self, *_: object) -> None:
        """No signal is sent from here."""


def lost(where: Where, strike: Callable[[], object]) -> str:
    """Live an attempt on the bad host, strike, and say what came of the next one there."""
    with hosts_on(where, [BAD_HOST]) as elsewhere:
        assert elsewhere
        executor = elsewhere(CASE, None, lambda number: Struck(strike if number > 1 else int))
        assert executor.live(1, Bounds(timeout_s=20)).injected == "forced"
        with pytest.raises(InfraError) as raised:
            executor.live(3, Bounds(timeout_s=20))
    return str(raised.value)


@pytest.mark.slow
def test_processes_of_this_machine_are_the_hosts() -> None:
    """The bad one crashes the attempt, the retry lands on the other and succeeds, and none is left."""
    results = results_on(Where(workers=2))
    assert [result.judgement.verdict for result in results] == [Verdict.PASS, Verdict.PASS]
    assert ends(results) == LANDS_ELSEWHERE
    assert own(HOST) == []


@pytest.mark.slow
def test_a_process_that_is_killed_is_nobodys_crash() -> None:
    """Its attempt is INFRA, and says which host."""

    def strike() -> None:
        for one in own(HOST):
            one.kill()
            one.wait()

    assert lost(Where(workers=2), strike).startswith("host host-a: it was lost with an attempt")
    assert own(HOST) == []


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A scheduler, a worker that was started with the bad bit, and one that was not."""
    with ExitStack() as stack:
        made = Here(tmp_path_factory.mktemp("hosts"), stack)
        made.start_worker("--name", "host-a", **{BAD_BIT: "1"})
        made.start_worker("--name", "host-b")
        made.wait_for(2)
        yield made


@pytest.mark.long
@pytest.mark.slow
def test_workers_of_a_cluster_are_the_hosts(here: Here) -> None:
    """By their names; the crash comes from the worker that has the bit, and no one told it to crash."""
    results = results_on(read_where(here.where))
    assert [result.judgement.verdict for result in results] == [Verdict.PASS, Verdict.PASS]
    assert ends(results) == LANDS_ELSEWHERE


@pytest.mark.long
@pytest.mark.slow
def test_hosts_are_as_they_were_started(here: Here) -> None:
    """A scenario that takes the other one for bad fails, and a name that no worker has is said."""
    swapped = replace(BAD_HOST, case=(replace(CASE, hosts=HostsSpec(("host-b", "host-a"), "host-b")),))
    found = results_on(read_where(here.where), swapped)
    assert (found[0].judgement.verdict, ends(found)) == (Verdict.FAIL, [[("host-b", "safe", "exited 0")]])
    unknown = replace(BAD_HOST, case=(replace(CASE, hosts=HostsSpec(("host-c",), "host-c")),))
    with pytest.raises(InvalidInputError, match=r"no worker is called host-c; .* there are host-a, host-b"):
        results_on(read_where(here.where), unknown)


@pytest.mark.long
@pytest.mark.slow
def test_a_worker_that_is_killed_is_nobodys_crash(here: Here) -> None:
    """The last test of this cluster: its attempt is INFRA, and says which host."""

    def strike() -> None:
        here.workers[0].kill()
        here.workers[0].wait()

    assert lost(read_where(here.where), strike) == "host host-a: it was lost with an attempt"


def test_what_no_worker_can_be_is_said() -> None:
    """A case without hosts, and fewer processes than hosts."""
    race = load(shipped() / "native-addon-race.toml")
    for where, scenario, text in (
        (Where(workers=2), race, r"native-addon-race\[\S+\] has no \[hosts\]"),
        (Where(workers=1), BAD_HOST, "expected local:2 or more, for the hosts host-a, host-b"),
    ):
        with pytest.raises(InvalidInputError, match=text), hosts_on(where, [scenario]):
            pass


def test_what_a_host_could_not_do_is_infra() -> None:
    """And what was asked wrongly is wrong use."""
    with pytest.raises(InfraError, match="no cgroup"):
        Lived(failed="no cgroup").checked()
    with pytest.raises(InvalidInputError, match="no such fault"):
        Lived(wrong="no such fault").checked()
