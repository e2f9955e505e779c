"""The server of a sweep and its children: one makes its trial, the next one waits, and nothing passes between them."""

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.evidence import Exited
from harness.exceptions import InfraError
from harness.refusals.page import Order
from harness.refusals.server import QUIET, Call, Server
from harness.refusals.trial import Trial

MODULE = """
import fcntl, mmap, os, resource, subprocess
HERE, PLACE = os.getpid(), {place!r}
PAGES = bytearray(8 << 20)
_kept = []
def _is_trial(): return os.getpid() != HERE and not _kept
def plain(): return 1
def failing(): return 1 if os.getpid() == HERE else os._exit(7)
def open_files(): return sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]
def awaiting():
    if _is_trial():
        _kept.append(1)
        with open(PLACE) as pipe: return pipe.read()
def writing():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for at in range(0, 4 << 20, 4096): PAGES[at] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def locking():
    if _is_trial():
        file = os.open(PLACE, os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _kept.append(mmap.mmap(file, 4096))
        os.close(file)
        large = mmap.mmap(-1, 128 << 20)
        for at in range(0, len(large), 4096): large[at] = 1
        _kept.append(large)
    return 1
def starting():
    if _is_trial():
        _kept.append(subprocess.Popen(["sleep", "600.25"]))
        return "started"
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path that the functions know; they are importable."""
    (tmp_path / "turns.py").write_text(MODULE.format(place=str(tmp_path / "place")))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "place"


@pytest.fixture
def serve() -> Iterator[Callable[[str], Server]]:
    """Start servers of the module's functions, and end them."""
    servers = list[Server]()

    def start(name: str) -> Server:
        servers.append(Server(Call(f"turns:{name}", module="turns", name=name), None, None))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def below() -> list[psutil.Process]:
    """Every process that this one has started, and what those have started."""
    return psutil.Process().children(recursive=True)


def words(process: psutil.Process) -> list[str]:
    """Its command line, if it is there still."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def the_server() -> psutil.Process:
    """The server, below its guard: the eldest of those that run the script."""
    return next(one for one in below() if words(one)[1:2] == ["-P"])


def wait_until(seen: Callable[[], object]) -> None:
    """Look until it is so."""
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end


def value(trial: Trial) -> str:
    """What a call gave, which must have been made."""
    assert trial.termination == Exited(0)
    first, again, _ = trial.said
    assert first is not None
    assert again is not None
    assert first.kind == "value", first
    return first.text


class Living:
    """One trial that waits for the other end of a pipe."""

    def __init__(self, server: Server, place: Path) -> None:
        os.mkfifo(place)
        self.ended = list[Trial | InfraError]()
        self._thread = threading.Thread(target=self._live, args=(server,))
        self._thread.start()
        self._pipe = os.open(place, os.O_WRONLY)  # waits for the trial
        self.below = the_server().children()

    def _live(self, server: Server) -> None:
        try:
            self.ended.append(server.live(QUIET, 60))
        except InfraError as error:
            self.ended.append(error)

    def let_go(self, word: bytes) -> Trial | InfraError:
        """Let it read."""
        if word:
            os.write(self._pipe, word)
        os.close(self._pipe)
        self._thread.join()
        return self.ended[0]


def test_the_next_child_is_there_while_one_makes_its_trial(serve: Callable[[str], Server], place: Path) -> None:
    """Two children: the one that runs answers, and the other lives on as the next trial."""
    server = serve("awaiting")
    trial = Living(server, place)
    assert len(trial.below) == 2
    ended = trial.let_go(b"word")
    assert isinstance(ended, Trial)
    assert value(ended) == "'word'"
    assert psutil.wait_procs(trial.below[:1], timeout=30)[1] == []
    assert trial.below[1].is_running()


def test_a_child_that_is_killed_while_it_waits_is_no_trial(serve: Callable[[str], Server]) -> None:
    """The server forks another in its place."""
    server = serve("plain")
    assert value(server.live(QUIET, 60)) == "1"
    (waiting,) = the_server().children()
    waiting.kill()
    wait_until(lambda: waiting.status() == psutil.STATUS_ZOMBIE)
    assert value(server.live(QUIET, 60)) == "1"


def test_a_server_that_is_killed_takes_its_children_with_it(serve: Callable[[str], Server], place: Path) -> None:
    """The one that runs and the one that waits; the trial says what became of the server."""
    server = serve("awaiting")
    trial = Living(server, place)
    the_server().kill()
    assert psutil.wait_procs(trial.below, timeout=30)[1] == []
    ended = trial.let_go(b"")
    assert isinstance(ended, InfraError)
    assert "SIGKILL" in str(ended)


def test_a_server_that_is_closed_leaves_nobody(serve: Callable[[str], Server]) -> None:
    """The child that waits ends with it."""
    server = serve("plain")
    server.live(QUIET, 60)
    (waiting,) = the_server().children()
    server.close()
    assert not waiting.is_running()


@pytest.mark.slow
def test_no_trial_begins_before_the_last_is_gone(serve: Callable[[str], Server], place: Path) -> None:
    """A lock that only the end of the process gives back, after 128 MB, is free in each trial."""
    place.write_bytes(bytes(4096))
    server = serve("locking")
    assert [value(server.live(QUIET, 60)) for _ in range(4)] == ["1"] * 4


def test_what_a_trial_starts_ends_with_it(serve: Callable[[str], Server]) -> None:
    """A process that the call leaves behind is killed, and the trial ended by itself."""
    assert value(serve("starting").live(QUIET, 60)) == "'started'"
    wait_until(lambda: not any("600.25" in word for one in below() for word in words(one)))


def test_an_end_of_its_own_is_told(serve: Callable[[str], Server]) -> None:
    """Only a child that comes to the end of its trial is taken to leave with 0."""
    server = serve("failing")
    assert [server.live(QUIET, 60).termination for _ in range(3)] == [Exited(7)] * 3


def test_trials_see_the_same_descriptors(serve: Callable[[str], Server]) -> None:
    """What a child inherits does not depend on who was running when it was forked."""
    server = serve("open_files")
    seen = {value(server.live(QUIET, 60)) for _ in range(4)}
    assert len(seen) == 1


def test_what_the_recording_wrote_is_copied_beforehand(serve: Callable[[str], Server]) -> None:
    """Of a thousand pages each takes a fault in the recording, and next to none later."""
    if tuple(map(int, platform.release().split(".")[:2])) < (5, 14):
        pytest.skip("MADV_POPULATE_WRITE is there since Linux 5.14")
    server = serve("writing")
    recorded, _, later = (
        int(value(server.live(order, 60))) for order in (Order("call", ("malloc",), record=True), QUIET, QUIET)
    )
    assert recorded >= 1024
    assert later < 100
