"""Programs in C that the tests run, compiled once a session, and a cgroup of a test's own."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from harness.supervisor import Cgroup, memory_cgroup

SOURCES = Path(__file__).parent / "native"
Compile = Callable[..., str]


def pytest_configure() -> None:
    """Begin as in a terminal: what a starter left open or ignores (`&`, `nohup`, a CI's runner) reaches each victim."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for path in Path("/proc/self/fd").iterdir():
        if int(path.name) > 2:
            with suppress(OSError):
                os.set_inheritable(int(path.name), False)


@pytest.fixture(scope="session")
def compile_program(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile a file of tests/native under a name of its own; skip where there is no compiler for it."""
    folder = tmp_path_factory.mktemp("programs")

    def build(source: str, name: str, *options: str) -> str:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler called cc")
        command = [compiler, "-O0", "-g", "-D_GNU_SOURCE", "-pthread", *options, "-o", str(folder / name)]
        done = subprocess.run([*command, str(SOURCES / source)], capture_output=True, text=True, check=False)
        assert options or done.returncode == 0, done.stderr  # what is not there everywhere is asked for by an option
        if done.returncode != 0:
            pytest.skip(f"cc {' '.join(options)}: {done.stderr.strip().splitlines()[-1]}")
        return str(folder / name)

    return build


@pytest.fixture
def nothing_is_left_behind() -> Iterator[None]:
    """The test ends with the children and descriptors it began with."""
    before = len(psutil.Process().children(recursive=True)), len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert (len(psutil.Process().children(recursive=True)), len(list(Path("/proc/self/fd").iterdir()))) == before


@pytest.fixture(scope="session")
def crasher(compile_program: Compile) -> str:
    """The program that does what it is told."""
    return compile_program("crasher.c", "crasher")


@pytest.fixture(scope="session")
def oracle(compile_program: Compile) -> str:
    """The program that watches another through ptrace."""
    return compile_program("oracle.c", "oracle")


@pytest.fixture
def outer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cgroup of the test's own, below which attempts get theirs."""
    found = memory_cgroup()
    folder = Path(found.parent) / f"crash-harness-test-{os.getpid()}"
    folder.mkdir()
    if found.version == 2:
        (folder / "cgroup.subtree_control").write_text("+memory")
    monkeypatch.setattr("harness.supervisor.limits.memory_cgroup", lambda: Cgroup(found.version, str(folder)))
    yield folder
    folder.rmdir()  # which says that no attempt's is left below it
