"""What a trial costs: CPU of the whole process tree, beside what the kernel alone takes, and beside other ways.

    python tests/bench.py --rounds 5 --million --write docs/performance.md

Each way runs in a process of its own. Everything it starts is reaped by this one, a subreaper, so that its
RUSAGE_CHILDREN has the whole tree. Ways are interleaved in rounds, each between two measurements of its limit, and the
ratio of a round is that of its neighbours: machines drift, and a stored figure is no figure.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import watching

from harness.dialects import find
from harness.experiments.firing import BLOCK_TRIALS
from harness.supervisor import Limits, Shot, Zygote, memory_cgroup, process, supervise
from harness.supervisor.launch import host_command, runner_path
from harness.supervisor.zygote import HEAD, RENEW_EVERY
from harness.wire.request import Request, RunSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.evidence import Evidence, Host, Start

PR_SET_CHILD_SUBREAPER = 36
SHOT = Shot("null_write")
DEADLINE_S = 30.0
BOTH_CORES = 1.8
LIMIT = Limits(memory_bytes=64 << 20)
SUICIDE = "import faulthandler; faulthandler._read_null()"


# --- ways of dying `count` times ---


def fork_limit(count: int) -> None:
    """Fork, SIGSEGV, waitid in C: what the kernel alone takes."""
    subprocess.run([runner_path(), "--fork-limit", str(count)], check=True)


def exec_limit(count: int) -> None:
    """Vfork, exec of the native host without a shot, waitid in C."""
    subprocess.run([runner_path(), "--exec-limit", str(count), runner_path()], check=True, stderr=subprocess.DEVNULL)


def spawn_limit(count: int) -> None:
    """posix_spawn of `python -S -I` that loads the extension and dies of it, and waitpid: nothing observed."""
    _, extension, folder = host_command("python")[-3:]
    program = f"""
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader
sys.path.append({folder!r})
loader = ExtensionFileLoader("harness._native", {extension!r})
loader.exec_module(loader.create_module(ModuleSpec("harness._native", loader, origin={extension!r})))
{SUICIDE}"""
    argv = [sys.executable, "-S", "-I", "-c", program]
    for _ in range(count):
        os.waitpid(os.posix_spawn(argv[0], argv, os.environ), 0)


def zygote(
    host: Host,
    start: Start,
    limits: Limits = Limits(),  # noqa: B008 -- frozen
    renew_every: int = RENEW_EVERY,
) -> Callable[[int], None]:
    """Full evidence of each trial, decoded."""

    def way(count: int) -> None:
        with Zygote(host, start, limits, renew_every=renew_every) as server:
            for trial in server.fire(SHOT, count, DEADLINE_S):
                _check(trial.evidence())

    return way


def both_cores(count: int) -> None:
    """Two zygotes, each on a thread of its own."""
    threads = [threading.Thread(target=zygote("native", "warm"), args=(count // 2,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def supervised(count: int) -> None:
    """supervise(): a guard of its own for each, which is what a run's attempts get."""
    for _ in range(count):
        _check(supervise(SHOT, deadline_s=DEADLINE_S))


def _check(evidence: Evidence) -> None:
    if evidence.fault is None or evidence.fault.code != "SEGV_MAPERR" or evidence.cpu_s is None:
        raise AssertionError(evidence)


class Way(NamedTuple):
    """One row of the table: what is measured, against which limit, and what was promised."""

    title: str
    run: Callable[[int], None] | None  # None: tests/peers.py has it
    trials: int
    limit: str = "fork limit"
    promise: float | None = None


