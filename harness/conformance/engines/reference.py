"""The reference engine: as small as an engine can be that declares everything and keeps it.

Threads of the adapter are its scheduler, a process a slot its workers. A worker forks for each attempt, waits, and says
how it ended; the scheduler counts an attempt before it is handed to a worker, and decides what follows.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from chadapter import Adapter, serve, table

PR_SET_PDEATHSIG = 1
FIRST = os.path.isdir("/sys/fs/cgroup/memory")
ROOT = "/sys/fs/cgroup/memory" if FIRST else "/sys/fs/cgroup"
LIMIT, SWAP, COUNTER = (
    ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control")
    if FIRST
    else ("memory.max", "memory.swap.max", "memory.events")
)


class Job:
    """What the engine knows of a job."""

    def __init__(self, name):
        self.name, self.state, self.result = name, "pending", None
        self.attempts, self.moved, self.history, self.due = 0, 0, [], 0.0
        self.machine, self.cancelled = "small", False


class Reference(Adapter):
    """The engine, and its adapter at once."""

    name, version = "reference", "1"
    caps = ["RETRY", "BACKOFF", "TIMEOUT", "CANCEL", "CAUSE", "HISTORY", "LATE_SUBMIT", "DURABLE", "CONCURRENT"]
    caps += ["MACHINE"] if os.access(ROOT, os.W_OK) else []
    table = table("retry", oom="oom", lost="retry")
    detect_s, timeout_grace_s = 1, 1
    worker = (sys.executable, "-S", os.path.abspath(__file__), "worker")

    def __init__(self):
        super().__init__()
        self.changed = threading.Condition()
        self.slots, self.down = [], False

    # --- the verbs ---

    def start(self):
        """Start a worker for each slot, and the thread that feeds it."""
        self.slots = [Slot(self) for _ in range(self.workers)]
        for slot in self.slots:
            threading.Thread(target=slot.serve, daemon=True).start()

    def submit(self, job, last):
        """Queue it."""
        made = Job(job)
        with self.changed:
            self.jobs[job] = made
            self.changed.notify_all()
        return made

    def look(self, job, handle):
        """Tell it as it is."""
        with self.changed:
            cause = handle.history[-1] if handle.history and handle.state != "ok" else ""
            return {
                "state": handle.state,
                "cause": cause,
                "attempts": handle.attempts,
                "history": list(handle.history),
                "result": handle.result,
            }

    def cancel(self, job, handle):
        """End what runs, and start nothing more."""
        with self.changed:
            handle.cancelled = True
            if handle.state == "pending":
                handle.state = "cancelled"
            elif handle.state == "running":
                for slot in self.slots:
                    slot.cancel(handle)

    def is_alive(self):
        """Workers that a process manager would restart don't count."""
        return not self.down

    def pids(self):
        """The workers."""
        return [slot.process.pid for slot in self.slots if slot.process.poll() is None]

    def revive(self):
        """Restart the workers that are dead."""
        with self.changed:
            for slot in self.slots:
                if slot.process.poll() is not None:
                    slot.begin()
            self.changed.notify_all()

    def stop(self):
        """Kill the workers; their attempts die with them."""
        with self.changed:
            self.down = True
            self.changed.notify_all()
        for slot in self.slots:
            slot.process.kill()
            slot.process.wait()

    # --- the engine ---

    def take(self):
        """Wait for a job that is due, and count its attempt: before it starts, so that no crash can undo it."""
        with self.changed:
            while not self.down:
                due = [job for job in self.jobs.values() if job.state == "pending" and job.due <= time.monotonic()]
                if due:
                    job = min(due, key=self.turn)
                    job.state, job.attempts = "running", job.attempts + 1
                    return job
                later = [job.due for job in self.jobs.values() if job.state == "pending"]
                self.changed.wait(max(0.0, min(later) - time.monotonic()) if later else None)
        return None

    def turn(self, job):
        """First come, first served."""
        return job.due

    def order_of(self, job):
        """What a worker is told."""
        memory = self.order["machines"].get(job.machine, 0)
        return {"job": job.name, "timeout_s": self.policy["timeout_s"], "memory": memory, "name": job.machine}

    def ended(self, job, end):
        """Decide what follows an attempt: `end` is the worker's word, or that of its loss."""
        with self.changed:
            if end["kind"] == "ok":
                job.state, job.result = "ok", end["result"]
            else:
                job.history.append(self.cause(end))
                self.decide(job, end["kind"])
            self.changed.notify_all()

    def cause(self, end):
        """The engine's words."""
        return end["cause"]

    def decide(self, job, kind):
        """Follow the table, within the policy."""
        answer = self.table.get(kind, "fail")
        if job.cancelled:
            job.state = "cancelled"
        elif answer == "oom" and self.policy["oom_machine"] and not job.moved:
            job.moved, job.machine = 1, self.policy["oom_machine"]
            self.again(job)
        elif answer == "retry":
            self.again(job)
        else:
            job.state = "failed"

    def again(self, job):
        """Try once more, where that is allowed."""
        if job.attempts >= self.limit():
            job.state = "failed"
        else:
            job.state, job.due = "pending", time.monotonic() + self.backoff()

    def limit(self):
        """Starts in all."""
        return self.policy["max_attempts"] or self.default_attempts

    def backoff(self):
        """Seconds before the next attempt."""
        return self.policy["backoff_s"] or 0.0


