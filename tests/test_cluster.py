"""A cluster: a real scheduler and real workers on this machine, one of which dies."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from elsewhere import conducted, dosed

from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.conduct import recount
from harness.experiments.kept import experiment_job, returned
from harness.experiments.scheduler import Introduction, introduce, usable
from harness.experiments.where import Keys, Where, read_where
from harness.experiments.workers import pool_on
from harness.journal import History, read
from harness.supervisor import Stop

distributed = pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster`")
from clusters import Here  # noqa: E402 -- it needs distributed


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A scheduler without workers."""
    with ExitStack() as stack:
        yield Here(tmp_path_factory.mktemp("cluster"), stack)


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
def test_a_worker_that_is_killed_changes_nothing(here: Here, tmp_path: Path, seed: int) -> None:
    """Its blocks are fired again by the other one, and it is told and journalled: `make scale` kills twenty."""
    here.have_workers(2)
    last = random.Random(seed).randrange(5, 20)

    def strike(group: int) -> None:
        if group == last:
            here.workers[seed % 2].kill()

    experiment, file = dosed(800, seed), tmp_path / "h"
    with History.begin(file, experiment_job([experiment]), {}) as book:
        cut = conducted(experiment, here.where, strike, book=book)
        journalled = list(returned(book))
    whole = conducted(experiment, None)
    assert cut.but_layouts == whole.but_layouts
    assert cut.tallies == whole.tallies
    assert cut.lost == 1
    assert [(name, back.is_first, back.trials) for name, back in journalled] == [("dosed", True, cut.again["dosed"])]
    assert cut.again["dosed"] in {100, 200}
    with read(file) as reading:
        counted = recount(reading, [experiment])["t"]
        assert (counted.lost, counted.again) == (cut.lost, cut.again)


@pytest.mark.long
@pytest.mark.slow
def test_a_scheduler_that_is_lost_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The harness could not do its part, and says so, whether a block is under way or on its way back."""
    with ExitStack() as stack:
        lost = Here(tmp_path, stack)
        lost.have_workers(1)
        experiment = dosed(2000)
        fresh = msgspec.structs.replace(experiment.variants[0], start="fresh")  # slow: a block is under way
        with pytest.raises(InfraError, match="--on: the "):
            conducted(
                msgspec.structs.replace(experiment, variants=(fresh,)), lost.where, lambda _: lost.scheduler.kill()
            )


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
        pool_on(read_where(here.where))(dosed(10), stop, {})
    with Stop() as stop, pytest.raises(InfraError, match="no scheduler answers"):
        pool_on(read_where("dask://127.0.0.1:1"))(dosed(10), stop, {})


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: there is no key to test with")
def test_a_scheduler_behind_tls_is_reached_with_its_keys(tmp_path: Path) -> None:
    """And with nothing else: without keys, or with files that are none, it is said what is missing."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    for_itself = ["-x509", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", "req", *for_itself, *made], check=True, capture_output=True)
    keys = Keys(certificate, certificate, key)
    with ExitStack() as stack:
        secured = Here(tmp_path, stack, keys)
        secured.have_workers(1)
        assert secured.where.startswith("dask+tls://")
        progress = conducted(dosed(10), secured.where, keys=keys)
        assert progress.tallies == conducted(dosed(10), None).tallies
        with pytest.raises(InvalidInputError, match=r"expected --on dask\+tls:"):
            read_where(secured.where.replace("dask+tls", "dask"), keys)
        for wrong in (Keys(), Keys(certificate, key, key), Keys(str(tmp_path / "none"))):
            with Stop() as stop, pytest.raises(InvalidInputError, match="--tls-ca-file, --tls-cert, --tls-key"):
                pool_on(read_where(secured.where, wrong))(dosed(10), stop, {})


class Answering:
    """A client whose workers answer this."""

    def __init__(self, told: dict[str, object]) -> None:
        self.told = told

    def run(self, *_: object, **__: object) -> dict[str, object]:
        """What each answers."""
        return self.told


def test_a_worker_that_can_not_be_asked_keeps_nobody_from_the_others() -> None:
    """It has ended meanwhile, or harness is not installed there; where all are so, it is said why."""
    gone = ModuleNotFoundError("No module named 'harness'")
    assert usable(Answering({"a": gone, "b": introduce(())}), Where(address="x"), ()) == {"b": ""}
    with pytest.raises(InvalidInputError, match=r"x: no worker can be used: a: .*ModuleNotFoundError: No module named"):
        usable(Answering({"a": gone}), Where(address="x"), ())


def test_a_worker_of_another_build_is_refused() -> None:
    """Its version and its extension must be ours, and what is needed must be there."""
    ours = msgspec.json.decode(introduce(()), type=Introduction)
    replace = msgspec.structs.replace
    assert ours.why_not(ours) == ""
    assert replace(ours, version="9.9").why_not(ours) == f"it has version 9.9, not {ours.version}"
    assert replace(ours, extension="0" * 64).why_not(ours).startswith("its extension is another: sha256 000000000000…")
    assert replace(ours, missing="no cgroup").why_not(ours) == "no cgroup"
