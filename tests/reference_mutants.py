"""Mutants of the reference engine, each with the property that it breaks and the cells that show it.

python tests/reference_mutants.py NAME      the adapter of that mutant, in the suite's place for one
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

ENGINES = Path(__file__).parent.parent / "harness" / "conformance" / "engines"
sys.path.insert(0, str(ENGINES))


class Mutant(NamedTuple):
    """`change(engine, worker)` alters the two classes; `breaks` is the property, `cells` are those that show it."""

    breaks: str
    cells: tuple[str, ...]
    change: Any


def _set(**members: Any) -> Any:
    """Members of the engine that are otherwise."""

    def change(engine: Any, _: Any) -> None:
        for name, value in members.items():
            setattr(engine, name, value)

    return change


# --- counts ---


def _limit(add: int) -> Any:
    def change(engine: Any, _: Any) -> None:
        true = engine.limit
        engine.limit = lambda self: true(self) + add if self.policy["max_attempts"] else true(self)

    return change


def _counts_exceptions_only(engine: Any, _: Any) -> None:
    """The bug that everybody ships: the counter is raised in the handler of failures, which a crash never reaches."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        if end["kind"] not in ("ok", "exc"):
            job.attempts -= 1
        true(self, job, end)

    engine.ended = ended


def _unbounded(kind: str) -> Any:
    def change(engine: Any, _: Any) -> None:
        true = engine.decide

        def decide(self: Any, job: Any, found: str) -> None:
            if found == kind:
                job.state, job.due = "pending", time.monotonic() + self.backoff()
            else:
                true(self, job, found)

        engine.decide = decide

    return change


# --- classification ---


def _seen_as(**kinds: str) -> Any:
    """Ends that are taken for others."""

    def change(engine: Any, _: Any) -> None:
        true = engine.decide
        engine.decide = lambda self, job, kind: true(self, job, kinds.get(kind, kind))

    return change


def _told_as(cause: str, *kinds: str) -> Any:
    """Ends that are told in one word."""

    def change(engine: Any, _: Any) -> None:
        engine.cause = lambda _, end: cause if end["kind"] in kinds else end["cause"]

    return change


def _exit_0_is_ok(_: Any, worker: Any) -> None:
    true = worker.tell

    def tell(self: Any, order: Any, status: int, answer: Any, *seen: Any) -> Any:
        if status == 0 and not answer:
            return {"kind": "ok", "result": None}
        return true(self, order, status, answer, *seen)

    worker.tell = tell


def _guise(_: Any, worker: Any) -> None:
    """A shell's 139 is an exit, and is not retried; the table says it is."""
    true = worker.tell

    def tell(self: Any, order: Any, status: int, *seen: Any) -> Any:
        end = true(self, order, status, *seen)
        return {**end, "kind": "final"} if end["kind"] == "exit139" else end

    worker.tell = tell


def _swapped_history(engine: Any, _: Any) -> None:
    """The causes of a job that fails in several ways are told as the first."""
    engine.cause = lambda self, end: self.first.setdefault(end.get("job"), end["cause"])
    engine.first = {}
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        true(self, job, {**end, "job": job.name})

    engine.ended = ended


# --- machines ---


def _same_machine(engine: Any, _: Any) -> None:
    true = engine.order_of
    engine.order_of = lambda self, job: {**true(self, job), "memory": self.order["machines"].get("small", 0)}


def _always_larger(engine: Any, _: Any) -> None:
    true = engine.again

    def again(self: Any, job: Any) -> None:
        job.machine = self.policy["oom_machine"] or job.machine
        true(self, job)

    engine.again = again


def _back_to_small(engine: Any, _: Any) -> None:
    true = engine.decide

    def decide(self: Any, job: Any, kind: str) -> None:
        true(self, job, kind)
        if kind != "oom":
            job.machine = "small"

    engine.decide = decide


def _moves_twice(engine: Any, _: Any) -> None:
    """Without a larger machine an OOM is retried on the same."""
    engine.decide = _oom_as_retry(engine.decide)


def _oom_as_retry(true: Any) -> Any:
    def decide(self: Any, job: Any, kind: str) -> None:
        if kind == "oom" and not self.policy["oom_machine"]:
            self.again(job)
        else:
            true(self, job, kind)

    return decide


# --- time ---


def _deaf_to_zero(engine: Any, _: Any) -> None:
    true = engine.again

    def again(self: Any, job: Any) -> None:
        if self.policy["backoff_s"] == 0:
            job.state = "failed"
        else:
            true(self, job)

    engine.again = again


