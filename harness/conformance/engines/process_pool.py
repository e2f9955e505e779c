"""concurrent.futures.ProcessPoolExecutor: no retry of its own."""

import multiprocessing
import platform
from concurrent.futures import ProcessPoolExecutor

from chadapter import Adapter, serve


def claim(future):
    """What a future says."""
    if not future.done():
        return {"state": "running" if future.running() else "pending"}
    error = future.exception()
    if error is None:
        return {"state": "ok", "result": future.result()}
    return {"state": "failed", "cause": f"{type(error).__name__}: {error}"}


class ProcessPool(Adapter):
    name, version = "ProcessPoolExecutor", platform.python_version()
    caps = ["CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    detect_s = 3

    def start(self):
        self.pool = ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("fork"))

    def submit(self, job, last):
        return self.pool.submit(self.call(), job)

    def look(self, job, future):
        return claim(future)

    def is_alive(self):
        return not self.pool._broken

    def pids(self):
        return list(self.pool._processes or {})

    def stop(self):
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    serve(ProcessPool())
