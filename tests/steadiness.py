"""How steady the gate is: record a baseline, then check it again and again on an unchanged tree under CPU load.

    python tests/steadiness.py --runs 200 --busy 2

Prints each run that did not pass with what it said, and at the end how many passed. Exits 0 if all did.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

GATE = [sys.executable, "-m", "harness", "gate"]
LIMIT_S = 600.0
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with us, however we end


def busy(stack: ExitStack, count: int) -> None:
    """Keep so many processors busy until the stack is closed."""
    for _ in range(count):
        process = subprocess.Popen([sys.executable, "-c", BUSY])
        stack.callback(process.wait)
        stack.callback(process.kill)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a gate command to its end."""
    return subprocess.run([*GATE, *words], capture_output=True, text=True, check=False, timeout=LIMIT_S)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a run that did not pass said about it."""
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("PASS")]
    return "\n".join([f"exit code {done.returncode}", *lines, done.stderr.strip()])


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2, help="processes that only use the CPU")
    parser.add_argument("--dialect", default="upstream-4.5")
    parser.add_argument("check", nargs="*", help="more options for gate check, after --")
    return parser.parse_args()


def main() -> int:
    """Record, load the machine, check."""
    asked, durations, passed = options(), list[float](), 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = str(Path(folder) / "baseline.toml")
        recorded = run("record", "-o", path, "--dialect", asked.dialect)
        if recorded.returncode != 0:
            sys.stderr.write(f"nothing to check: {said(recorded)}\n")
            return 3
        busy(stack, asked.busy)
        for number in range(1, asked.runs + 1):
            began = time.monotonic()
            done = run("check", path, *asked.check)
            durations.append(time.monotonic() - began)
            passed += done.returncode == 0
            if done.returncode:
                print(f"run {number}: {said(done)}", flush=True)  # noqa: T201 -- a script's answer
        load = os.getloadavg()[0]
    machine = f"{asked.busy} busy processes, {os.cpu_count()} processors, load {load:.1f}"
    times = f"seconds a run: median {statistics.median(durations):.1f}, most {max(durations):.1f}"
    sys.stdout.write(f"{passed} of {asked.runs} runs passed; {machine}; {times}\n")
    return 0 if passed == asked.runs else 1


if __name__ == "__main__":
    sys.exit(main())