def _slow_verdict(engine: Any, _: Any) -> None:
    """The verdict on a crash comes four seconds late."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        if end["kind"] != "ok" and job.attempts >= self.limit():
            time.sleep(4)
        true(self, job, end)

    engine.ended = ended


def _late_limit(_: Any, worker: Any) -> None:
    true = worker.wait
    worker.wait = lambda self, timeout_s: true(self, timeout_s and timeout_s + 4)


def _by_signal(_: Any, worker: Any) -> None:
    """The limit is SIGTERM alone, which C code that holds the interpreter never lets through to a handler."""

    def end_attempt(self: Any) -> None:
        os.kill(self.child, signal.SIGTERM)
        if not worker.patient(self):
            os.kill(self.child, signal.SIGKILL)

    true = worker.live

    def live(self: Any, *words: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
        true(self, *words)

    worker.patient = lambda self: _waited(self, 5)
    worker.end_attempt, worker.live = end_attempt, live


def _waited(worker: Any, seconds: float) -> bool:
    import select  # noqa: PLC0415 -- this file is an adapter too, and starts as such forty times

    watch = os.pidfd_open(worker.child)
    try:
        return bool(select.select([watch], [], [], seconds)[0])
    finally:
        os.close(watch)


# --- innocents ---


def _neighbour(act: Any) -> Any:
    """A crash does something to the jobs beside it."""

    def change(engine: Any, _: Any) -> None:
        true = engine.ended

        def ended(self: Any, job: Any, end: Any) -> None:
            if end["kind"] not in ("ok", "exc"):
                for other in self.jobs.values():
                    if other is not job:
                        act(self, other)
            true(self, job, end)

        engine.ended = ended

    return change


def _condemn(_: Any, other: Any) -> None:
    if other.state == "pending":
        other.state = "failed"
        other.history.append("the pool is broken")


def _charge(_: Any, other: Any) -> None:
    if other.state == "running":
        other.attempts += 1


def _blame(_: Any, other: Any) -> None:
    if other.state in ("pending", "running") and not other.history:
        other.history.append("a neighbour died")
        other.forgiven = True


def _rerun(self: Any, other: Any) -> None:
    if other.state == "running":
        for slot in self.slots:
            slot.cancel(other)


def _rerun_neighbours(engine: Any, worker: Any) -> None:
    """Whoever runs beside a crash is started again, without being blamed."""
    _neighbour(_rerun)(engine, worker)
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        if end["kind"] == "kill" and job.attempts == 1 and not job.cancelled and job.name in self.spared:
            with self.changed:
                job.state = "pending"
                self.changed.notify_all()
            return
        true(self, job, end)

    engine.ended, engine.spared = ended, _Everybody()


class _Everybody:
    def __contains__(self, _: object) -> bool:
        return True


def _two_pills_break(engine: Any, _: Any) -> None:
    """Two jobs that crash break the pool: what is queued then is lost. One alone does not."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        true(self, job, end)
        if sum(bool(other.history) for other in self.jobs.values()) > 1:
            for other in self.jobs.values():
                if not other.history:
                    _condemn(self, other)

    engine.ended = ended


def _one_slot(engine: Any, _: Any) -> None:
    """It declares CONCURRENT, and runs one job at a time."""
    true = engine.start

    def start(self: Any) -> None:
        self.workers = 1
        true(self)

    engine.start = start


# --- verdicts ---


