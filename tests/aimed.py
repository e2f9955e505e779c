"""Signals aimed at each step of a life, at the supervisor and at each process of its guard: what comes of it.

The driver is a supervisor that lives one life whenever it is told to. Each life has a true end, which is known: it
crashes, or hangs until its deadline; and it leaves daemons behind. After the signal the driver must come back with the
true end or INFRA, if it was not itself killed; and there must be nothing left of that life.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Self, cast

from aiming import NO_PTRACE
from chaos import MARK, PATIENCE_S, lost, marked, stale, wait_for, what

from harness.exceptions import InfraError
from harness.journal import History, Kind
from harness.supervisor import Command, Limits, attend, containment, guard, memory_cgroup, supervise
from harness.supervisor.cgroups import remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.supervisor.confinement import Wanted

LIFE: Final = "echo {number} >> {marks}; setsid sleep 600 & setsid sh -c 'setsid sleep 600 & sleep 600' & {end}"
ENDS: Final = {"crash": ("kill -SEGV $$", 20.0), "hang": ("exec sleep 600", 0.15)}
TRUE: Final = {"crash": {("SIGSEGV", "self")}, "hang": {("SIGTERM", "deadline"), ("SIGKILL", "deadline")}}
SIGNALS: Final = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)
TARGETS: Final = ("supervisor", "guard", "parent", "init")
BACK_S: Final = 40.0
PAUSE_S: Final = 0.2
HURRY: Final = {"ASK_EVERY_S": 0.3, "ANSWER_S": 0.3, "RESUMED_S": 8.0}
ALL_STEPS: Final = 10**9


class Aim(NamedTuple):
    """Where a signal goes: to whom, at which step of which life."""

    rung: Wanted
    end: str
    target: str
    signal: signal.Signals
    step: int


class Counts(NamedTuple):
    """What signals showed.

    Those that met nobody, since the life was over or that process not there yet, are not `sent`.
    """

    sent: int
    true: int
    infra: int
    wrong: int
    not_back: int
    orphans: int
    left: int
    lost: int
    unjournalled: int


# --- the driver ---


def drive(folder: Path) -> None:
    """Live a life for each line: its number, rung and end. Say what came of it after the commit."""
    for name, seconds in HURRY.items():
        setattr(attend, name, seconds)
    guard.PATIENCE_S = HURRY["RESUMED_S"]
    containment(), memory_cgroup()
    history = History(folder / "history")
    sys.stdout.write("up\n")
    sys.stdout.flush()
    for line in sys.stdin:
        number, rung, end = line.split()
        sys.stdout.write(f"{number} {live(history, folder / 'marks', int(number), cast('Wanted', rung), end)}\n")
        sys.stdout.flush()


def live(history: History, marks: Path, number: int, rung: Wanted, end: str) -> str:
    """Live one. "true", "infra", or what it was instead."""
    command, deadline_s = ENDS[end]
    argv = ("sh", "-c", LIFE.format(number=number, marks=marks, end=command))
    limits = Limits(memory_bytes=64 << 20) if number % 2 else Limits()
    journal = history.attempt("aimed", number)
    try:
        seen = supervise(Command(argv), limits, deadline_s, grace_s=0.1, containment=rung, journal=journal)
    except InfraError:
        return "infra"
    history.write(Kind.FINISHED, "aimed", number, seen)
    told = str(seen.termination), seen.ended_by.value
    return "true" if told in TRUE[end] else f"wrong: {told}"


# --- the judge ---


class Driver:
    """A driver's process, and the folder that it writes to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark, self.acknowledged = folder, folder.name, set[int]()
        command = [sys.executable, __file__, "--drive", str(folder)]
        environment = {**os.environ, MARK: self.mark}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            cast("IO[str]", stream).close()

    def order(self, number: int, aim: Aim) -> None:
        """Have a life begun."""
        told = cast("IO[str]", self.process.stdin)
        told.write(f"{number} {aim.rung} {aim.end}\n")
        told.flush()

    def answer(self) -> str:
        """What came of the life; empty where the driver is dead."""
        return cast("IO[str]", self.process.stdout).readline().strip()

    def left(self) -> tuple[list[int], list[str]]:
        """Processes of a life that is over, and cgroups and files."""
        return [pid for pid in marked(self.mark) if pid != self.process.pid], stale(self.process.pid)

    def clear(self, orphans: list[int], left: list[str]) -> None:
        """End and remove what is left, once it is counted."""
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.left()[0], PATIENCE_S)
        for one in left:
            remove(Path(memory_cgroup().parent, one), 1.0)
            Path("/", one).unlink(missing_ok=True)


