"""What the guard costs a test suite: CPU time against plain pytest in the same run, beside other ways to isolate tests.

    python tests/bench_pytest.py [--rounds 3] [--write docs/pytest-cost.md] [SUITE …]

Without a suite two are made: 60 tests of 50 ms each, and 1,300 that do nothing; each has four more tests, which crash
where the environment says so. A suite is a folder of tests. A way whose plugin is not installed is left out, and one
under which a test fails says so.
"""

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {
    "plain": ((), None),
    "guard, session": (("--crash-guard",), None),
    "guard, module": (("--crash-guard=module",), None),
    "guard, fork": (("--crash-guard=fork",), None),
    "xdist -n1": (("-n1",), "xdist"),
    "pytest-forked": (("--forked",), "pytest_forked"),
    "pytest-isolate": (("--isolate",), "pytest_isolate"),
    "pytest-isolated": (("--isolated",), "pytest_isolated"),
}
ABOUT = """`make bench-pytest`: CPU time as a multiple of plain pytest's in the same run, the median of the rounds, on a
suite of 60 tests of 50 ms and on one of 1,300 that do nothing. `-`: not installed where it was measured. *A crash* is
what each of four crashes adds under the guard with the scope `session`, as a multiple of `pytest --collect-only` of
that suite: a crash costs one start and one collection more."""
CRASHES, CRASHING = 4, "BENCH_CRASHES"
SESSION, CRASH = "guard, session", "a crash"
CRASHED = f"""
import ctypes, os, pytest
@pytest.mark.parametrize("number", range({CRASHES}))
def test_crash(number):
    if "{CRASHING}" in os.environ: ctypes.string_at(8)
"""
HEAVY = """
import time, pytest
@pytest.mark.parametrize("number", range(60))
def test_heavy(number):
    end = time.process_time() + 0.05
    while time.process_time() < end: pass
"""
TINY = "import pytest\n@pytest.mark.parametrize('number', range(130))\ndef test_tiny(number): pass\n"


def made(folder: Path) -> list[Path]:
    """Make the two suites."""
    heavy, tiny = folder / "heavy", folder / "tiny"
    for one in (heavy, tiny):
        one.mkdir()
        (one / "test_crashes.py").write_text(CRASHED)
    (heavy / "test_heavy.py").write_text(HEAVY)
    for number in range(10):
        (tiny / f"test_tiny{number}.py").write_text(TINY)
    return [heavy, tiny]


def cpu_s(suite: Path, words: tuple[str, ...], **environment: str) -> tuple[float, bool]:
    """Run a suite. Return the CPU seconds of all its processes, and whether all passed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, str(suite)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=suite, env=os.environ | environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.returncode == 0


def crash_cost(suite: Path, without_s: float) -> float:
    """Measure what a crash adds to `without_s`, as a multiple of what it takes to collect the suite."""
    with_s, passed = cpu_s(suite, WAYS[SESSION][0], **{CRASHING: "1"})
    if passed:
        raise SystemExit("the tests that were to crash passed")
    return (with_s - without_s) / CRASHES / cpu_s(suite, ("--collect-only",))[0]


def row(suite: Path, rounds: int) -> str:
    """Measure one suite in all ways, round by round, and write a row of the table."""
    seen: dict[str, list[float]] = {}
    failed = set()
    for _ in range(rounds):
        plain = cpu_s(suite, ())[0]
        seen.setdefault("plain", []).append(plain)
        for name, (words, plugin) in WAYS.items():
            if name == "plain" or (plugin and not importlib.util.find_spec(plugin)):
                continue
            spent, passed = cpu_s(suite, words)
            seen.setdefault(name, []).append(spent / plain)
            failed |= set() if passed else {name}
        if (suite / "test_crashes.py").exists():
            seen.setdefault(CRASH, []).append(crash_cost(suite, seen[SESSION][-1] * plain))
    cells = [f"{statistics.median(seen['plain']):.1f} s"]
    told = {name: "fails" if name in failed else f"{statistics.median(all_of):.2f}" for name, all_of in seen.items()}
    cells += [told.get(name, "-") for name in [*WAYS, CRASH][1:]]
    return f"| {suite.name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suites = [one.resolve() for one in asked.suites] or made(Path(folder))
        lines = [f"| suite | {' | '.join([*WAYS, CRASH])} |", f"|---|{'---|' * (len(WAYS) + 1)}"]
        lines += [row(suite, asked.rounds) for suite in suites]
    table = "\n".join(lines)
    sys.stdout.write(f"{table}\n")
    if asked.write:
        asked.write.write_text(f"# What the guard costs\n\n{ABOUT}\n\n{table}\n")


if __name__ == "__main__":
    main()
