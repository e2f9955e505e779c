"""What a command has under supervision as it has alone: programs that need a compiler, Python and a shell."""

from functools import partial
from pathlib import Path

import pytest
from two_ways import (
    Outcome,
    Program,
    compare,
    differences,
    environment,
    executed,
    kinds,
    live,
    missing,
    outcome,
    prepare,
    programs,
    unlike,
)
from two_ways import bare as alone

from harness.supervisor import Limits, memory_cgroup, supervise

UNLIMITED = Limits()
QUICK = [one for one in programs() if one.quick]
DIFFERENT = [one for one in QUICK if one.differs]


def supervised(program: Program, folder: Path, _: Path, limits: Limits = UNLIMITED) -> Outcome:
    """The way without the command line: the same supervisor and guard."""
    said: dict[int, bytes] = {1: b"", 2: b""}

    def relay(stream: int, chunk: bytes) -> None:
        said[stream] += chunk

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evidence = supervise(program.words(), limits, deadline_s=60, env=environment(), relay=relay)
    return outcome(program, folder, str(evidence.termination), said[1], said[2])


@pytest.mark.parametrize("program", [one for one in QUICK if not one.differs], ids=lambda one: one.name)
def test_a_program_does_what_it_does_alone(program: Program) -> None:
    """The wait status, the output and the files are the same, but for what differs from run to run."""
    if reason := missing(program):
        pytest.skip(reason)
    assert not unlike(live(program, alone), live(program, supervised))


@pytest.mark.parametrize(
    "name", ["raw-sigaction", "look", "states", "coroutine", pytest.param("asan-null", marks=pytest.mark.slow)]
)
def test_a_memory_limit_changes_nothing_either(name: str) -> None:
    """Where allocations are counted, the rest is as alone: errno at the start, for one."""
    (program,) = (one for one in programs() if one.name == name)
    if reason := missing(program):
        pytest.skip(reason)
    if name == "asan-null" and not memory_cgroup().version:
        pytest.skip("a sanitizer's own memory is beyond any RLIMIT_DATA, and there is no memory cgroup")
    limited = partial(supervised, limits=Limits(memory_bytes=1 << 30))
    assert not unlike(live(program, alone), live(program, limited))


AROUND = "bash-read nohup signals-blocked descriptors-given folder-gone no-environment no-stdout memory-locked-within"


@pytest.mark.slow
@pytest.mark.parametrize("name", AROUND.split())
def test_exec_changes_nothing_either(name: str) -> None:
    """What is around a command is its own, too: standard input, signals, descriptors, folder, environment."""
    (program,) = (one for one in programs() if one.name == name)
    if reason := missing(program):
        pytest.skip(reason)
    assert compare(program, executed).word == "same"


def test_a_difference_is_seen() -> None:
    """In each part of an outcome; and a program that differs from itself is called unsteady, never the same."""
    one = Outcome("exited 0", b"a", b"b", {"c": "1"})
    assert differences(one, Outcome("SIGSEGV", b"a", b"b", {"c": "1"})) == ("status",)
    assert differences(one, Outcome("exited 0", b"", b"b", {"c": "1"})) == ("stdout",)
    assert differences(one, Outcome("exited 0", b"a", b"\n", {"c": "1"})) == ("stderr",)
    assert differences(one, Outcome("exited 0", b"a", b"b\n", {})) == ("files",)
    assert unlike(one, Outcome("exited 0", b"a\nc", b"b\n", {"c": "1"})) == ["stdout", "+ c"]
    program = Program("random", "prints another number each time", bash="echo $RANDOM$RANDOM; exit $((RANDOM % 7))")
    if reason := missing(program):
        pytest.skip(reason)
    assert compare(program, supervised).word.startswith("**unsteady**: ")


def test_every_program_says_what_it_is(tmp_path: Path) -> None:
    """A name of its own, one way to start it, builds that are there; and at least 120 of them, 40 of them here."""
    everything, builds = list(programs()), {build.name for kind in kinds() for build in kind.build}
    assert len({one.name for one in everything}) == len(everything) >= 120
    assert len(QUICK) >= 40
    for one in everything:
        assert bool(one.run) + bool(one.bash) + bool(one.python) + bool(one.around) == 1, one.name
        assert set(one.build) <= builds, one.name
        prepare(one, tmp_path)
    assert sum(bool(one.differs) for one in everything) * 120 <= len(everything)
