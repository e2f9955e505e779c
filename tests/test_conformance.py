"""Engines under test: the reference engine passes, its mutants fail as named beforehand, and adapters can't lie."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from misdeeds import MISDEEDS
from more_mutants import MORE
from reference_mutants import BAD, ENGINES
from reference_mutants import MUTANTS as FIRST

from harness.conformance import enginefile, scratch, suite
from harness.conformance.check import Asked, Check
from harness.conformance.conductor import Engine
from harness.conformance.properties import ORDER
from harness.conformance.protocol import Cap
from harness.exceptions import InfraError
from harness.machine import why_not
from harness.supervisor import cgroups, memory_cgroup
from harness.supervisor.launch import runner_path

pytestmark = pytest.mark.slow
MUTANTS = {**FIRST, **MORE}
PROGRAM = str(Path(__file__).parent / "reference_mutants.py")
NAMES = sorted(MUTANTS)
PATIENCE_S = 10.0


def command(*words: str) -> tuple[str, ...]:
    """The adapter's command: an interpreter without site packages starts fast."""
    return sys.executable, "-S", *words


def needs_machine(name: str) -> bool:
    """Whether a mutant shows only where the engine can limit memory."""
    return any("oom" in cell for cell in MUTANTS[name].cells) or MUTANTS[name].breaks == "P11"


@pytest.mark.long
def test_the_reference_engine_passes_every_property() -> None:
    """The reference engine passes all that it declares, and it declares all that this machine allows."""
    found = suite.check_all([Engine("reference", command(str(ENGINES / "reference.py")))])["reference"]
    assert found.verdict == "PASS", found.properties
    assert list(found.properties) == list(ORDER)
    skipped = {name for name, one in found.properties.items() if one.verdict == "SKIP"}
    assert skipped <= ({"P10", "P11"} if why_not(["memory_cgroup"]) else set())
    assert found.declared is not None
    assert set(Cap) - set(found.declared.caps) <= {Cap.MACHINE}


def test_a_line_of_the_conductor_that_is_no_news_is_told() -> None:
    """Whatever else writes to its stdout: the harness could not do its work, and the line is shown."""
    with pytest.raises(InfraError, match="the conductor said 'hello', which is no news"):
        suite.Heard(None).take(1, b"hello\n")


@pytest.mark.long
def test_our_own_engine_passes_under_strict() -> None:
    """Our engine, through the same protocol, passes every property under the dialect of the evidence."""
    found = suite.check_all([enginefile.find("own-strict").engine()])["own-strict"]
    assert (found.verdict, found.fails) == ("PASS", ()), reasons(found)


@pytest.mark.long
@pytest.mark.parametrize("name", ["own-upstream-4.4", "own-upstream-4.5"])
def test_under_upstream_exactly_the_known_failures_remain(name: str) -> None:
    """What upstream tells alike, and what it never retried, fails as its file says; nothing else does."""
    file = enginefile.find(name)
    asked = Asked(properties=("P9", "P10", "P20"))
    found = suite.check_all([msgspec.structs.replace(file.engine(), asked=asked)])[name]
    known = {one.property for one in file.known} - (set() if memory_cgroup().version else {"P10"})
    assert set(found.fails) == known, reasons(found)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "fails"), [("process-pool", {"P7", "P8"}), ("multiprocessing-pool", {"P5"}), ("gnu-parallel", set())]
)
def test_engines_that_need_no_service(name: str, fails: set[str]) -> None:
    """One SIGSEGV breaks a pool with everybody in it, loses the job of another, and is a failed job of the third."""
    file = enginefile.find(name)
    if missing := file.missing():
        pytest.skip(missing)
    found = suite.check_all([msgspec.structs.replace(file.engine(), asked=Asked(cells=("segv/none",)))])[name]
    assert set(found.fails) == fails, reasons(found)


@pytest.mark.long
@pytest.mark.parametrize("names", [NAMES[::2], NAMES[1::2]], ids=["one half", "the other"])
def test_every_mutant_is_killed_by_the_property_named_beforehand(names: list[str]) -> None:
    """Each mutant fails the property that it was made to break, in that property's own cells."""
    given = [name for name in names if memory_cgroup().version or not needs_machine(name)]
    engines = [Engine(name, command(PROGRAM, name), Asked(cells=MUTANTS[name].cells)) for name in given]
    found = suite.check_all(engines)
    assert {name: one.fails for name, one in found.items() if MUTANTS[name].breaks not in one.fails} == {}