A_BLOCK = f"warm, a new process to fork from every {BLOCK_TRIALS} trials, as in experiments"
WAYS = {
    "fork limit": Way("C loop: fork, SIGSEGV, waitid (the limit)", fork_limit, 10000),
    "exec limit": Way("C loop: vfork, exec of the native host, waitid", exec_limit, 1000),
    "spawn limit": Way("posix_spawn of `python -S -I` with the extension, waitpid", spawn_limit, 40),
    "native warm": Way("native, warm", zygote("native", "warm"), 10000, promise=1.5),
    "native warm limited": Way("native, warm, in a memory limit", zygote("native", "warm", LIMIT), 10000, promise=1.5),
    "python warm": Way("python, warm", zygote("python", "warm"), 3000, promise=2.5),
    "python warm limited": Way("python, warm, in a memory limit", zygote("python", "warm", LIMIT), 3000, promise=2.5),
    "native block": Way(f"native, {A_BLOCK}", zygote("native", "warm", renew_every=BLOCK_TRIALS), 10000),
    "python block": Way(f"python, {A_BLOCK}", zygote("python", "warm", renew_every=BLOCK_TRIALS), 3000),
    "native fresh": Way("native, fresh", zygote("native", "fresh"), 1000, "exec limit", 1.3),
    "python fresh": Way("python, fresh", zygote("python", "fresh"), 40, "spawn limit", 1.3),
    "supervise": Way("python, fresh, by `supervise()`: a guard, a namespace each", supervised, 40, "spawn limit"),
    "subprocess": Way("subprocess.run of `python -S -I`", None, 40),
    "multiprocessing": Way("multiprocessing.Process, fork", None, 200),
    "session": Way("the same, from a process that has loaded pytest and hypothesis", None, 200),
    "executor": Way("ProcessPoolExecutor, fork", None, 100),
    "pebble": Way("pebble.ProcessPool", None, 100),
    "loky": Way("loky", None, 5),
    "forked": Way("pytest-forked", None, 40),
    "xdist": Way("pytest-xdist", None, 5),
}
PEERS = [name for name, way in WAYS.items() if way.run is None]


# --- measuring ---


class Cost(NamedTuple):
    """Seconds."""

    cpu: float
    wall: float


def measure(way: str, count: int) -> Cost:
    """Run a way in a process of its own, and reap all that it leaves."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ours = [sys.executable, __file__, "--way", way, "--trials", str(count)]
    theirs = [sys.executable, str(Path(__file__).with_name("peers.py")), way, str(count)]
    subprocess.run(theirs if way in PEERS else ours, check=way not in PEERS, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - began
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def per_trial(name: str) -> Cost:
    """What a trial costs beyond the imports of its way."""
    idle, whole, count = measure(name, 0), measure(name, WAYS[name].trials), WAYS[name].trials
    return Cost((whole.cpu - idle.cpu) / count, (whole.wall - idle.wall) / count)


class Figure(NamedTuple):
    """A way in one round: its cost, and its CPU as a multiple of its limit's."""

    cost: Cost
    ratio: float


def play(names: list[str], rounds: int) -> dict[str, list[Figure]]:
    """Measure all ways, each between two measurements of its limit."""
    seen: dict[str, list[Figure]] = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            before, cost, after = (per_trial(one) for one in (WAYS[name].limit, name, WAYS[name].limit))
            seen[name].append(Figure(cost, 2 * cost.cpu / (before.cpu + after.cpu)))
            sys.stderr.write(f"round {number}/{rounds} {name}: {seen[name][-1].ratio:.2f} x\n")
    return seen


def latency(start: Start, count: int) -> float:
    """Median seconds from a victim's end, as the process that waits for it sees it, to the decision."""
    spans = []
    for _ in range(count):
        evidence, ended_ns = _fresh_end() if start == "fresh" else _warm_end()
        found = find("upstream-4.5").classify(evidence)
        if found.error:
            find("upstream-4.5").decide(Request(found.error, 1, RunSettings(3, {"maxAttempts": 3}, "micro")))
        spans.append(time.monotonic_ns() - ended_ns)
    return statistics.median(spans) / 1e9


def _fresh_end() -> tuple[Evidence, int]:
    with mock.patch.object(process, "_evidence", wraps=process._evidence) as seen:
        evidence = supervise(Shot("null_write", host="native"), deadline_s=DEADLINE_S)
        return evidence, seen.call_args.args[0].ended_ns


def _warm_end() -> tuple[Evidence, int]:
    (trial,) = _one_server().fire(SHOT, 1, DEADLINE_S)
    return trial.evidence(), HEAD.unpack_from(trial.record)[7]


_servers: list[Zygote] = []


