"""The worker of our own engine: takes jobs from a folder, runs each under the engine, and says how it goes.

    own_worker.py FOLDER SLOTS ORDER        ORDER: policy and machines, as JSON

A job is a file `NAME.job` there, `NAME.cancel` cancels it, and `NAME.says` is what the engine says of it. Each run has
a history, so that a worker which is started again goes on where another was killed.
"""

import json
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

import harness
from harness import api
from harness.dialects.custom import opened
from harness.engine.durable import Durable
from harness.engine.executor import NO_ANSWER, Bounds, OfVictim
from harness.engine.wallclock import WallClock
from harness.evidence import Evidence, Exited
from harness.journal import job_of
from harness.supervisor import Command, Limits, Stop, supervise

PRESETS = {"small": "small-1x", "large": "medium-1x"}


class CancelledError(Exception):
    """Asked for by the user."""


class Job:
    """One job, from its file to its verdict. It is the executor, and the clock, of its own run."""

    def __init__(self, path, order):
        self.path, self.order, self.name = path, order, path.stem
        self.stop, self.cancelled = Stop(), threading.Event()
        self.starts, self.causes = 0, []
        self.victim = OfVictim(Command((*order["argv"], self.name)))
        self.waits = WallClock(waits=False)

    def live(self, number, bounds):
        """One attempt, on a machine of just the size that the suite gave it. Its result is its last line."""
        if self.cancelled.is_set():
            raise CancelledError
        self.starts += 1
        self.say("running")
        size = {PRESETS[name]: size for name, size in self.order["machines"].items()}.get(bounds.machine)
        limits = Limits(size, "cgroup") if size else Limits()
        life = self.victim.live(number, msgspec.structs.replace(bounds, limits=limits))
        lines = life.evidence.stdout.strip().splitlines()
        if life.evidence.termination != Exited(0):
            return life
        return msgspec.structs.replace(life, **({"value": lines[-1]} if lines else {"thrown": NO_ANSWER}))

    @property
    def now_ms(self):
        return self.waits.now_ms

    def wait_ms(self, delay_ms):
        """The backoff: a cancel ends it."""
        self.say("pending")
        if self.cancelled.wait(max(0.0, delay_ms / 1000)):
            raise CancelledError

    def observe(self, attempt):
        """Keep the engine's words on an attempt that failed."""
        if attempt.error is not None:
            error = attempt.enhanced or attempt.error
            called = error.code if isinstance(error.code, str) else error.name
            self.causes.append(": ".join(filter(None, (called, error.message, attempt.cause))))

    def say(self, state, result=None):
        """Let the adapter read what the engine says."""
        said = {"state": state, "attempts": self.starts, "history": self.causes, "result": result}
        said["cause"] = self.causes[-1] if self.causes and state != "ok" else ""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(said))
        os.replace(part, self.path.with_suffix(".says"))

    def run(self, dialect):
        """All attempts, and the verdict."""
        asked = self.order["policy"]
        bounds = Bounds(Limits(), asked["timeout_s"], PRESETS["small"], partial(supervise, stop=self.stop))
        job = job_of("engine", (self.name,), argv=self.order["argv"])
        try:
            with Durable.open(self.path.with_suffix(".sqlite"), job, {}) as kept:
                run = api.live(self, policy(asked), bounds, dialect, 0, clock=self, observe=self.observe, kept=kept)
        except CancelledError:
            self.say("cancelled")
            return
        if self.cancelled.is_set() and not run.value:
            self.say("cancelled")
        elif run.status == "COMPLETED_SUCCESSFULLY":
            self.say("ok", run.value)
        else:
            self.say("failed")

    def cancel(self):
        """End its attempt, and start no other."""
        self.cancelled.set()
        self.stop.set()


def policy(asked):
    """The user's wish as a policy of ours: without one there is no retry."""
    if asked["max_attempts"] is None:
        return harness.Policy(machine=PRESETS["small"])
    wait_ms = max(1, round((asked["backoff_s"] or 0) * 1000))  # a delay of 0 means that no attempt is left
    config = {"maxAttempts": asked["max_attempts"], "factor": 1, "randomize": False}
    config |= {"minTimeoutInMs": wait_ms, "maxTimeoutInMs": wait_ms}
    if asked["oom_machine"]:
        config["outOfMemory"] = {"machine": PRESETS[asked["oom_machine"]]}
    return harness.Policy(asked["max_attempts"], config, PRESETS["small"])


def main():
    """Take what is there, and then what comes: a line on stdin says that there is something new."""
    folder, slots, order = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs = {}
    with ThreadPoolExecutor(slots) as pool, opened(order["dialect"]) as dialect:
        dialect.classify(Evidence(Exited(0)))  # a judge of another's starts at its first question
        look(folder, order, jobs, pool, dialect)
        print("ready", flush=True)
        for _ in sys.stdin:
            look(folder, order, jobs, pool, dialect)
            print("looked", flush=True)
        os._exit(0)


def told(run, *words):
    """A defect of the engine's goes into the log."""
    try:
        run(*words)
    except BaseException:
        traceback.print_exc()
        raise


def look(folder, order, jobs, pool, dialect):
    """Begin what is new, and cancel what is to be cancelled."""
    for path in sorted(folder.glob("*.job"), key=lambda one: one.stat().st_mtime_ns):
        says = path.with_suffix(".says")
        if path.stem in jobs or (
            says.exists() and json.loads(says.read_text())["state"] in ("ok", "failed", "cancelled")
        ):
            continue
        jobs[path.stem] = Job(path, order)
        pool.submit(told, jobs[path.stem].run, dialect)
    for path in folder.glob("*.cancel"):
        if path.stem in jobs:
            jobs[path.stem].cancel()


if __name__ == "__main__":
    main()
