"""Runs of scenarios whose `hosts` are real workers: attempts go round them, and one of them is bad by itself."""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from harness.engine.loop import Life
from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.host import Errand, Lived, live_here
from harness.experiments.scheduler import connect, usable
from harness.scenarios.campaign import LOOK_UP_S, title_of
from harness.scenarios.live import host_of
from harness.scenarios.schema import Case  # noqa: TC001 -- msgspec reads the annotations of OnHosts
from harness.supervisor.dialogue import Dialogue, DialogueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.engine.executor import Bounds, Executor
    from harness.experiments.where import Where
    from harness.scenarios.live import Elsewhere
    from harness.scenarios.schema import HostsSpec, Scenario
    from harness.supervisor import Journal, Stop

COMMAND: Final = (sys.executable, "-m", "harness.experiments.host")
PATIENCE_S: Final = 1e6  # an attempt is bounded by its own deadline, and a host that is gone is noticed at once


class Hosts(Protocol):
    """Who lives attempts in our place."""

    def send(self, spec: HostsSpec, name: str, line: bytes) -> Future[bytes]:
        """Have the host of this name live what the line asks for."""

    def is_there(self, name: str) -> bool:
        """Whether the host still is: an answer of one that is gone is waited for in vain."""

    def close(self) -> None:
        """End the hosts that are ours."""


class LocalHosts:
    """A worker process of this machine for each host that a case names. The one called `bad` is started as such."""

    def __init__(self) -> None:
        self._hosts = dict[tuple[str, bool], Dialogue]()
        self._pool = ThreadPoolExecutor()

    def send(self, spec: HostsSpec, name: str, line: bytes) -> Future[bytes]:
        """Ask it on a thread; a host lives one attempt at a time."""
        bad = name == spec.bad
        host = self._hosts.setdefault((name, bad), Dialogue((*COMMAND, *(["bad"] if bad else [])), PATIENCE_S))
        return self._pool.submit(host.ask, line)

    def is_there(self, _: str) -> bool:
        """One that is gone has answered that by itself."""
        return True

    def close(self) -> None:
        """End them, and what they live."""
        for host in list(self._hosts.values()):
            host.cancel()
        self._pool.shutdown(cancel_futures=True)
        for host in self._hosts.values():
            host.close()


class ClusterHosts:
    """Workers of a Dask cluster that are called as the scenario's hosts: `dask worker --name host-a`."""

    def __init__(self, where: Where, needs: Sequence[str], names: Sequence[str]) -> None:
        self._client = connect(where)
        try:
            self._addresses = _named(usable(self._client, where, needs), names, where)
        except BaseException:
            self._client.close()
            raise

    def send(self, _: HostsSpec, name: str, line: bytes) -> Future[bytes]:
        """Send it to that worker alone."""
        answer = Future[bytes]()
        sent = self._client.submit(live_here, line, workers=[self._addresses[name]], pure=False)
        sent.add_done_callback(lambda done: _deliver(done, answer))
        return answer

    def is_there(self, name: str) -> bool:
        """Whether the scheduler still has it."""
        return self._addresses[name] in self._client.nthreads()

    def close(self) -> None:
        """Leave. What a worker has begun ends there, at its deadline at the latest."""
        self._client.close()


def _named(called: dict[str, str], names: Sequence[str], where: Where) -> dict[str, str]:
    """Find the workers of these names. Raises InvalidInputError for a name that none has."""
    addresses = {name: address for address, name in called.items()}
    if missing := [name for name in names if name not in addresses]:
        there = ", ".join(sorted(addresses))
        raise InvalidInputError(
            f"--on: {where.address}: no worker is called {missing[0]}; expected one of "
            f"`dask worker --name {missing[0]}`, and there are {there}"
        )
    return {name: addresses[name] for name in names}


def _deliver(done: Any, answer: Future[bytes]) -> None:
    try:
        answer.set_result(done.result())
    except Exception as error:  # noqa: BLE001 -- it goes to whoever waits
        answer.set_exception(error)


class OnHosts(msgspec.Struct, frozen=True):
    """The executor of a case whose hosts are real. Raises InfraError where one is lost with an attempt."""

    case: Case
    hosts: Hosts
    stop: Stop | None
    journal: Callable[[int], Journal] | None

    def live(self, number: int, bounds: Bounds) -> Life:
        """Send the attempt to the host whose turn it is."""
        spec, name, victim, limits = (
            self.case.hosts,
            host_of(self.case, number) or "",
            self.case.victim,
            self.case.limits,
        )
        errand = Errand(
            victim.fault, victim.values(), bounds.limits, bounds.timeout_s, limits.containment, limits.observe
        )
        if self.journal:
            self.journal(number).started()
        if spec is None:
            raise InvalidInputError(f"{self.case.name}: expected [hosts]")
        answer = self._awaited(self.hosts.send(spec, name, msgspec.json.encode(errand)), name)
        evidence, injected = msgspec.json.decode(answer, type=Lived).checked()
        return Life(evidence, name, injected)

    def _awaited(self, answer: Future[bytes], name: str) -> bytes:
        while not wait([answer], LOOK_UP_S).done:
            if self.stop and self.stop.is_set():
                raise InfraError(f"host {name}: interrupted")
            if not self.hosts.is_there(name):
                raise InfraError(f"host {name}: it was lost with an attempt")
        try:
            return answer.result()
        except (DialogueError, InfraError) as error:
            raise InfraError(f"host {name}: it was lost with an attempt: {error}") from error
        except Exception as error:
            raise InfraError(f"host {name}: {type(error).__name__}: {error}") from error


@contextmanager
def hosts_on(where: Where | None, scenarios: Sequence[Scenario]) -> Iterator[Elsewhere | None]:
    """Yield what makes executors of cases; None without --on. Raises InvalidInputError for a case without hosts."""
    if where is None:
        yield None
        return
    pairs = [(scenario, case) for scenario in scenarios for case in scenario.case]
    if without := [title_of(*pair) for pair in pairs if pair[1].hosts is None]:
        raise InvalidInputError(f"--on: {without[0]} has no [hosts] that workers could be; leave it out")
    names = tuple(dict.fromkeys(name for _, case in pairs if case.hosts for name in case.hosts.names))
    needs = tuple(dict.fromkeys(need for _, case in pairs for need in case.needs()))
    if not where.address and where.workers < len(names):
        raise InvalidInputError(f"--on: expected local:{len(names)} or more, for the hosts {', '.join(names)}")
    hosts: Hosts = ClusterHosts(where, needs, names) if where.address else LocalHosts()

    def elsewhere(case: Case, stop: Stop | None, journal: Callable[[int], Journal] | None) -> Executor:
        return OnHosts(case, hosts, stop, journal)

    try:
        yield elsewhere
    finally:
        hosts.close()
