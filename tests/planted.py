"""Plant crashes at random in suites of tests: each is to be blamed on its test and phase, and the others to pass.

    python tests/planted.py [--seeds 30] [--kinds call thread …] [--workers 0 2]

A suite has 4 modules of 6 tests. Each seed plants one crash of a kind at a random place, of a random way to die. What
must come out: that test's failure (in setup or teardown its error; for an import a collection error of the module; at
exit an error of the process's own), and all other tests passed.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

KINDS = ("call", "setup", "teardown", "import", "thread", "exit")
MODULES, TESTS = 4, 6
WAYS = (
    "ctypes.string_at(8)",
    "os.abort()",
    "ctypes.memset(1 << 46, 1, 1)",
    "os.kill(os.getpid(), signal.SIGKILL)",
    "os.kill(os.getpid(), signal.SIGFPE)",
    "os.kill(os.getpid(), signal.SIGBUS)",
    "sys.setrecursionlimit(10**9); deep()",
    "os._exit(0)",
)
BEGIN = """
import atexit, ctypes, os, signal, sys, threading
import pytest
def deep():
    return ctypes.CFUNCTYPE(None)(deep)()
def die(*_):
    {way}
@pytest.fixture(scope="module", autouse=True)
def shared():
    yield "shared"
@pytest.fixture
def fragile_before():
    die()
@pytest.fixture
def fragile_after():
    yield
    die()
"""
PLANTED = {
    "call": "def test_{number}(): die()\n",
    "setup": "def test_{number}(fragile_before): pass\n",
    "teardown": "def test_{number}(fragile_after): pass\n",
    "thread": "def test_{number}():\n    one = threading.Thread(target=die); one.start(); one.join()\n",
    "exit": "def test_{number}(): atexit.register(die)\n",
    "import": "die()\ndef test_{number}(): pass\n",
}


def plant(folder: Path, kind: str, draw: random.Random) -> tuple[str, str]:
    """Write a suite with a crash in it. Return the module and the test that have it."""
    where, at = draw.randrange(MODULES), draw.randrange(TESTS)
    way = draw.choice(WAYS[:-1] if kind == "exit" else WAYS)  # to leave with status 0 at exit is to leave
    for module in range(MODULES):
        text = BEGIN.format(way=way)
        for number in range(TESTS):
            is_it = (module, number) == (where, at)
            text += (PLANTED[kind] if is_it else "def test_{number}(shared): assert shared\n").format(number=number)
        (folder / f"test_m{module}.py").write_text(text)
    return f"test_m{where}", f"test_{at}"


def expected(kind: str, module: str, test: str) -> dict[tuple[str, str], str]:
    """What JUnit is to say of each test: passed, failure or error."""
    wanted = {(f"test_m{one}", f"test_{number}"): "passed" for one in range(MODULES) for number in range(TESTS)}
    if kind == "import":
        wanted = {key: value for key, value in wanted.items() if key[0] != module}
        return {**wanted, ("", module): "error"}
    if kind == "exit":
        return wanted
    wanted[module, test] = "failure" if kind in {"call", "thread"} else "error"
    return wanted


def seen(path: Path) -> dict[tuple[str, str], str]:
    """What it says. The worst of what is said of a test counts; what has no test is an error of the process's."""
    found: dict[tuple[str, str], str] = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 -- our own
        key = (case.get("classname") or "", case.get("name") or "")
        tags = {child.tag for child in case} & {"failure", "error", "skipped"}
        found[key] = next(iter(tags), found.get(key, "passed"))
    return found


def differences(kind: str, seed: int, workers: int) -> str:
    """Run one suite. Return what is not as it must be."""
    draw = random.Random(f"{kind} {seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module, test = plant(folder, kind, draw)
        spread = [f"-n{workers}"] if workers else []
        words = ["--crash-guard", "--continue-on-collection-errors", "--junitxml=out.xml", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "-q", *words, *spread]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
        if not (folder / "out.xml").exists():
            return f"no report: {done.stdout[-500:]}{done.stderr[-500:]}"
        found, wanted = seen(folder / "out.xml"), expected(kind, module, test)
    if kind == "exit":
        own = re.findall(r"^(?:ERROR|FAILED) (\S+\.py::.*) - NativeCrash", done.stdout, re.MULTILINE)
        all_passed = f"{len(wanted)} passed" in done.stdout
        return "" if all_passed and len(own) == 1 else f"expected {len(wanted)} passed and one error, not {own}"
    return ", ".join(
        f"{key}: {found.get(key)}, not {wanted.get(key)}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    )


def main() -> int:
    """Run all, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    asked = parser.parse_args()
    wrong = 0
    for workers in asked.workers:
        for kind in asked.kinds:
            told = [(seed, differences(kind, seed, workers)) for seed in range(asked.seeds)]
            bad = [(seed, why) for seed, why in told if why]
            wrong += len(bad)
            sys.stdout.write(f"-n{workers} {kind}: {asked.seeds - len(bad)} of {asked.seeds} blamed right\n")
            for seed, why in bad:
                sys.stdout.write(f"    seed {seed}: {why}\n")
            sys.stdout.flush()
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
