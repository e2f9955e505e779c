"""Ctrl-C at many moments of a command's first tenths of a second: how it ends, beside a bare interpreter.

    python tests/ctrl_c.py [--moments 60] [--within .4]

Before `harness/__main__` runs, the interpreter answers, with whatever it is doing: that is counted beside a bare one.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "harness"
BARE = [sys.executable, "-c", "import time; time.sleep(60)"]
OURS = (
    ["--help"],
    ["faults"],
    ["run", "controls"],
    ["exec", "--", "sleep", "60"],
    ["experiment", "--trials", "100000", "--", "sleep", "60"],
    ["decide"],
)
PATIENCE_S = 60


def interrupted(command: list[str], after_s: float) -> str:
    """Start a command, interrupt it after `after_s`, and say how it ended, in a few words."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=nothing, stderr=pipe, text=True) as process:
        due = time.monotonic() + after_s
        while (left := due - time.monotonic()) > 0 and process.poll() is None:
            time.sleep(min(left, 0.001))
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:  # an interpreter that is still starting can swallow it, and says so
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE_S)
            return f"went on, {how(process.returncode, said)}"
    return how(process.returncode, said)


def how(code: int, said: str) -> str:
    """Say in a few words how a process ended that was interrupted."""
    if "Traceback" in said or "Exception ignored" in said:
        return "traceback of ours" if f'File "{PACKAGE}' in said else "traceback of Python's"
    if code == -signal.SIGINT:
        return "ended by SIGINT"
    return f"exit {code}" + (f", {said.strip().splitlines()[-1]}" if code not in (0, 130) and said.strip() else "")


def count(command: list[str], moments: int, within_s: float) -> Counter[str]:
    """Interrupt a command at so many moments, spread evenly."""
    return Counter(interrupted(command, within_s * (one + 0.5) / moments) for one in range(moments))


def main() -> None:
    """Print a line a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=60)
    parser.add_argument("--within", type=float, default=0.4, metavar="S")
    asked = parser.parse_args()
    ours = [[sys.executable, "-m", "harness", *words] for words in OURS]
    for command in (BARE, *ours):
        counted = count(command, asked.moments, asked.within)
        words = ", ".join(f"{number} {what}" for what, number in counted.most_common())
        print(f"{' '.join(command[1:])[:60]:60} {words}", flush=True)  # noqa: T201 -- what it is for


if __name__ == "__main__":
    main()