def _one_server() -> Zygote:
    if not _servers:
        _servers.append(Zygote("native", "warm"))
    return _servers[0]


def rss_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


PARTS_EXPLAINED = """
The guards are two processes beside the victim without a namespace, three in one, and one exec of a small program.
The first row is what two such processes cost that hold nothing, watch nothing and tell nothing: what the guards
are promised to cost leaves hardly anything above that. The guard is linked with a C library of its own
(`native/libc/`), which does nothing before `main()`; the system's asks the processor at its start what it can do,
and in a virtual machine waits for the hypervisor each time.

A good part of what perf costs is the kernel's: it changes its own code when the first event of a kind is opened,
and again when the last one is closed; while somebody else on the machine holds such events open, perf costs less."""


def told_of_parts() -> list[str]:
    """Tell what each part of watching a command costs."""
    return [
        "",
        "## What watching a command costs",
        "",
        "    .venv/bin/python tests/watching.py",
        "",
        "CPU of a tiny crash and all that stands by it, without our interpreter: a bare spawn of the same program,",
        f"what the part adds to it, as a multiple of the bare spawn; the median of {watching.ROUNDS} rounds.",
        "",
        *watching.table(watching.multiples()),
        *PARTS_EXPLAINED.splitlines(),
    ]


class Flatness(NamedTuple):
    """A long run: CPU µs of a trial in its first and last tenth, memory and descriptors after 1 % and at the end."""

    trials: int
    seconds: float
    first_us: float
    last_us: float
    rss_early: int
    rss_late: int
    descriptors_early: int
    descriptors_late: int


