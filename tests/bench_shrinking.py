"""How long Hypothesis takes to shrink a native crash under the guard, against a plain fork for each example.

    python tests/bench_shrinking.py [--seeds 10] [--defects NAME …] [--max-examples 2000] [--write docs/shrinking.md]

Ten defects in a C function over bytes, planted here and built by cc. Each is looked for with the same seed in both
ways, one after the other, in this process. The table has what the seeds were shrunk to, and the
wall time.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from harness import NativeCrash
from harness.pytest_guard.shrinking import isolated_examples

DEFECTS = {
    "length": "n > 12",
    "first_byte": "n && d[0] == 0xff",
    "two_bytes": "n > 4 && d[3] == 'Z' && d[4] > 200",
    "sum": "sum > 2000",
    "pair_in_order": "n > 1 && d[0] > 100 && d[1] > d[0]",
    "last_byte": "n > 2 && d[n - 1] == 0x80",
    "zero_inside": "n > 3 && !d[2] && d[1] && d[3]",
    "repeat": "n > 2 && d[0] && d[0] == d[1] && d[1] == d[2]",
    "odd_length": "n > 6 && n % 2 && d[n / 2] > 9",
    "high_bits": "high > 5",
}
SOURCE = """
#include <stddef.h>
int {name}(const unsigned char *d, size_t n) {{
    unsigned sum = 0, high = 0;
    for (size_t i = 0; i < n; i++) {{ sum += d[i]; high += d[i] >> 7; }}
    if ({condition}) return *(volatile int *)8;
    return (int)(sum + high);
}}
"""
ABOUT = """`make bench-shrinking`: {seeds} seeds of each of {defects} planted defects. *Wall* is the time to
find and shrink the crash, as a share of what a plain fork for each example takes with the same seed; the median of
the seeds. *As plain* is in how many of the seeds that fork loop was shrunk to the same input: where a defect has two
smallest inputs there, it is Hypothesis that stops at either. `None`: neither way came across the crash.
A defect that is found and shrunk within a hundred examples leaves few forks to be saved."""


class Died(Exception):  # noqa: N818 -- what a plain loop knows
    """A fork has died."""


def forked(call: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """Do what people do without a harness: a fork for each example."""

    def run(data: bytes) -> None:
        pid = os.fork()
        if pid == 0:
            call(data)
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            raise Died

    return run


def shrunk(call: Callable[[bytes], object], number: int, most: int, around: Any) -> tuple[bytes | None, float]:
    """Let Hypothesis look for the crash. Return the smallest input that had it, and the seconds."""
    last: list[bytes] = []
    phases = (Phase.generate, Phase.shrink)

    @seed(number)
    @settings(max_examples=most, database=None, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=64))
    def test(data: bytes) -> None:
        call(data)

    began = time.monotonic()
    try:
        with around:
            test()
    except (Died, NativeCrash) as error:
        text = "\n".join(getattr(error, "__notes__", []))
        last = [eval(text.partition("data=")[2].rpartition(",")[0])]  # noqa: S307 -- what Hypothesis has printed
    return (last[0] if last else None), time.monotonic() - began


def row(name: str, call: Callable[[bytes], object], seeds: int, most: int) -> tuple[str, float, float]:
    """Measure one defect. Return its line, and the seconds of both ways in all."""
    found, shares, plain_s, ours_s, same = Counter[bytes | None](), [], [], 0.0, 0
    for number in range(seeds):
        plain, spent = shrunk(forked(call), number, most, nullcontext())
        ours, guarded = shrunk(call, number, most, isolated_examples(None))
        found[ours] += 1
        same += plain == ours
        plain_s.append(spent)
        ours_s += guarded
        if plain is not None and ours is not None:
            shares.append(guarded / spent)
    told = "; ".join(f"`{one!r}` {times} of {seeds}" for one, times in found.most_common())
    share = f"{statistics.median(shares):.2f}" if shares else "-"
    condition = DEFECTS[name].replace("|", "\\|")
    line = f"| {name} | `{condition}` | {told} | {same} | {statistics.median(plain_s):.1f} s | {share} |"
    return line, ours_s, sum(plain_s)


def called(function: Any, data: bytes) -> None:
    """Call the C function."""
    function(data, len(data))


def main() -> None:
    """Build the defects, print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--defects", nargs="+", choices=DEFECTS, default=list(DEFECTS))
    parser.add_argument("--max-examples", type=int, default=2000)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    lines = ["| defect | condition | shrunk to | as plain | plain fork loop | wall |", "|---|---|---|---|---|---|"]
    sys.stdout.write("\n".join([*lines, ""]))
    in_all = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.defects:
            source, library = Path(folder, f"{name}.c"), Path(folder, f"{name}.so")
            source.write_text(SOURCE.format(name=name, condition=DEFECTS[name]))
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
            function = getattr(ctypes.CDLL(str(library)), name)
            function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
            line, *spent = row(name, partial(called, function), asked.seeds, asked.max_examples)
            lines, in_all = [*lines, line], [sum(pair) for pair in zip(in_all, spent, strict=True)]
            sys.stdout.write(f"{lines[-1]}\n")
            sys.stdout.flush()
    if asked.write:
        lines += ["", f"All of them took {in_all[0] / in_all[1]:.2f} of the time of the plain loops."]
        about = ABOUT.format(seeds=asked.seeds, defects=len(asked.defects))
        asked.write.write_text("\n".join(["# What shrinking a crash costs", "", about, "", *lines, ""]))


if __name__ == "__main__":
    main()