@pytest.mark.long
def test_an_adapter_that_does_wrong_ends_its_cell_with_what_is_wrong() -> None:
    """Garbage, silence, lies, errors and deaths of adapters get the verdict that the protocol names, and its reason."""
    engines = [Engine(name, command(PROGRAM, name), Asked(cells=("segv/none",))) for name in BAD]
    found = suite.check_all(engines)
    assert {name: one.verdict for name, one in found.items()} == {name: one.verdict for name, one in BAD.items()}
    assert [name for name, one in found.items() if BAD[name].reason not in reasons(one)] == []


@pytest.mark.long
def test_whatever_an_adapter_does_its_check_ends_as_the_protocol_says() -> None:
    """Torn, endless, deaf, frozen, littering, lying: each gets its verdict and its reason, and leaves nothing."""
    program = str(Path(__file__).parent / "misdeeds.py")
    env = {"CH_TEST_MARK": f"{os.getpid()}-misdeeds"}
    engines = [
        Engine(name, command(program, name), Asked(cells=(one.cell,)), env=env) for name, one in MISDEEDS.items()
    ]
    found = suite.check_all(engines, time_s=600)
    assert {name: one.verdict for name, one in found.items()} == {name: one.verdict for name, one in MISDEEDS.items()}
    assert [name for name, one in found.items() if MISDEEDS[name].reason not in reasons(one)] == []
    assert marked(env["CH_TEST_MARK"]) == []


@pytest.mark.long
def test_a_check_ends_when_its_time_is_over() -> None:
    """Cells that are not settled by then are INFRA and say so; what was settled stays."""
    program = str(Path(__file__).parent / "misdeeds.py")
    engine = Engine("slow", command(program, "a process that comes back"), Asked(cells=("segv/none", "late")), jobs=1)
    found = suite.check_all([engine], time_s=3)["slow"]
    assert found.verdict == "INFRA"
    assert "the check's time of 3 s was over" in reasons(found)


def reasons(found: Check) -> str:
    """Everything that a check says."""
    return "; ".join([found.infra, *(one.reason for one in found.settled)])


NOISE = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    os.write(1, b'{"id": 0, "error": "an old one"}\\nnot JSON at all\\n' + b"x" * %d + b"\\n")
    os.write(1, json.dumps({"id": asked["id"], "error": "after the noise"}).encode() + b"\\n")
"""


@pytest.mark.parametrize(
    ("size", "said"), [(100, "hello: after the noise"), (1 << 20, "bytes on its stdout that are no reply")]
)
def test_noise_on_stdout_is_passed_over_up_to_a_mebibyte(tmp_path: Path, size: int, said: str) -> None:
    """Lines that are no awaited reply are noise: they are skipped, and a mebibyte of them ends the cell."""
    (tmp_path / "noisy.py").write_text(NOISE % size)
    found = suite.check_all([Engine("noisy", command(str(tmp_path / "noisy.py")))])["noisy"]
    assert found.verdict == "INFRA"
    assert said in found.infra


def test_a_command_that_is_not_there_is_said_in_one_line() -> None:
    """An adapter that can't be started is INFRA with its name."""
    found = suite.check_all([Engine("none", ("/nowhere/adapter",))])["none"]
    assert found.infra == "/nowhere/adapter: can't be started: No such file or directory"


@pytest.mark.skipif(not memory_cgroup().version, reason="no memory cgroup can be made")
def test_cgroups_of_a_check_are_removed_wherever_they_lie() -> None:
    """What an engine that was killed could not remove is removed, below our own place and at the root."""
    root = Path(scratch.ROOTS[0] if memory_cgroup().version == 1 else scratch.ROOTS[1])
    made = [
        folder / f"{scratch.GROUP}t{os.getpid()}-{number}"
        for number, folder in enumerate((Path(memory_cgroup().parent), root))
    ]
    for path in made:
        path.mkdir()
    scratch.remove_groups(f"t{os.getpid()}")
    assert [path for path in made if path.exists()] == []