def _flips(engine: Any, _: Any) -> None:
    """A failed job is called ok half a second later."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        true(self, job, end)
        if job.state == "failed":
            threading.Timer(0.3, setattr, (job, "state", "cancelled")).start()

    engine.ended = ended


def _forgets_result(engine: Any, _: Any) -> None:
    true = engine.look
    engine.look = lambda self, job, handle: {**true(self, job, handle), "result": handle.result and "done:somebody"}


def _early_ok(engine: Any, _: Any) -> None:
    """A job is called ok as soon as it runs."""
    true = engine.look

    def look(self: Any, job: str, handle: Any) -> Any:
        told = true(self, job, handle)
        return {**told, "state": "ok"} if told["state"] == "running" else told

    engine.look = look


def _loses(engine: Any, _: Any) -> None:
    """A job that crashed stays running for ever."""
    true = engine.decide

    def decide(self: Any, job: Any, kind: str) -> None:
        true(self, job, kind)
        if job.state == "failed" and kind == "segv":
            job.state = "running"

    engine.decide = decide


def _zombie(engine: Any, _: Any) -> None:
    """A job that was said to have failed is started once more, a little later."""
    true = engine.look

    def look(self: Any, job: str, handle: Any) -> Any:
        told = true(self, job, handle)
        if told["state"] == "failed" and not handle.cancelled and handle.attempts == self.limit():
            threading.Timer(0.2, self.haunt, (handle,)).start()
        return told

    def haunt(self: Any, job: Any) -> None:
        with self.changed:
            if job.state == "failed" and job.attempts == self.limit():
                job.state = "pending"
                self.changed.notify_all()

    engine.look, engine.haunt = look, haunt


# --- processes ---


def _slot_is_lost(engine: Any, _: Any) -> None:
    """The worker beside a crash dies with it, and nobody restarts it."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        if end["kind"] == "segv":
            slot = next(slot for slot in self.slots if slot.job is None)
            slot.process.kill()
        true(self, job, end)

    engine.ended = ended


def _deaf_afterwards(engine: Any, _: Any) -> None:
    """After a crash nothing new is taken."""
    true = engine.take

    def take(self: Any) -> Any:
        job = true(self)
        if job and any(other.history for other in self.jobs.values()) and not job.history:
            time.sleep(3600)
        return job

    engine.take = take


def _overlaps(_: Any, worker: Any) -> None:
    """A hang is given up at its limit, and lives on."""

    def attempt(self: Any, order: Any) -> Any:
        source, sink = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            self.live(order["job"], sink, None)
        os.close(sink)
        if not self.wait(order["timeout_s"]):
            return {"kind": "timeout", "cause": f"timed out after {order['timeout_s']:g} s"}
        _, status = os.waitpid(self.child, 0)
        with os.fdopen(source, "rb") as file:
            data = file.read()
        return self.tell(order, status, json.loads(data) if data else {}, False, 0)

    worker.attempt = attempt


def _cancels_in_name(engine: Any, _: Any) -> None:
    """A cancelled attempt lives on."""

    def cancel(_: Any, __: str, handle: Any) -> None:
        handle.cancelled, handle.state = True, "cancelled"

    engine.cancel = cancel


# --- cancel, durable, history ---


def _retries_cancelled(engine: Any, _: Any) -> None:
    true = engine.cancel

    def cancel(self: Any, job: str, handle: Any) -> None:
        if handle.state != "pending":
            true(self, job, handle)

    engine.cancel = cancel


