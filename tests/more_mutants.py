"""More mutants of the reference engine, each with the property that it breaks and the cells that show it."""

from __future__ import annotations

import os
import time
from itertools import count
from typing import Any

from reference_mutants import M3, Mutant

CAUSES = ("segv/none", "abrt/none")
LATE_S = 4
NUMBERS = count(20)


def _default_of(kind: str) -> Any:
    """One kind of end has a default of its own, which nobody declared."""

    def change(engine: Any, _: Any) -> None:
        true = engine.decide

        def decide(self: Any, job: Any, found: str) -> None:
            if found == kind and job.attempts == 1 and not self.policy["max_attempts"]:
                job.state = "pending"
            else:
                true(self, job, found)

        engine.decide = decide

    return change


def _one_more_of(kind: str) -> Any:
    """One kind of end is retried once more than the others."""

    def change(engine: Any, _: Any) -> None:
        true = engine.decide

        def decide(self: Any, job: Any, found: str) -> None:
            if found == kind and self.policy["max_attempts"] == job.attempts:
                job.state, job.due = "pending", time.monotonic() + self.backoff()
            else:
                true(self, job, found)

        engine.decide = decide

    return change


def _counter_of_each(engine: Any, _: Any) -> None:
    """Each kind of end has its own counter of attempts."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        kinds = self.counters = getattr(self, "counters", {})
        if end["kind"] != "ok":
            kinds[job.name, end["kind"]] = kinds.get((job.name, end["kind"]), 0) + 1
            job.attempts = kinds[job.name, end["kind"]]
        true(self, job, end)

    engine.ended = ended


def _told_early(engine: Any, _: Any) -> None:
    """The last attempt is called failed as soon as it begins."""
    true = engine.look

    def look(self: Any, job: str, handle: Any) -> Any:
        told = true(self, job, handle)
        is_last = told["state"] == "running" and told["history"] and told["attempts"] == self.limit()
        return {**told, "state": "failed"} if is_last else told

    engine.look = look


def _strange_at_first(engine: Any, _: Any) -> None:
    """The first that asks for a result is given another one."""
    true = engine.look

    def look(self: Any, job: str, handle: Any) -> Any:
        told = true(self, job, handle)
        self.asked = getattr(self, "asked", set())
        if told["state"] == "ok" and job not in self.asked:
            self.asked.add(job)
            return {**told, "result": "done:j00000000:1"}
        return told

    engine.look = look


def _flickers(engine: Any, _: Any) -> None:
    """A verdict is taken back for a moment."""
    true = engine.look

    def look(self: Any, job: str, handle: Any) -> Any:
        told = true(self, job, handle)
        self.looks = getattr(self, "looks", 0) + 1
        return {**told, "state": "running"} if told["state"] == "failed" and self.looks % 3 == 0 else told

    engine.look = look


def _cancels_all(engine: Any, _: Any) -> None:
    """A cancel takes what is queued with it."""
    true = engine.cancel

    def cancel(self: Any, _: str, __: Any) -> None:
        for other in self.jobs.values():
            if other.state != "ok":
                true(self, other.name, other)

    engine.cancel = cancel


def _never_cancelled(engine: Any, _: Any) -> None:
    """A job that is cancelled stays running for ever."""
    true = engine.look

    def look(self: Any, job: str, handle: Any) -> Any:
        told = true(self, job, handle)
        return {**told, "state": "running"} if handle.cancelled and told["state"] == "cancelled" else told

    engine.look = look


def _told_with(clock: Any) -> Any:
    """Crashes are told alike, but for something that differs each time."""

    def change(engine: Any, _: Any) -> None:
        def cause(_: Any, end: Any) -> str:
            return f"a worker died {clock()}" if end["kind"] in ("segv", "abrt") else str(end["cause"])

        engine.cause = cause

    return change


def _replaced_late(engine: Any, _: Any) -> None:
    """After a crash there is a worker fewer for four seconds."""
    ended, pids = engine.ended, engine.pids

    def note(self: Any, job: Any, end: Any) -> None:
        self.crashed = time.monotonic() if end["kind"] == "segv" else getattr(self, "crashed", 0.0)
        ended(self, job, end)

    def list_pids(self: Any) -> Any:
        found = pids(self)
        return found[1:] if time.monotonic() - getattr(self, "crashed", 0.0) < LATE_S else found

    engine.ended, engine.pids = note, list_pids


def _shared_history(engine: Any, _: Any) -> None:
    """All jobs share one list of causes."""
    true = engine.submit

    def submit(self: Any, job: str, last: Any) -> Any:
        made = true(self, job, last)
        self.causes = getattr(self, "causes", made.history)
        made.history = self.causes
        return made

    engine.submit = submit


def _term_is_cancel(engine: Any, _: Any) -> None:
    """A job that SIGTERM ends was cancelled, as far as the engine knows."""
    true = engine.decide

    def decide(self: Any, job: Any, kind: str) -> None:
        true(self, job, kind)
        if kind == "term" and job.state == "failed":
            job.state = "cancelled"

    engine.decide = decide


def _backoff_once(engine: Any, _: Any) -> None:
    """Only the first retry waits."""
    true = engine.again

    def again(self: Any, job: Any) -> None:
        true(self, job)
        if job.attempts > 1:
            job.due = 0.0

    engine.again = again


def _limit_of_the_job(engine: Any, _: Any) -> None:
    """The time limit is for all attempts together."""
    true = engine.order_of

    def order_of(self: Any, job: Any) -> Any:
        order = true(self, job)
        self.begun = getattr(self, "begun", {})
        since = time.monotonic() - self.begun.setdefault(job.name, time.monotonic())
        return {**order, "timeout_s": order["timeout_s"] and max(0.2, order["timeout_s"] - since)}

    engine.order_of = order_of


MORE: dict[str, Mutant] = {
    "a kill is tried twice by default": Mutant("P2", ("kill/none",), _default_of("kill")),
    "an abort has one attempt more": Mutant("P1", ("abrt/max3",), _one_more_of("abrt")),
    "a counter for each kind of end": Mutant("P1", ("mixed",), _counter_of_each),
    "failed before the last attempt ends": Mutant("P6", (M3,), _told_early),
    "a strange result at first": Mutant("P6", ("segv/none",), _strange_at_first),
    "a verdict flickers": Mutant("P6", ("segv/none",), _flickers),
    "a cancel takes the queue with it": Mutant("P7", ("cancel-run",), _cancels_all),
    "a cancelled job never ends": Mutant("P5", ("cancel-run",), _never_cancelled),
    "causes differ by the time of day": Mutant("P9", CAUSES, _told_with(lambda: time.strftime("at %H:%M:%S"))),
    "causes differ by a duration": Mutant("P9", CAUSES, _told_with(lambda: f"after {time.monotonic() % 9:.2f} s")),
    "causes differ by an id": Mutant("P9", CAUSES, _told_with(lambda: f"(unit {os.urandom(8).hex()})")),
    "causes differ by a counter": Mutant("P9", CAUSES, _told_with(lambda: f"as number {next(NUMBERS)}")),
    "a worker comes back late": Mutant("P8", ("segv/none",), _replaced_late),
    "one history for all": Mutant("P7", ("segv/none",), _shared_history),
    "SIGTERM is a cancel": Mutant("P3", ("term/max3",), _term_is_cancel),
    "only the first retry waits": Mutant("P12", (M3,), _backoff_once),
    "a time limit for all attempts": Mutant("P14", ("hang/max3",), _limit_of_the_job),
}
"""Other kinds than those of reference_mutants.py, which is the program that runs them."""
