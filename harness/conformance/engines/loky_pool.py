"""loky's reusable executor: a pool that is broken is replaced by the next one that asks."""

import os
import signal

import loky
from chadapter import Adapter, serve
from process_pool import claim


class Loky(Adapter):
    name, version = "loky", loky.__version__
    caps = ["CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    detect_s = 5

    def start(self):
        self.executor().submit(int).result()

    def executor(self):
        return loky.get_reusable_executor(self.workers, timeout=3600)

    def submit(self, job, last):
        return self.executor().submit(self.call(), job)

    def look(self, job, future):
        return claim(future)

    def is_alive(self):
        return True

    def pids(self):
        return list(self.executor()._processes or {})

    def stop(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(Loky())