class Slot:
    """A worker process, and what it does now."""

    def __init__(self, engine):
        self.engine, self.job = engine, None
        self.begin()

    def begin(self):
        """Start the process."""
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.engine.worker, stdin=pipe, stdout=pipe, start_new_session=True)

    def serve(self):
        """Feed it, as long as the engine lives."""
        while True:
            job = self.engine.take()
            if job is None:
                return
            self.job = job
            end = self.run(self.engine.order_of(job))
            self.job = None
            self.engine.ended(job, end)

    def run(self, order):
        """One attempt; the loss of the worker is one, too."""
        try:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = b""
        if line:
            return json.loads(line)
        self.process.wait()
        self.wait_for_revival()
        return {"kind": "lost", "cause": "its supervisor was lost"}

    def wait_for_revival(self):
        """Until a process manager has started the worker again."""
        with self.engine.changed:
            while not self.engine.down and self.process.poll() is not None:
                self.engine.changed.wait()

    def cancel(self, job):
        """End the attempt, if it runs here: the worker kills it on SIGUSR1."""
        if self.job is job and self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)


class Worker:
    """The worker's process: an attempt at a time, each in a fork."""

    def __init__(self):
        self.cancelled, self.child = False, 0
        self.libc = ctypes.CDLL(None)
        from chpayload import run

        self.payload = run

    def serve(self):
        """A line in, a line out."""
        signal.signal(signal.SIGUSR1, self.on_cancel)
        with os.fdopen(os.dup(1), "wb") as out:
            os.dup2(2, 1)
            for line in sys.stdin.buffer:
                out.write(json.dumps(self.attempt(json.loads(line))).encode() + b"\n")
                out.flush()

    def on_cancel(self, *_):
        """Asked for by the scheduler."""
        self.cancelled = True
        if self.child:
            with suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGKILL)

    def attempt(self, order):
        """Fork, wait, and say how it ended."""
        self.cancelled = False
        group = self.group(order) if order["memory"] else None
        source, sink = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            self.live(order["job"], sink, group)
        os.close(sink)
        timed_out = not self.wait(order["timeout_s"])
        if timed_out:
            self.end_attempt()
        _, status = os.waitpid(self.child, 0)
        self.child = 0
        answer = self.read(source)
        killed = self.count(group)
        self.remove(group)
        return self.tell(order, status, answer, timed_out, killed)

    def live(self, job, sink, group):
        """The attempt's process."""
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if group:
            with open(group + ("/tasks" if FIRST else "/cgroup.procs"), "w") as file:
                file.write("0")
        try:
            answer = {"result": self.payload(job)}
        except Exception as error:
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        os.write(sink, json.dumps(answer).encode())
        os._exit(0)

    def wait(self, timeout_s):
        """Until the attempt has ended: False where its time is over."""
        watch = os.pidfd_open(self.child)
        try:
            return bool(select.select([watch], [], [], timeout_s)[0])
        finally:
            os.close(watch)

    def end_attempt(self):
        """At the time limit."""
        os.kill(self.child, signal.SIGKILL)

    def read(self, source):
        """What it answered, or nothing."""
        with os.fdopen(source, "rb") as file:
            data = file.read()
        return json.loads(data) if data else {}

    def tell(self, order, status, answer, timed_out, killed):
        """The end, as class and cause."""
        if "result" in answer and status == 0:
            return {"kind": "ok", "result": answer["result"]}
        if "error" in answer:
            return {"kind": "exc", "cause": answer["error"]}
        if timed_out:
            return {"kind": "timeout", "cause": "timed out after %g s" % order["timeout_s"]}
        if os.WIFEXITED(status):
            code = os.WEXITSTATUS(status)
            return {"kind": "exit%d" % code if code in (0, 139) else "exc", "cause": "exit %d without a result" % code}
        if killed:
            return {"kind": "oom", "cause": "killed for its memory on the machine %s" % order["name"]}
        number = os.WTERMSIG(status)
        kind = {signal.SIGABRT: "abrt", signal.SIGKILL: "kill", signal.SIGTERM: "term"}.get(number, "segv")
        return {"kind": kind, "cause": "killed by %s" % signal.Signals(number).name}

    # --- the machine: a memory cgroup for each attempt ---

    def group(self, order):
        """Make it."""
        path = "%s/crash-harness-engine-%s-%d" % (ROOT, os.environ["CH_RUN"], os.getpid())
        with suppress(FileExistsError):
            os.mkdir(path)
        self.write(path, LIMIT, order["memory"])
        with suppress(OSError):
            self.write(path, SWAP, order["memory"] if FIRST else 0)
        return path

    def write(self, path, name, value):
        """One of its files."""
        with open(path + "/" + name, "w") as file:
            file.write(str(value))

    def count(self, group):
        """Whether the kernel killed in it for want of memory."""
        if not group:
            return 0
        with open(group + "/" + COUNTER) as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)

    def remove(self, group):
        """The kernel keeps it busy for a moment."""
        for _ in range(50 if group else 0):
            try:
                os.rmdir(group)
            except OSError:
                time.sleep(0.005)
            else:
                return


def main(engine=Reference, worker=Worker):
    """The adapter, or one of its workers."""
    if sys.argv[-1] == "worker":
        worker().serve()
    else:
        serve(engine())


if __name__ == "__main__":
    main()