def test_a_supervisor_beside_a_check_leaves_its_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cgroup of a cell is empty between two jobs, and is no other supervisor's to remove, however old it is."""
    monkeypatch.setattr(cgroups, "YOUNG_S", -1.0)
    kept, removed = tmp_path / f"{scratch.GROUP}abcde001", tmp_path / f"{cgroups.PREFIX}1-2"
    kept.mkdir()
    removed.mkdir()
    cgroups.sweep(tmp_path)
    assert (kept.exists(), removed.exists()) == (True, False)


LITTERING = """
import os, sys, tempfile
from multiprocessing import shared_memory
from chadapter import serve
sys.path.insert(0, {engines!r})
from reference import Reference, ROOT

class Littering(Reference):
    def start(self):
        self.kept = shared_memory.SharedMemory("{mark}", create=True, size=16)
        tempfile.mkstemp(prefix="{mark}")
        if "MACHINE" in self.caps:
            os.mkdir(ROOT + "/crash-harness-engine-" + self.order["run"] + "{mark}")
        super().start()

serve(Littering())
"""

LEFT = """
import os, signal, sys
from harness.conformance import suite
from harness.conformance.conductor import Engine
heard = []
def observe(news):
    heard.append(news)
    if len(heard) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
suite.check_all([Engine("littering", (sys.executable, "-S", sys.argv[1]))], observe=observe)
"""


def left(mark: str) -> list[Path]:
    """What carries the mark, wherever engines may leave something."""
    places = [Path("/dev/shm"), *map(Path, scratch.ROOTS), *Path("/tmp").glob(f"{scratch.PREFIX}*/*/t")]  # noqa: S108 -- that is what is looked at
    return [path for place in places if place.is_dir() for path in place.glob(f"*{mark}*")]


@pytest.mark.long
def test_a_suite_that_was_killed_leaves_nothing_for_long(tmp_path: Path) -> None:
    """Shared memory ends with its cell; temporary files and cgroups are removed by the next check."""
    mark = f"m{os.getpid()}"
    program = tmp_path / "littering.py"
    program.write_text(LITTERING.format(engines=str(ENGINES), mark=mark))
    done = subprocess.run([sys.executable, "-c", LEFT, str(program)], check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    found = suite.check_all([Engine("next", command(str(program)), Asked(cells=("segv/none",)))])["next"]
    assert found.verdict == "PASS", reasons(found)
    assert left(mark) == []


KILLED = """
import os, signal, sys
from harness.conformance import suite
from harness.conformance.conductor import Engine
heard = []
def observe(news):
    heard.append(news)
    if len(heard) == 3:
        print(flush=True)
        os.kill(os.getpid(), %d)
suite.check_all([Engine("reference", (sys.executable, "-S", %r))], observe=observe)
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_suite(number: signal.Signals) -> None:
    """SIGKILL or Ctrl-C of the suite leaves no adapter, no engine and no payload."""
    env = {**os.environ, "CH_TEST_MARK": f"{os.getpid()}-{number}"}
    program = KILLED % (number, str(ENGINES / "reference.py"))
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as started:
        assert started.stdout is not None
        assert started.stdout.read() == b"\n"  # to its end: whoever holds the pipe is gone
    end = time.monotonic() + PATIENCE_S
    while marked(env["CH_TEST_MARK"]) and time.monotonic() < end:
        continue  # the guards notice by themselves, at once
    assert marked(env["CH_TEST_MARK"]) == []


def marked(mark: str) -> list[str]:
    """Command lines of processes that carry a variable of the test's."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"CH_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("fault", "status", "lives"),
    [("null_write", -signal.SIGSEGV, False), ("double_free", -signal.SIGABRT, False), ("never", 3, True)],
)
def test_the_native_host_fires_alone(tmp_path: Path, fault: str, status: int, lives: bool) -> None:
    """Without a supervisor the native host makes its own box and fires; who survives the shot leaves a mark."""
    mark = tmp_path / "unfired"
    words = ["sh", "-c", 'ulimit -c 0; exec "$@"', "sh", runner_path(), "--alone", str(mark), fault, "forced"]
    done = subprocess.run(words, check=False, stderr=subprocess.DEVNULL)
    assert (done.returncode, mark.exists()) == (status, lives)