def _forgets_lost(engine: Any, _: Any) -> None:
    """An attempt whose supervisor was lost does not count."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        if end["kind"] == "lost":
            job.attempts = 0
        true(self, job, end)

    engine.ended = ended


def _loses_lost(engine: Any, _: Any) -> None:
    """A job whose supervisor was lost is never heard of again."""
    true = engine.ended

    def ended(self: Any, job: Any, end: Any) -> None:
        if end["kind"] != "lost":
            true(self, job, end)

    engine.ended = ended


def _reruns_finished(engine: Any, _: Any) -> None:
    """With its workers an engine forgets what was done."""
    true = engine.revive

    def revive(self: Any) -> None:
        for job in self.jobs.values():
            if job.state == "ok":
                job.state = "pending"
        true(self)

    engine.revive = revive


def _miscounts(engine: Any, _: Any) -> None:
    true = engine.look
    engine.look = lambda self, job, handle: {**true(self, job, handle), "attempts": max(1, handle.attempts - 1)}


def _short_history(engine: Any, _: Any) -> None:
    true = engine.look
    engine.look = lambda self, job, handle: {**true(self, job, handle), "history": handle.history[-1:]}


# --- what a peer would not look for ---


def _backoff_from_start(engine: Any, _: Any) -> None:
    """The delay counts from the start of the attempt that failed, as where a lease is renewed at its begin."""
    take, again = engine.take, engine.again

    def take_noting(self: Any) -> Any:
        job = take(self)
        if job:
            job.began = time.monotonic()
        return job

    def again_from_start(self: Any, job: Any) -> None:
        again(self, job)
        job.due -= time.monotonic() - job.began

    engine.take, engine.again = take_noting, again_from_start


def _backwards(engine: Any, _: Any) -> None:
    true = engine.look
    engine.look = lambda self, job, handle: {**true(self, job, handle), "history": handle.history[::-1]}


def _unsays(_: Any, worker: Any) -> None:
    """A process that dies after its result has failed."""
    true = worker.tell

    def live(self: Any, job: str, sink: int, group: Any) -> None:
        answer = {"result": self.payload(job)}
        os.write(sink, json.dumps(answer).encode())
        time.sleep(1)
        os._exit(0)

    def tell(self: Any, order: Any, status: int, answer: Any, *seen: Any) -> Any:
        return true(self, order, status, {} if status else answer, *seen)

    worker.live, worker.tell = live, tell


def _lists_the_dead(engine: Any, _: Any) -> None:
    """A worker dies with its job, stays on the list, and is not replaced."""
    engine.pids = lambda self: [slot.process.pid for slot in self.slots]
    _slot_is_lost(engine, _)


def _waits_for_the_hang(engine: Any, _: Any) -> None:
    """Where jobs have a time limit, nothing is begun while one runs."""
    true = engine.take

    def take(self: Any) -> Any:
        with self.changed:
            while not self.down and self.policy["timeout_s"] and any(one.attempts for one in self.running()):
                self.changed.wait(0.1)
            return true(self)

    engine.take = take
    engine.running = lambda self: [one for one in self.jobs.values() if one.state == "running"]


def _moves_count(engine: Any, _: Any) -> None:
    """A move to the larger machine uses up two attempts."""
    true = engine.decide

    def decide(self: Any, job: Any, kind: str) -> None:
        moved = job.moved
        true(self, job, kind)
        job.attempts += job.moved - moved

    engine.decide = decide


def _counts_for_all(engine: Any, _: Any) -> None:
    """One counter of failures for the whole queue."""
    true = engine.again

    def again(self: Any, job: Any) -> None:
        own, job.attempts = job.attempts, sum(len(one.history) for one in self.jobs.values())
        true(self, job)
        job.attempts = own

    engine.again = again


def _swaps_results(engine: Any, _: Any) -> None:
    """The result of whoever ended last is everybody's."""
    true = engine.look

    def look(self: Any, job: str, handle: Any) -> Any:
        last = [one.result for one in self.jobs.values() if one.result][-1:]
        return {**true(self, job, handle), "result": (last or [None])[0] if handle.result else None}

    engine.look = look


def _early_limit(_: Any, worker: Any) -> None:
    true = worker.wait
    worker.wait = lambda self, timeout_s: true(self, timeout_s and timeout_s / 5)


