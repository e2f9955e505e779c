"""The witnesses: each kind agrees with a row that is true, and contradicts one that is not."""

import msgspec
import pytest
from witness import LOOKS, Look, ask, ask_for_words, ask_ptrace, looks_for, missing

from harness.faults.catalogue import catalogue, find
from harness.machine import why_not

KINDS = {
    "ptrace": "null_read",
    "asan": "double_free",
    "tsan": "torn_publish",
    "strace": "refused_thread",
    "strace, parent only": "init_aborts",
    "kernel": "memory_fill",
    "stderr": "bad_alloc",
}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("tool", "name"), KINDS.items(), ids=KINDS.keys())
def test_a_witness_agrees_with_a_true_row(tool: str, name: str) -> None:
    """One fault for each kind of witness; `make witness` asks about all."""
    if reason := missing(tool) or why_not(find(name).needs):
        pytest.skip(reason)
    sayings = list(ask(find(name)))
    assert tool in {saying.tool for saying in sayings}
    assert {saying.agrees for saying in sayings} == {True}


@pytest.mark.slow
def test_a_witness_contradicts_a_row_that_lies() -> None:
    """Another address, another death, a misuse that there is not: each is told."""
    if reason := missing("ptrace") or missing("strace"):
        pytest.skip(reason)
    liar = msgspec.structs.replace(find("non_canonical_read"), expects=("SIGSEGV SEGV_MAPERR wild",))
    assert ask_ptrace(liar)[2:] == ("SIGSEGV SI_KERNEL null", False)
    assert ask_ptrace(find("never"))[2:] == ("no signal", False)
    saying = ask_for_words(find("null_read"), Look("strace", ("ENOMEM", "killed by SIGSEGV")))
    assert saying.agrees is False
    assert saying.said.startswith("not ENOMEM … killed by SIGSEGV, but: ")


def test_every_fault_but_one_has_a_witness() -> None:
    """And no witness is asked about a fault that is not there."""
    faults = catalogue()
    assert LOOKS.keys() <= faults.keys()
    assert [name for name, fault in faults.items() if not looks_for(fault)] == ["float_infinity"]
