"""Witnesses that need no library: what perf events and a tracer see of commands, of faults of ours, and of handlers."""

import json
import os
import subprocess
import sys

import pytest
from conftest import Compile

from harness import InvalidInputError, run
from harness.evidence import Evidence, Exited, Signaled
from harness.machine import witnesses
from harness.supervisor import Shot, observe, supervise
from harness.supervisor.observe import Observe

STATES = {one.name.removeprefix("observe "): one.value for one in witnesses()}
needs_perf = pytest.mark.skipif(STATES["perf"] != "yes", reason=STATES["perf"])
needs_tracer = pytest.mark.skipif(STATES["trace"] != "yes", reason=STATES["trace"])


def seen(how: Observe, *command: str) -> Evidence:
    """One life of a command, with these witnesses."""
    return supervise(command, deadline_s=60, observe=how)


@pytest.fixture
def static(compile_program: Compile) -> str:
    """A program that carries no library."""
    return compile_program("crasher.c", "crasher-static", "-static")


@needs_perf
@pytest.mark.parametrize(("step", "address"), [("null:0x18", 0x18), ("wild", 0x5EAD00000000)])
def test_perf_sees_a_fault_without_a_library(static: str, step: str, address: int) -> None:
    """Address, place and thread; the code is not known, and not made up."""
    evidence = seen("auto", static, step)
    assert evidence.second_witness == "perf"
    assert evidence.black_box == "unavailable: crasher-static is a static executable"
    assert evidence.fault is not None
    assert (evidence.fault.signal, evidence.fault.address, evidence.fault.source) == ("SIGSEGV", address, "perf")
    assert evidence.fault.code in (None, "SEGV_MAPERR")
    assert evidence.fault.module == "crasher-static"


@needs_perf
@pytest.mark.parametrize("way", ["block", "ignore:11"])
def test_perf_sees_what_a_blocked_or_ignored_signal_hides(crasher: str, way: str) -> None:
    """The handler of the library never runs; both witnesses are told of."""
    evidence = seen("auto", crasher, way, "null:8")
    assert (evidence.termination, evidence.black_box) == (Signaled("SIGSEGV"), "armed")
    assert [(one.address, one.source) for one in evidence.faults] == [(8, "perf")]


@needs_perf
def test_perf_tells_nothing_of_a_program_that_ends_well(crasher: str) -> None:
    """Page faults that the kernel serves are no faults, also by the thousand; nor are those of a child that crashes."""
    assert seen("perf", crasher, "fill:40", "child", "null:0", "exit:3").faults == ()


WITH_TRACEPOINTS = """
mount -t tracefs none /sys/kernel/tracing && test -r /sys/kernel/tracing/events/signal/signal_deliver/id || exit 77
exec "$0" -m harness exec --json --observe perf -- "$@"
"""


@needs_perf
@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "code", "address"),
    [("null:0x18", "SEGV_MAPERR", 0x18), ("kill:11", "SI_USER", None), ("abort", "SI_TKILL", None)],
)
def test_with_rights_perf_knows_the_code(static: str, step: str, code: str, address: int | None) -> None:
    """From the delivery of the signal, a tracepoint, which is mounted in a namespace of the test's own."""
    command = ["unshare", "-m", "sh", "-c", WITH_TRACEPOINTS, sys.executable, static, step]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip("takes root, unshare and tracepoints")
    (attempt,) = json.loads(done.stdout)["attempts"]
    (fault,) = attempt["evidence"]["faults"]
    assert (fault["code"], fault.get("address"), fault["source"]) == (code, address, "perf")


@needs_tracer
@pytest.mark.parametrize(
    ("steps", "code", "address"),
    [(["null:0x18"], "SEGV_MAPERR", 0x18), (["abort"], "SI_TKILL", None), (["block", "null:8"], "SEGV_MAPERR", 8)],
)
def test_a_tracer_sees_signal_code_and_address(static: str, steps: list[str], code: str, address: int | None) -> None:
    """Of a static program, and of a signal that is blocked, which the kernel delivers all the same."""
    evidence = seen("trace", static, *steps)
    assert evidence.second_witness == "trace"
    assert evidence.fault is not None
    assert (evidence.fault.code, evidence.fault.address, evidence.fault.source) == (code, address, "trace")


@needs_tracer
def test_a_tracer_lets_the_program_stop_and_go_on() -> None:
    """SIGSTOP and SIGCONT are job control, not crashes."""
    evidence = seen("trace", "sh", "-c", "(sleep .1; kill -CONT $$) & kill -STOP $$; wait; exit 4")
    assert (evidence.termination, evidence.faults) == (Exited(4), ())


@pytest.mark.parametrize(("how", "needed"), [("perf", "perf"), ("trace", "trace")])
def test_a_fault_of_ours_may_have_a_second_witness(how: Observe, needed: str) -> None:
    """Its own record comes first; where it has none, since its signal was blocked, the other's is there."""
    if STATES[needed] != "yes":
        pytest.skip(STATES[needed])
    own = supervise(Shot("null_read"), deadline_s=60, observe=how)
    blocked = supervise(Shot("blocked_segv"), deadline_s=60, observe=how)
    assert (own.second_witness, own.faults[0].source) == (how, "library")
    assert [one.source for one in blocked.faults] == [how]
    assert supervise(Shot("null_read"), deadline_s=60).second_witness is None


def test_who_looks_is_chosen_in_python_too() -> None:
    """By the words of --observe; another word is a mistake, and says what there is."""
    assert run(["true"], witnesses="off").attempts[0].evidence.black_box == "off"
    with pytest.raises(InvalidInputError, match="did you mean 'library'"):
        run(["true"], witnesses="libary")  # type: ignore[arg-type]  # that is the mistake


@pytest.mark.slow
def test_an_experiment_of_a_command_has_the_option() -> None:
    """And one of a scenario has not: its faults carry their record themselves."""
    ours = [sys.executable, "-m", "harness", "experiment", "--observe", "off", "--trials", "1"]
    done = subprocess.run([*ours, "--", "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*ours, "native-addon-race[wild]"], capture_output=True, text=True, check=False)
    assert (done.returncode, "--observe: of a command" in done.stderr) == (2, True)


def test_a_page_that_can_not_be_made_costs_the_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the run: where no file may grow there is none."""

    def refuse(*_: object) -> None:
        raise OSError(27, os.strerror(27))

    monkeypatch.setattr(os, "ftruncate", refuse)
    evidence = seen("perf", "sh", "-c", "exit 3")
    expected = "unavailable: the shared page can't be made: File too large"
    assert (evidence.termination, evidence.second_witness) == (Exited(3), expected)


def test_the_states_say_why() -> None:
    """What is not there has a reason that doctor prints."""
    assert set(STATES) >= {"library", "perf", "trace"}
    assert all(
        state == "yes" or state.startswith("unavailable: ") for name, state in STATES.items() if name in observe.OUTSIDE
    )
