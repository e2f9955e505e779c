"""SIGKILL the supervisor at random moments, and count what is left and what is lost; then aim signals at each step.

    python tests/chaos.py --kills 1000 --aimed 2000 --seed 1

A driver supervises a stream of victims, journals each, and says so after the commit. Each victim puts its number
into a file and leaves a daemon behind. After each kill there must be no process with the driver's mark, no cgroup of
a guard, no file of a box, no acknowledged result that the history has not, and no victim that it has not as started.
What is aimed is in tests/aimed.py.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from holding import NO_PTRACE, hold

from harness.journal import History, Kind, read
from harness.supervisor import Command, Limits, memory_cgroup, supervise
from harness.supervisor.box import PLACES

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "CRASH_HARNESS_CHAOS"
PATIENCE_S = 15.0
FIRST_S = 120.0  # for the first result: a machine may be slow
LIFE = """
echo {number} >> {marks}
setsid sleep 600 &
setsid sh -c 'setsid sleep 600 & sleep 600' &
{end}
"""
ENDS = ["kill -SEGV $$", "exit 3", "sleep 0.02", "sleep 0.05; kill -ABRT $$", "sleep 600"]


class Counts(NamedTuple):
    """What one kill showed."""

    started: int
    acknowledged: int
    orphans: int
    left: int
    lost: int
    unjournalled: int


# --- the driver: the process that is killed ---


def drive(folder: Path, seed: int) -> None:
    """Supervise victims for ever, on two threads."""
    numbers, draw = count(1), random.Random(seed)
    history, lock = History(folder / "history"), threading.Lock()

    def live() -> None:
        while True:
            with lock:
                number, end = next(numbers), draw.choice(ENDS)
            argv = ("sh", "-c", LIFE.format(number=number, marks=folder / "marks", end=end))
            journal = history.attempt("chaos", number)
            limits = Limits(memory_bytes=64 << 20) if number % 2 else Limits()
            evidence = supervise(Command(argv), limits, 0.1, grace_s=0.05, journal=journal)
            history.write(Kind.FINISHED, "chaos", number, evidence)
            os.write(1, f"{number}\n".encode())

    threading.Thread(target=live, daemon=True).start()
    live()


# --- the judge ---


def marked(mark: str) -> list[int]:
    """Processes that carry the mark in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def what(pid: int) -> str:
    """What a process is, what it waits for, and whose child it is: for whoever has to find out why it is there."""
    told = {}
    for name in ("cmdline", "stat", "wchan", "stack", "cgroup"):
        try:
            told[name] = Path(f"/proc/{pid}/{name}").read_text().replace("\0", " ").strip()
        except OSError as error:
            told[name] = str(error)
    return f"{pid} {told}"


def stale(supervisor: int) -> list[str]:
    """Cgroups and files of lives that this process supervised, which are over."""
    found = memory_cgroup()
    cgroups = [one.name for one in Path(found.parent).glob(f"crash-harness-{supervisor}-*")] if found.version else []
    return [*cgroups, *(str(one) for place in PLACES for one in Path(place).glob(f"crash-box-{supervisor}-*"))]


def lost(folder: Path, acknowledged: set[int]) -> tuple[int, int]:
    """Count acknowledged results that the history has not, and victims that lived and that it has not as started."""
    with read(folder / "history") as history:
        started = {event.number for event in history.events(Kind.STARTED)}
        finished = {event.number for event in history.events(Kind.FINISHED)}
    return len(acknowledged - finished), len(numbers_in(folder / "marks") - started)


def numbers_in(path: Path) -> set[int]:
    """Whole lines of a file of numbers."""
    text = path.read_text() if path.exists() else ""
    return {int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")}


def kill_once(after_s: float, seed: int, patience_s: float = PATIENCE_S, *, holds: bool = False) -> Counts:
    """Start a driver, kill it `after_s` seconds after its first result, and count.

    With `holds`, the guards can't act any more: the negative control. Raises PermissionError where that can't be had.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, mark = Path(name), f"{os.getpid()}-{seed}-{after_s}"
        command = [sys.executable, __file__, "--drive", name, "--seed", str(seed)]
        with (folder / "acknowledged").open("wb") as out:
            driver = subprocess.Popen(command, stdout=out, env={**os.environ, MARK: mark})
        holder = None
        try:
            wait_for(lambda: (folder / "acknowledged").stat().st_size > 0 or driver.poll() is not None, FIRST_S)
            threading.Event().wait(after_s)
            holder = _hold_guards(driver.pid) if holds else None
        finally:
            driver.kill()
            driver.wait()
        wait_for(lambda: not marked(mark) and not stale(driver.pid), patience_s)
        orphans, left = marked(mark), stale(driver.pid)
        if holder:
            holder.kill()
            holder.wait()
            wait_for(lambda: not marked(mark), PATIENCE_S)
        else:
            sys.stderr.writelines(f"left behind by {mark}: {what(pid)}\n" for pid in orphans)
        return _counts(folder, len(orphans), len(left))


def _hold_guards(supervisor: int) -> subprocess.Popen[bytes]:
    """Stop the supervisor in the middle of a life, and then hold all of its guards."""
    process = psutil.Process(supervisor)
    while True:
        process.suspend()
        below = {one.pid: _name(one) for one in process.children(recursive=True)}
        if {"guard", "sleep"} <= set(below.values()):
            break
        process.resume()
        threading.Event().wait(0.005)
    holder = hold(pid for pid, name in below.items() if name == "guard")
    if holder.returncode == NO_PTRACE:
        raise PermissionError("ptrace")
    return holder


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return ""


def wait_for(is_so: Callable[[], bool], patience_s: float) -> None:
    """Wait until it is so, or the time is over."""
    end = time.monotonic() + patience_s
    while not is_so() and time.monotonic() < end:
        threading.Event().wait(0.005)


def _counts(folder: Path, orphans: int, left: int) -> Counts:
    with read(folder / "history") as history:
        started = {event.number for event in history.events(Kind.STARTED)}
    acknowledged = numbers_in(folder / "acknowledged")
    return Counts(len(started), len(acknowledged), orphans, left, *lost(folder, acknowledged))


def chaos(kills: int, seed: int, *, say: bool = False) -> Counts:
    """Kill many times; the sums."""
    draw, sums = random.Random(seed), Counts(0, 0, 0, 0, 0, 0)
    for kill in range(1, kills + 1):
        seen = kill_once(draw.uniform(0, 0.25), draw.randrange(10**9))
        sums = Counts(*map(sum, zip(sums, seen, strict=True)))
        if say and kill % 50 == 0:
            sys.stderr.write(f"{kill} of {kills} kills: {sums}\n")
    return sums


def table(first: str, count: int, sums: tuple[int, ...], fields: tuple[str, ...]) -> str:
    """A row of counts, with its head."""
    rows = [(first, *fields), ("---",) * (1 + len(sums)), (count, *sums)]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows).replace("_", " ")


def main() -> int:
    """Print the tables; exit 1 when anything was left, lost, wrong or did not come back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--aimed", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive:
        drive(asked.drive, asked.seed)
    import aimed  # noqa: PLC0415 -- it imports this

    shots = aimed.shoot_all(asked.aimed, asked.seed, say=True)
    sys.stdout.write(table("aimed", asked.aimed, shots, aimed.Counts._fields) + "\n")
    sums = chaos(asked.kills, asked.seed, say=True)
    sys.stdout.write(table("kills", asked.kills, sums, Counts._fields))
    return int(any(sums[2:]) or any(shots[3:]))


if __name__ == "__main__":
    sys.exit(main())
