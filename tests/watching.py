"""What supervision costs a command that crashes at once: CPU of victim and guards, without our interpreter.

    python tests/watching.py

Each round measures every part between two bare spawns; its cost is a multiple of theirs, and the answer the median of
the rounds. `library` and `perf` are what they add to the guards alone. The least that two processes beside the crash
can cost (`tests/native/least.c`) is measured in the same rounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
from typing import TYPE_CHECKING, NamedTuple

from two_ways import BUILD, Program, missing

from harness.supervisor import containment, supervise

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.supervisor.confinement import Wanted
    from harness.supervisor.observe import Observe

ROUNDS = 9
TINY = Program("tiny", "a null pointer", run=("crasher", "null:0"), build=("crasher", "least"))
LEAST = "two processes that only start and wait"


class Part(NamedTuple):
    """What is measured: who looks, in which containment; what it is less; and what was promised."""

    observe: Observe
    held: Wanted
    less: str
    promise: float


PARTS = {
    "guards, in a namespace": Part("off", "namespace", "", 1.4),
    "guards, without one": Part("off", "bare", "", 1.4),
    "library": Part("library", "bare", "guards, without one", 1.25),
    "perf": Part("perf", "bare", "guards, without one", 1.5),
}


def _spent(live: Callable[[], object], count: int) -> float:
    """CPU seconds of all that `live` starts, each time that it is called."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(count):
        live()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / count


def _bare(*before: str) -> None:
    words = [*before, str(BUILD / "crasher"), "null:0"]
    os.waitpid(os.posix_spawn(words[0], words, os.environ), 0)


def _supervised(part: Part) -> Callable[[], None]:
    def live() -> None:
        evidence = supervise([str(BUILD / "crasher"), "null:0"], observe=part.observe, containment=part.held)
        seen = {"library": evidence.black_box, "perf": evidence.second_witness}.get(part.observe, "off")
        if seen not in {"armed", "perf", "off"}:
            raise RuntimeError(f"{part.observe}: {seen}")

    return live


def multiples(rounds: int = ROUNDS, count: int = 40) -> dict[str, float]:
    """Each part's CPU as a multiple of a bare spawn's, the median of interleaved rounds.

    Raises RuntimeError where the tiny crash can't be built, or a witness is not there.
    """
    if reason := missing(TINY):
        raise RuntimeError(reason)
    parts = {name: part for name, part in PARTS.items() if part.held != "namespace" or containment().namespace}
    seen: dict[str, list[float]] = {name: [] for name in (LEAST, *parts)}
    for _ in range(rounds):
        whole, bare = dict[str, float](), _spent(_bare, count)
        seen[LEAST].append(_spent(lambda: _bare(str(BUILD / "least")), count) / bare)
        for name, part in parts.items():
            whole[name], after = _spent(_supervised(part), count), _spent(_bare, count)
            more = whole[name] - whole[part.less] if part.less else whole[name] - (bare + after) / 2
            seen[name].append(1 + more / ((bare + after) / 2))
            bare = after
    return {name: statistics.median(values) for name, values in seen.items()}


def _promised(name: str, multiple: float) -> str:
    if name not in PARTS:
        return ""
    promise = PARTS[name].promise
    return f"≤ {promise} ×" if multiple <= promise else f"≤ {promise} ×, **missed**"


def table(found: dict[str, float]) -> list[str]:
    """A table, a line each: the part, its multiple, what was promised."""
    rows = [f"| {name} | {multiple:.2f} × | {_promised(name, multiple)} |" for name, multiple in found.items()]
    return ["| part | CPU | promised |", "|---|---|---|", *rows]


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="What watching costs")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    told = [*table(multiples(options.rounds, options.count)), "", f"load {os.getloadavg()[0]:.1f}"]
    sys.stdout.write("\n".join(told) + "\n")


if __name__ == "__main__":
    main()
