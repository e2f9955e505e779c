"""The two hosts of a fault, an interpreter and a C program: the same fault dies the same way in both."""

import subprocess

import msgspec
import pytest
from likeness import FAULTS, gist, moment_s

from harness.evidence import Exited, Host
from harness.exceptions import InfraError
from harness.faults.catalogue import Row
from harness.machine import why_not
from harness.scenarios.rollcall import limits_for
from harness.supervisor import Shot, supervise
from harness.supervisor.launch import runner_path


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_hosts_agree(fault: Row) -> None:
    """Termination, intent, witness, signal, code and class of address are those of the fault, not of the host."""
    if reason := why_not(fault.needs):
        pytest.skip(reason)
    deadline_s = moment_s() if fault.kind == "hang" else 60
    python = supervise(Shot(fault.name), limits_for(fault), deadline_s, grace_s=0.2)
    native = supervise(Shot(fault.name, host="native"), limits_for(fault), deadline_s, grace_s=0.2)
    assert gist(native) == gist(python)
    assert (python.host, native.host, native.start) == ("python", "native", "fresh")


def test_parameters_reach_the_native_host() -> None:
    """A dial is set by name, as in the other host."""
    assert supervise(Shot("exit_status", "forced", {"status": 77}, "native"), deadline_s=30).termination == Exited(77)
    evidence = supervise(Shot("null_read", "forced", {"offset": 8}, "native"), deadline_s=30)
    assert evidence.fault is not None
    assert evidence.fault.address == 8


@pytest.mark.parametrize("host", ["native", "python"])
@pytest.mark.parametrize(
    ("shot", "reason"),
    [
        (Shot("no_such_fault"), "no such fault"),
        (Shot("null_read", "wild"), "does not offer"),
        (Shot("null_read", "forced", {"offset": 1 << 40}), "outside its range"),
        (Shot("null_read", "gently"), "never fired.*usage"),
        (Shot("null_read", "forced", {"ofset": 1}), "never fired.*usage"),
    ],
    ids=["fault", "tier", "range", "mode", "parameter"],
)
def test_a_host_refuses_in_words(shot: Shot, reason: str, host: Host) -> None:
    """What the catalogue does not offer is INFRA, with the reason."""
    with pytest.raises(InfraError, match=reason):
        supervise(msgspec.structs.replace(shot, host=host), deadline_s=30)


def test_an_unarmed_runner_fires_nothing() -> None:
    """Started by hand it has no box, says so, and leaves with status 2."""
    ran = subprocess.run([runner_path(), "null_read", "forced"], capture_output=True, check=False, text=True)
    assert (ran.returncode, "no box" in ran.stderr) == (2, True)
