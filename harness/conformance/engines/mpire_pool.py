"""MPIRE's WorkerPool: no retry of its own; a time limit for each job."""

import os
import signal
from importlib.metadata import version

import mpire
from chadapter import Adapter, serve, table


class Mpire(Adapter):
    name, version = "mpire", version("mpire")
    caps = ["TIMEOUT", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("fail")
    detect_s, timeout_grace_s = 5, 5

    def start(self):
        self.pool = mpire.WorkerPool(n_jobs=self.workers)
        self.pool.apply(len, ("",))

    def submit(self, job, last):
        return self.pool.apply_async(self.call(), (job,), task_timeout=self.policy["timeout_s"])

    def look(self, job, handle):
        if not handle.ready():
            return {"state": "running"}
        try:
            return {"state": "ok", "result": handle.get()}
        except BaseException as error:
            return {"state": "failed", "cause": f"{type(error).__name__}: {error}"}

    def pids(self):
        return [worker.pid for worker in self.pool._workers if worker and worker.is_alive()]

    def stop(self):  # terminate() waits for a worker that hangs
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(Mpire())