M3 = "segv/max3"
CRASHES = ("segv", "abrt", "kill", "term", "nomem", "exit139")
MUTANTS: dict[str, Mutant] = {
    "an attempt too many": Mutant("P0", ("exc/max3",), _limit(1)),
    "an attempt too few": Mutant("P0", ("exc/max3",), _limit(-1)),
    "two attempts by default": Mutant("P2", ("segv/none",), _set(limit=lambda s: s.policy["max_attempts"] or 2)),
    "a policy that is ignored": Mutant("P3", (M3,), _set(limit=lambda _: 1)),
    "counts exceptions only": Mutant("P1", (M3,), _counts_exceptions_only),
    "no bound for SIGKILL": Mutant("P1", ("kill/max3",), _unbounded("kill")),
    "no verdict without a bound": Mutant("P5", ("term/max3",), _unbounded("term")),
    "SIGSEGV is fatal": Mutant("P3", (M3,), _seen_as(segv="final")),
    "SIGABRT is an OOM": Mutant("P3", ("abrt/max3",), _seen_as(abrt="oom")),
    "a flaky crash is fatal": Mutant("P4", ("flaky-segv",), _seen_as(segv="final")),
    "a time limit is fatal": Mutant("P3", ("hang/max3",), _seen_as(timeout="final")),
    "an OOM is retried like a kill": Mutant("P3", ("oom/max3",), _seen_as(oom="kill")),
    "without a larger machine an OOM is retried": Mutant("P3", ("oom/max3-nomachine",), _moves_twice),
    "exit 0 is a success": Mutant("P6", ("exit0/none",), _exit_0_is_ok),
    "139 through a shell is another crash": Mutant("P20", (M3, "handled/max3", "sh139/max3"), _guise),
    "signals are told alike": Mutant("P9", ("segv/none", "abrt/none"), _told_as("the worker crashed", "segv", "abrt")),
    "139 is told as SIGSEGV": Mutant("P9", ("segv/none", "exit139/none"), _told_as("killed by SIGSEGV", "exit139")),
    "a time limit is told as a kill": Mutant(
        "P9", ("hang/max3", "kill/none"), _told_as("killed by SIGKILL", "timeout")
    ),
    "every cause is the first": Mutant("P9", ("mixed", "segv/none", "abrt/none", "exit139/none"), _swapped_history),
    "an OOM is told as a kill": Mutant("P10", ("oom/none", "kill/none"), _told_as("killed by SIGKILL", "oom")),
    "the larger machine is the same": Mutant("P11", ("oom/max3",), _same_machine),
    "a crash moves to the larger machine": Mutant("P11", (M3,), _always_larger),
    "back to the small machine": Mutant("P11", ("oom-segv-ok",), _back_to_small),
    "no backoff": Mutant("P12", (M3,), _set(backoff=lambda _: 0.0)),
    "half of the backoff": Mutant("P12", (M3,), _set(backoff=lambda s: (s.policy["backoff_s"] or 0) / 2)),
    "no delay is no retry": Mutant("P12", ("segv/max3-0",), _deaf_to_zero),
    "a slow verdict": Mutant("P13", ("segv/none",), _slow_verdict),
    "a late time limit": Mutant("P14", ("hang/max3",), _late_limit),
    "a time limit that C ignores": Mutant("P14", ("nhang/max3",), _by_signal),
    "a hang that lives on": Mutant("P17", ("hang/max3",), _overlaps),
    "the queue is condemned": Mutant("P7", ("segv/none",), _neighbour(_condemn)),
    "a neighbour is charged": Mutant("P7", (M3,), _neighbour(_charge)),
    "a neighbour is blamed": Mutant("P7", (M3,), _neighbour(_blame)),
    "a neighbour is run again": Mutant("P7", (M3,), _rerun_neighbours),
    "two pills break the pool": Mutant("P21", ("pills#1",), _two_pills_break),
    "one job at a time": Mutant("P7", ("segv/none",), _one_slot),
    "a verdict flips": Mutant("P6", ("segv/none",), _flips),
    "a result of somebody else": Mutant("P6", ("late",), _forgets_result),
    "ok before the end": Mutant("P6", ("late",), _early_ok),
    "a lost job": Mutant("P5", ("segv/none",), _loses),
    "a start after the verdict": Mutant("P6", ("abrt/max3",), _zombie),
    "a worker fewer": Mutant("P8", ("segv/none",), _slot_is_lost),
    "nothing new after a crash": Mutant("P8", ("segv/none",), _deaf_afterwards),
    "a cancelled job is retried": Mutant("P15", ("cancel-backoff",), _retries_cancelled),
    "a cancelled attempt lives on": Mutant("P18", ("cancel-run",), _cancels_in_name),
    "a cancel is ignored": Mutant("P15", ("cancel-run",), _set(cancel=lambda *_: None)),
    "a lost supervisor does not count": Mutant("P19", ("durable/max3",), _forgets_lost),
    "a lost supervisor loses the job": Mutant("P19", ("durable/none",), _loses_lost),
    "finished jobs are run again": Mutant("P19", ("durable/none",), _reruns_finished),
    "one attempt is not counted": Mutant("P16", (M3,), _miscounts),
    "only the last cause is kept": Mutant("P16", (M3,), _short_history),
    "a backoff from the start of the attempt": Mutant("P12", (M3,), _backoff_from_start),
    "a history that runs backwards": Mutant("P9", ("mixed", "segv/none", "abrt/none", "exit139/none"), _backwards),
    "a crash after the result unsays it": Mutant("P6", ("late",), _unsays),
    "the dead are on the list": Mutant("P8", ("segv/none",), _lists_the_dead),
    "nothing is begun beside a hang": Mutant("P7", ("hang/max3",), _waits_for_the_hang),
    "a move is two attempts": Mutant("P3", ("oom-segv-ok",), _moves_count),
    "one counter for the queue": Mutant("P3", ("pills#1",), _counts_for_all),
    "results of others": Mutant("P6", ("segv/none",), _swaps_results),
    "a fifth of the time limit": Mutant("P14", ("hang/max3",), _early_limit),
}


# --- adapters that misbehave ---


def _verb(name: str, true: Any) -> Any:
    """Another answer to one of the requests."""

    def change(_: Any, __: Any) -> None:
        import chadapter  # type: ignore[import-not-found]  # noqa: PLC0415 -- the kit, as an adapter finds it

        before = chadapter.VERBS[name]
        chadapter.VERBS[name] = lambda adapter, request: true(before(adapter, request), adapter)

    return change


