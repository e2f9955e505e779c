"""multiprocessing.Pool: no retry of its own, and a worker that dies takes its job with it."""

import multiprocessing
import platform

from chadapter import Adapter, serve


class Pool(Adapter):
    name, version = "multiprocessing.Pool", platform.python_version()
    caps = ["CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    detect_s = 3

    def start(self):
        self.pool = multiprocessing.get_context("fork").Pool(self.workers)

    def submit(self, job, last):
        return self.pool.apply_async(self.call(), (job,))

    def look(self, job, result):
        if not result.ready():
            return {"state": "running"}
        try:
            return {"state": "ok", "result": result.get()}
        except Exception as error:
            return {"state": "failed", "cause": f"{type(error).__name__}: {error}"}

    def is_alive(self):
        return True

    def pids(self):
        return [process.pid for process in self.pool._pool if process.is_alive()]

    def stop(self):
        for process in self.pool._pool:
            process.kill()


if __name__ == "__main__":
    serve(Pool())
