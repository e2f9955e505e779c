"""Pebble's ProcessPool: no retry of its own; a time limit, and a cancel, for each job."""

import os
from importlib.metadata import version

import pebble
from chadapter import Adapter, serve, table


class Pebble(Adapter):
    name, version = "pebble", version("pebble")
    caps = ["TIMEOUT", "CANCEL", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("fail")
    detect_s, timeout_grace_s = 3, 4

    def start(self):
        self.pool = pebble.ProcessPool(self.workers)
        self.pool.schedule(os.getpid).result()

    def submit(self, job, last):
        return self.pool.schedule(self.call(), args=(job,), timeout=self.policy["timeout_s"])

    def look(self, job, future):
        if not future.done():
            return {"state": "running" if future.running() else "pending"}
        if future.cancelled():
            return {"state": "cancelled"}
        error = future.exception()
        if error is None:
            return {"state": "ok", "result": future.result()}
        code = getattr(error, "exitcode", None)
        told = f"{type(error).__name__}: {error}" + ("" if code is None else f", exit code {code}")
        return {"state": "failed", "cause": told}

    def cancel(self, job, future):
        future.cancel()

    def is_alive(self):
        return self.pool.active

    def pids(self):
        return list(self.pool._pool_manager.worker_manager.workers)

    def stop(self):
        self.pool.stop()
        self.pool.join()


if __name__ == "__main__":
    serve(Pebble())
