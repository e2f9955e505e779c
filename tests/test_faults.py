"""The catalogue against reality: every row dies as it says it does."""

import platform
import re
import sys

import msgspec
import pytest

from harness import NotArmed
from harness.evidence import Exited, Signaled, spelling
from harness.exceptions import InvalidInputError
from harness.faults import fire as armed
from harness.faults.catalogue import Row, Variant, catalogue, check_parameters, find, read_expects, unmet_needs
from harness.scenarios.rollcall import MODES, call
from harness.scenarios.verdict import Verdict
from harness.supervisor import Limits, Shot, supervise
from harness.supervisor import launch as hosts

FAULTS = list(catalogue().values())
MIB = 1 << 20


def ids(faults: list[Row]) -> list[str]:
    """Readable test ids."""
    return [fault.name for fault in faults]


CALLS = [(fault, tier) for fault in FAULTS for tier in fault.tiers]


@pytest.mark.parametrize(("fault", "tier"), CALLS, ids=[f"{fault.name}-{tier}" for fault, tier in CALLS])
def test_a_fault_ends_as_its_row_says(fault: Row, tier: str) -> None:
    """Termination, si_code and address class by the victim's own record, in each of the row's tiers."""
    answer = call(fault, tier)
    if answer.judgement.verdict is Verdict.SKIP:
        pytest.skip("; ".join(answer.judgement.reasons))
    assert answer.judgement.reasons == ()
    assert answer.judgement.verdict is Verdict.PASS
    assert len(answer.observed) == len(MODES[tier])


def test_a_row_that_lies_is_found_out() -> None:
    """The roll call judges: a row that expects something else fails."""
    liar = msgspec.structs.replace(find("null_read"), expects=("SIGBUS BUS_ADRERR wild",))
    judgement = call(liar, "forced").judgement
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reasons == ("forced: expected SIGBUS BUS_ADRERR wild, observed SIGSEGV SEGV_MAPERR null",)


def test_did_not_fire_is_neither_success_nor_crash() -> None:
    """The control exits 0, and the witness says what that is worth."""
    evidence = supervise(Shot("did_not_fire"), deadline_s=30)
    assert evidence.termination == Exited(0)
    assert spelling(evidence) == "did not fire"


@pytest.mark.parametrize("fault", FAULTS, ids=ids(FAULTS))
def test_an_unarmed_process_refuses(fault: Row) -> None:
    """A shot in a process that nobody supervises raises NotArmed, and nothing crashes. Run in a child all the same."""
    program = f"""
from harness import NotArmed
from harness.faults import fire as armed
from harness.supervisor import launch as hosts
try:
    armed.fire({fault.name!r})
except NotArmed as error:
    print(error)
"""
    evidence = supervise([sys.executable, "-c", program], Limits(memory_bytes=512 * MIB), 60)
    assert evidence.termination == Exited(0), evidence.stderr
    assert "not a victim" in evidence.stdout


def test_not_armed_is_public() -> None:
    """Users catch it by its public name."""
    assert issubclass(NotArmed, Exception)
    with pytest.raises(InvalidInputError, match="mode"):
        armed.fire("never", "gently")


def test_a_signal_from_outside_is_recorded_as_sent() -> None:
    """A box whose process was killed with a crash signal names the sender instead of an address."""
    evidence = supervise(Shot("abort"), deadline_s=30)
    assert evidence.fault is not None
    assert (evidence.fault.code, evidence.fault.address) == ("SI_TKILL", None)
    assert evidence.fault.sender is not None


@pytest.mark.parametrize("fault", FAULTS, ids=ids(FAULTS))
def test_a_row_is_well_formed(fault: Row) -> None:
    """Snake case, one sentence, known words, defaults within ranges."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", fault.name)
    assert fault.mechanism.endswith(".")
    assert fault.kind in {"deterministic", "racy", "hang", "silent", "exit", "control"}
    assert fault.tiers
    assert set(fault.tiers) <= {"forced", "dosed", "wild"}
    assert set(fault.needs) <= {"memory_limit", "memory_cgroup", "empty_hugetlb", "namespace", "cxx", "x86_64", "glibc"}
    assert all(dial.low <= dial.initial <= dial.high and dial.unit for dial in fault.parameters)


def test_names_are_unique() -> None:
    """The catalogue by name has as many rows as the extension."""
    evidence = supervise(hosts.command_line("--catalogue"), deadline_s=60)
    assert len(msgspec.json.decode(evidence.stdout)["rows"]) == len(FAULTS)


def test_an_unknown_fault_names_its_neighbour() -> None:
    """A typing mistake is answered with the nearest name."""
    with pytest.raises(InvalidInputError, match="did you mean 'null_read'"):
        find("nul_read")


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ({"x86_64", "glibc"}, ("A", "B")),
        ({"aarch64", "glibc"}, ("C",)),
        ({"x86_64", "musl"}, ("D", "E")),
        ({"aarch64", "musl"}, ("C",)),
    ],
    ids=["usual", "architecture", "both words", "the first that holds"],
)
def test_a_row_expects_what_the_machine_makes_of_it(here: set[str], expected: tuple[str, ...]) -> None:
    """The first variant of which all words hold, else the row's usual evidence; all of it is told."""
    found, usual, variants = read_expects("A | B; aarch64: C; musl x86_64: D | E", frozenset(here))
    assert (found, usual) == (expected, ("A", "B"))
    assert variants == (Variant(("aarch64",), ("C",)), Variant(("musl", "x86_64"), ("D", "E")))


@pytest.mark.parametrize("text", ["A; B", "A; : B", "A; vax: B"])
def test_a_variant_names_a_machine(text: str) -> None:
    """Anything else is a mistake in the row."""
    with pytest.raises(InvalidInputError, match="does not begin with words of: aarch64 glibc musl x86_64"):
        read_expects(text, frozenset())


def test_a_need_that_the_build_can_not_meet_is_told() -> None:
    """Without a C++ compiler its rows are listed and skipped, never fired."""
    answer = call(find("terminate_call"), "forced")
    expected = Verdict.SKIP if "cxx" in unmet_needs() else Verdict.PASS
    assert answer.judgement.verdict is expected


def test_the_runtime_of_cxx_says_why() -> None:
    """What is printed before abort() is in the evidence, and an impossible allocation is counted as refused."""
    if "cxx" in unmet_needs():
        pytest.skip("built without a C++ compiler")
    evidence = supervise(Shot("bad_alloc"), deadline_s=30)
    assert "std::bad_alloc" in evidence.stderr
    assert evidence.memory.allocation_failures == 1


def test_parameters_are_checked() -> None:
    """Unknown names and values out of range say what was expected."""
    fault = find("null_read")
    with pytest.raises(InvalidInputError, match="expected 0 to 4095 bytes, not 4096"):
        check_parameters(fault, {"offset": 4096})
    with pytest.raises(InvalidInputError, match="no such parameter"):
        check_parameters(fault, {"ofset": 1})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_the_allocators_own_words_are_kept() -> None:
    """What glibc prints before it aborts is in the evidence."""
    evidence = supervise(Shot("double_free"), deadline_s=30)
    assert evidence.termination == Signaled("SIGABRT")
    assert "double free" in evidence.stderr