def shoot(driver: Driver, number: int, aim: Aim) -> tuple[str, str]:
    """Live a life and send the signal. Returns what the aimer says, and what the driver does.

    Raises PermissionError where there is no ptrace.
    """
    script = str(Path(__file__).with_name("aiming.py"))
    words = [str(driver.process.pid), str(aim.step), aim.target, str(aim.signal.value)]
    with subprocess.Popen([sys.executable, "-S", script, *words], stdout=subprocess.PIPE, text=True) as aimer:
        said = cast("IO[str]", aimer.stdout)
        if said.readline() != "ready\n":
            raise PermissionError("ptrace") if aimer.wait() == NO_PTRACE else RuntimeError("the aimer failed")
        driver.order(number, aim)
        watch = threading.Timer(BACK_S, driver.process.kill)
        watch.start()
        sent = said.readline().strip()
        if aim.target == "supervisor" and aim.signal is signal.SIGSTOP:
            threading.Event().wait(PAUSE_S)
            driver.process.send_signal(signal.SIGCONT)
        came = driver.answer()
        is_late = watch.finished.is_set()
        watch.cancel()
    return sent, "not back" if is_late else came.partition(" ")[2]


def judge(driver: Driver, number: int, aim: Aim, sent: str, came: str) -> Counts:
    """Count what is left, when it had time to go."""
    wait_for(lambda: driver.left() == ([], []), PATIENCE_S)
    orphans, left = driver.left()
    may_be_dead = aim.target == "supervisor" and aim.signal is signal.SIGKILL
    is_wrong = came.startswith("wrong") or (not came and not may_be_dead)
    if orphans or left or is_wrong or came == "not back":
        sys.stderr.write(f"{aim}: {sent}, {came!r}, left {[what(pid) for pid in orphans]} {left}\n")
        driver.clear(orphans, left)
    if came == "true":
        driver.acknowledged.add(number)
    missing = lost(driver.folder, driver.acknowledged) if not came else (0, 0)
    outcome = (sent == "sent", came == "true", came == "infra", is_wrong, came == "not back")
    figures = [*map(int, outcome), len(orphans), len(left), *missing]
    return Counts(*figures)


def aims(count: int, seed: int, lasts: dict[tuple[Wanted, str], int]) -> Iterator[Aim]:
    """Spread `count` aims over all steps, targets, signals, ends and rungs; SIGCONT gets a tenth of them."""
    draw = random.Random(seed)
    ways = [
        (rung, end, target, number)
        for (rung, end), target, number in product(lasts, TARGETS, SIGNALS)
        if rung == "namespace" or target != "init"
    ]
    weights = [1 if way[3] is signal.SIGCONT else 5 for way in ways]
    for rung, end, target, number in draw.choices(ways, weights, k=count):
        yield Aim(rung, end, target, number, draw.randint(1, lasts[rung, end]))


def shoot_all(count: int, seed: int, *, say: bool = False) -> Counts:
    """Aim `count` signals; the sums. Raises PermissionError where there is no ptrace."""
    rungs: list[Wanted] = ["namespace", "bare"] if containment().namespace else ["bare"]
    sums, number, driver = Counts(*[0] * 9), 0, None
    try:
        with tempfile.TemporaryDirectory() as name:
            driver = Driver(Path(name))
            lasts = {}
            for number, (rung, end) in enumerate(product(rungs, ENDS), 1):
                sent, _ = shoot(driver, number, Aim(rung, end, "guard", signal.SIGCONT, ALL_STEPS))
                lasts[rung, end] = int(sent.split()[1])
            for one, aim in enumerate(aims(count, seed, lasts), 1):
                number += 1
                if driver.process.poll() is not None:
                    driver.__exit__()
                    driver = Driver(Path(tempfile.mkdtemp(dir=name)))
                sums = Counts(
                    *map(sum, zip(sums, judge(driver, number, aim, *shoot(driver, number, aim)), strict=True))
                )
                if say and one % 50 == 0:
                    sys.stderr.write(f"{time.strftime('%X')} {one} of {count} aimed: {sums}\n")
    finally:
        if driver:
            driver.__exit__()
    return sums


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--drive", type=Path, required=True)
    drive(parser.parse_args().drive)
