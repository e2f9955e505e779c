"""A cluster: a real scheduler and real workers on this machine, one of which dies."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from elsewhere import conducted, dosed

from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.cluster import Introduction, introduce
from harness.experiments.workers import gunneries
from harness.supervisor import Stop

distributed = pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster`")
DASK = [sys.executable, "-m", "dask"]
ONE = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]


class Here:
    """A scheduler of this machine, and its workers."""

    def __init__(self, file: Path, stack: ExitStack) -> None:
        self._file, self._stack = file, stack
        self.workers: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        while not file.exists() or not file.read_text().endswith("}"):
            pass
        self.address: str = json.loads(file.read_text())["address"]

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*DASK, kind, "--scheduler-file", str(self._file), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def have_workers(self, count: int) -> None:
        """Start workers until so many live, and wait for them."""
        self.workers = [one for one in self.workers if one.poll() is None]
        self.workers += [self._start("worker", *ONE) for _ in range(count - len(self.workers))]
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    @property
    def where(self) -> str:
        """As --on has it."""
        return self.address.replace("tcp:", "dask:")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A scheduler without workers."""
    with ExitStack() as stack:
        yield Here(tmp_path_factory.mktemp("cluster") / "scheduler.json", stack)


@pytest.mark.long
@pytest.mark.slow
def test_a_cluster_fires_what_we_would(here: Here) -> None:
    """Every field but what is measured."""
    here.have_workers(2)
    local, elsewhere = conducted(dosed(250), None), conducted(dosed(250), here.where)
    assert elsewhere.trials == local.trials
    assert elsewhere.tallies == local.tallies
    assert elsewhere.lost == 0


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_worker_that_is_killed_changes_nothing(here: Here, seed: int) -> None:
    """Its blocks are fired again by the other one, and it is told."""
    here.have_workers(2)
    last = random.Random(seed).randrange(5, 20)

    def strike(group: int) -> None:
        if group == last:
            here.workers[seed % 2].kill()

    whole, cut = conducted(dosed(800, seed), None), conducted(dosed(800, seed), here.where, strike)
    assert cut.but_layouts == whole.but_layouts
    assert cut.tallies == whole.tallies
    assert cut.lost == 1


@pytest.mark.long
@pytest.mark.slow
def test_where_nobody_can_be_used_it_is_said(here: Here) -> None:
    """A scheduler without workers is wrong use; where no scheduler answers, the harness could not do its part."""
    for one in here.workers:
        one.kill()
        one.wait()
    with distributed.Client(here.address, set_as_default=False) as client:
        while client.scheduler_info()["workers"]:
            pass
    with Stop() as stop, pytest.raises(InvalidInputError, match="no worker can be used: there is none"):
        gunneries(here.where)(dosed(10), stop, {})
    with Stop() as stop, pytest.raises(InfraError, match="no scheduler answers"):
        gunneries("dask://127.0.0.1:1")(dosed(10), stop, {})


def test_a_worker_of_another_build_is_refused() -> None:
    """Its version and its extension must be ours, and what is needed must be there."""
    ours = msgspec.json.decode(introduce(()), type=Introduction)
    replace = msgspec.structs.replace
    assert ours.why_not(ours) == ""
    assert replace(ours, version="9.9").why_not(ours) == f"it has version 9.9, not {ours.version}"
    assert replace(ours, extension="0" * 64).why_not(ours).startswith("its extension is another: sha256 000000000000…")
    assert replace(ours, missing="no cgroup").why_not(ours) == "no cgroup"