def million(count: int) -> Flatness:
    """Fire `count` native warm trials and see what grows."""
    began, marks = time.monotonic(), {}
    with Zygote("native", "warm") as server:
        spent, n = 0.0, 0
        for trial in server.fire(SHOT, count, DEADLINE_S):
            evidence = trial.evidence()
            _check(evidence)
            spent, n = spent + (evidence.cpu_s or 0), n + 1
            if n in (count // 100, count // 10, count - count // 10, count):
                marks[n] = spent, rss_bytes(), len(list(Path("/proc/self/fd").iterdir()))
    tenth = count // 10
    first, last = marks[tenth][0] / tenth, (marks[count][0] - marks[count - tenth][0]) / tenth
    early, late = marks[count // 100], marks[count]
    figures = (early[1], late[1], early[2], late[2])
    return Flatness(count, time.monotonic() - began, first * 1e6, last * 1e6, *figures)


# --- the page ---


def row(name: str, figures: list[Figure]) -> str:
    """One line of the table."""
    way, ratios = WAYS[name], sorted(figure.ratio for figure in figures)
    cpu = statistics.median(figure.cost.cpu for figure in figures) * 1e6
    rate = statistics.median(1 / figure.cost.wall for figure in figures)
    middle = statistics.median(ratios)
    multiple = f"{middle:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) × {way.limit}"
    promise = kept(way.promise, middle <= way.promise) if way.promise else ""
    return f"| {way.title} | {cpu:,.0f} | {rate:,.0f} | {multiple} | {promise} |"


def kept(promise: float, yes: bool) -> str:
    """A promise, and whether it is kept."""
    return f"≤ {promise} ×" if yes else f"≤ {promise} ×, **missed**"


def page(seen: dict[str, list[Figure]], told: list[str], command: str) -> str:
    """Write docs/performance.md."""
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors"
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    lines = [
        "# What a trial costs",
        "",
        "Generated; the command that measures all of it again:",
        "",
        f"    make bench          # {command}",
        "",
        f"Measured on {machine}, Python {platform.python_version()}, as {who}, cgroup version",
        f"{memory_cgroup().version or 'none'}. CPU is the whole process tree's per trial, less its way's imports.",
        "Ratios compare neighbours in one run; a rate is what this machine did in this hour, and no promise. Our ways",
        "give full evidence of each trial, decoded: the record of the crash with si_code and address, resource usage,",
        "a deadline, OOM kills where a limit is set. The others give what they give, and die of a null read in C too.",
        "What they fork is the process that asks, so their price grows with it; a victim of ours is forked by a",
        "process of its own. A warm Python victim has the whole interpreter, but maps it from a file: only the pages",
        "that it touches are copied.",
        "",
        "| way | CPU µs per trial | trials per s | CPU as a multiple, median (least-most) | promised |",
        "|---|---|---|---|---|",
        *(row(name, figures) for name, figures in seen.items()),
        "",
        *told,
    ]
    return "\n".join(lines) + "\n"


def told_of_peers(seen: dict[str, list[Figure]]) -> list[str]:
    """How far ours are from the best of the others, and how far one can be."""
    cpu = {name: statistics.median(figure.ratio for figure in figures) for name, figures in seen.items()}
    best = min((name for name in PEERS if name != "session"), key=lambda name: cpu[name])
    lines = []
    for name, promise in (("native warm", 15), ("python warm", 8)):
        bare, session = cpu[best] / cpu[name], cpu["session"] / cpu[name]
        where = verdict(bare, session, promise)
        lines.append(
            f"- {WAYS[name].title}: {session:.1f} × cheaper than the cheapest of the others in a test session, "
            f"{bare:.1f} × where it forks a bare interpreter (promised ≥ {promise} ×; {where})."
        )
    limit = f"the C loop itself is {cpu[best]:.1f} × cheaper than {WAYS[best].title} of a bare interpreter"
    return [*lines, f"- No way that forks can be further from the others than the limit: {limit}."]


def verdict(bare: float, session: float, promise: float) -> str:
    """Where a promise is kept."""
    kept_at = [where for where, times in (("in the session", session), ("bare", bare)) if times >= promise]
    return f"kept {' and '.join(kept_at)}" if kept_at else "**missed**"


def told_of_cores() -> str:
    """What a second processor brings: the median of three pairs."""
    pairs = [(measure("native warm", 20_000).wall, measure("both cores", 20_000).wall) for _ in range(3)]
    times = statistics.median(one / two for one, two in pairs)
    missed = "" if times >= BOTH_CORES else ", **missed**"
    return f"- Two zygotes on two processors fire {times:.2f} × as fast as one (promised ≥ {BOTH_CORES} ×{missed})."


def told_of_latency() -> str:
    """How long a verdict takes."""
    bare, fresh, warm = per_trial("fork limit").wall, latency("fresh", 100), latency("warm", 500)
    return (
        f"- From the end of a victim to the retry decision, median: {fresh * 1e3:.2f} ms by `supervise()`, "
        f"{warm * 1e3:.2f} ms by a zygote asked for one trial (promised ≤ 1 ms); a bare fork, crash and waitid takes "
        f"{bare * 1e3:.2f} ms."
    )


def told_of_many(count: int) -> str:
    """What grows."""
    flat = million(count)
    grown = (flat.rss_late - flat.rss_early) / 1e6
    cpu = f"{flat.first_us:.0f} µs in the first tenth, {flat.last_us:.0f} µs in the last"
    memory = f"{flat.rss_early / 1e6:.1f} MB after 1 %, {grown:+.1f} MB from there to the end (promised within 5 MB)"
    descriptors = f"{flat.descriptors_early} and {flat.descriptors_late}"
    return (
        f"- {flat.trials:,} native warm trials in {flat.seconds:,.0f} s: CPU of a victim {cpu}; "
        f"memory of the supervisor {memory}; its descriptors {descriptors}."
    )


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="What a trial costs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=sorted(WAYS), help="these ways only, and no further facts")
    parser.add_argument("--million", action="store_true", help="1,000,000 trials in one run as well")
    parser.add_argument("--write", type=Path, help="write the page there; else it is printed")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run = both_cores if options.way == "both cores" else WAYS[options.way].run
        if run:
            run(options.trials)
        return
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    seen = play(options.only or list(WAYS), options.rounds)
    told = [] if options.only else [*told_of_peers(seen), told_of_cores(), told_of_latency()]
    if options.million:
        told.append(told_of_many(1_000_000))
    told += [] if options.only else told_of_parts()
    text = page(seen, told, f"python tests/bench.py --rounds {options.rounds}{' --million' * options.million}")
    if options.write:
        options.write.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