def _sleep(_: Any, __: Any) -> Any:
    time.sleep(3600)


def _exit(reply: Any, adapter: Any) -> Any:
    """Leave once a fault has fired."""
    if any(job.history for job in adapter.jobs.values()):
        os._exit(7)
    return reply


def _other(reply: Any, _: Any) -> Any:
    """Another declaration for each cell."""
    return {**reply, "detect_s": 1 + time.monotonic() % 1}


def _in_client(engine: Any, _: Any) -> None:
    """Jobs run in the adapter's own process."""
    true = engine.submit

    def submit(self: Any, job: str, last: Any) -> Any:
        threading.Thread(target=self.call(), args=(job,)).start()
        return true(self, job, last)

    engine.submit, engine.take = submit, lambda _: None


class Misdeed(NamedTuple):
    """The verdict on an adapter that does wrong, and a part of the reason."""

    verdict: str
    reason: str
    change: Any


BAD: dict[str, Misdeed] = {
    "another protocol": Misdeed(
        "INFRA", "hello: protocol: expected 1, not 2", _verb("hello", lambda r, _: {**r, "protocol": 2})
    ),
    "no table": Misdeed(
        "INFRA",
        "hello: Object missing required field `table`",
        _verb("hello", lambda r, _: {key: value for key, value in r.items() if key != "table"}),
    ),
    "a strange answer": Misdeed(
        "INFRA",
        "table: exc: expected retry, fail, oom or move, not 'perhaps'",
        _verb("hello", lambda r, _: {**r, "table": {**r["table"], "exc": "perhaps"}}),
    ),
    "a strange capability": Misdeed(
        "INFRA", "not 'TIMOUT'; did you mean 'TIMEOUT'?", _verb("hello", lambda r, _: {**r, "caps": ["TIMOUT"]})
    ),
    "a long detection": Misdeed("INFRA", "detect_s: expected 0 to 60 seconds, not 61", _set(detect_s=61)),
    "an error for hello": Misdeed("INFRA", "hello: not today", _verb("hello", lambda *_: {"error": "not today"})),
    "silence at hello": Misdeed("INFRA", "hello: no reply in 10 s", _verb("hello", _sleep)),
    "another declaration each time": Misdeed(
        "INFRA", "hello: another declaration than before: detect_s", _verb("hello", _other)
    ),
    "an error for start": Misdeed("INFRA", "start: no room", _verb("start", lambda *_: {"error": "no room"})),
    "an error for submit": Misdeed("INFRA", "submit: no room", _verb("submit", lambda *_: {"error": "no room"})),
    "an error for claim": Misdeed("INFRA", "claim: expected jobs", _verb("claim", lambda *_: {"error": "no idea"})),
    "a state that is none": Misdeed(
        "INFRA",
        "claim: Invalid enum value 'fine'",
        _verb("claim", lambda r, _: {"jobs": {job: {"state": "fine"} for job in r["jobs"]}}),
    ),
    "a payload that is not run": Misdeed(
        "INFRA", "no start line", lambda _, worker: setattr(worker, "live", lambda *_: os._exit(0))
    ),
    "death after a fault": Misdeed(
        "FAIL", "the adapter died or fell silent: claim: end of its stdout, exit 7", _verb("claim", _exit)
    ),
    "jobs in the client": Misdeed("FAIL", "a job ran in the adapter's own process", _in_client),
    "half a character in an error": Misdeed(
        "INFRA", "start: cut in the middle: ?", _verb("start", lambda *_: {"error": "cut in the middle: \ud83d"})
    ),
    "an error for alive": Misdeed("INFRA", "alive: no idea", _verb("alive", lambda *_: {"error": "no idea"})),
}
"""Adapters that do wrong where it is not the engine's fault, or where it is."""


def main() -> None:
    """Be the adapter, or the worker, of the mutant that is named."""
    import reference  # type: ignore[import-not-found]  # noqa: PLC0415 -- beside the other adapters, not on mypy's path

    name = sys.argv[1]
    engine = type("Engine", (reference.Reference,), {})
    worker = type("Worker", (reference.Worker,), {})
    from more_mutants import MORE  # noqa: PLC0415 -- which takes the class Mutant from here

    change = ({**MUTANTS, **MORE}.get(name) or BAD[name]).change
    change(engine, worker)
    engine.worker = (sys.executable, "-S", os.path.abspath(__file__), name, "worker")  # type: ignore[attr-defined]
    reference.main(engine, worker)


if __name__ == "__main__":
    main()
