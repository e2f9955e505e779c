"""The comparison with the published upstream package, in small; and that it would find a difference."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from differential import SCRIPT, VERSIONS, Upstream, answer, compare, functions, same, shrink

from harness.dialects import find
from harness.dialects.builtin import BuiltIn
from harness.machine import no_published, published_folder, surroundings
from harness.wire.codes import Code

PROGRAM = [sys.executable, "-m", "harness"]
needs_upstream = pytest.mark.skipif(bool(no_published()), reason=no_published() or "upstream is there")


@pytest.mark.slow
@needs_upstream
@pytest.mark.parametrize("version", VERSIONS)
def test_no_function_differs(version: str) -> None:
    """300 random calls of each, this time by another seed than the big run's."""
    said: list[str] = []
    assert compare(version, 300, 99, said.append) == 0, "\n".join(said)


@pytest.mark.slow
@needs_upstream
def test_a_difference_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """4.4.6 against our 4.5: the one code that the fix made retriable, as the smallest error there is."""
    monkeypatch.setitem(VERSIONS, "4.4.6", find("upstream-4.5"))
    said: list[str] = []
    assert compare("4.4.6", 500, 1, said.append) >= 1
    assert any(
        "MISMATCH" in line and "{'type': 'INTERNAL_ERROR', 'code': 'TASK_PROCESS_SIGSEGV'}" in line for line in said
    )


@pytest.mark.slow
@needs_upstream
def test_shrinking_keeps_the_difference() -> None:
    """What is left is still one, and has nothing that it does not need."""
    function = functions(find("upstream-4.5"))["retriable"]
    large = [{"type": "INTERNAL_ERROR", "code": str(Code.TASK_PROCESS_SIGSEGV), "message": "abc" * 50}]
    with Upstream("4.4.6") as upstream:
        small = shrink(upstream, "retriable", function, large)
        assert not same(upstream.ask("retriable", [small])[0], answer(function, small))
    assert small == [{"type": "INTERNAL_ERROR", "code": "TASK_PROCESS_SIGSEGV"}]


def verdicts(dialect: str, *classifier: str) -> dict[str, str]:
    """What becomes of the shipped cases."""
    command = [*PROGRAM, "run", "--dialect", dialect, *classifier]
    ran = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
    lines = [line.split() for line in ran.stdout.splitlines()]
    known = {"PASS", "FAIL", "SKIP", "INFRA"}
    return {words[1]: words[0] for words in lines if len(words) > 1 and words[0] in known and "[" in words[1]}


@pytest.mark.slow
@needs_upstream
@pytest.mark.parametrize(("version", "dialect"), VERSIONS.items())
def test_the_real_code_judges_real_crashes(version: str, dialect: BuiltIn) -> None:
    """4.5.0 passes all that ours passes; 4.4.6 fails exactly the cases that the fix was made for, as ours does."""
    real = verdicts(dialect.name, "--classifier", f"cmd:node {SCRIPT} {published_folder(version)}")
    ours = verdicts(dialect.name)
    failed = {name for name, verdict in real.items() if verdict == "FAIL"}
    assert {name for name, verdict in ours.items() if verdict == "FAIL"} == failed
    assert len(real) == len(ours) > 30
    assert bool(failed) == (version == "4.4.6")


def test_doctor_says_why_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the skip."""
    monkeypatch.setattr("harness.machine.shutil.which", lambda _: None)
    found = next(one for one in surroundings() if one.name == "published upstream")
    assert found.value == f"none ({no_published()})" == "none (node is not installed)"


def test_the_script_is_there() -> None:
    """Where node is, it is at least sound."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    checked = subprocess.run(["node", "--check", str(SCRIPT)], capture_output=True, check=False, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert Path(SCRIPT).exists()
