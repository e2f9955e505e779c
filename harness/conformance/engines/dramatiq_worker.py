"""Dramatiq with its Redis broker, process workers of one thread each, and a results backend."""

import os
import sys

import dramatiq
from chadapter import Adapter, serve, table
from dramatiq.results.errors import ResultFailure, ResultMissing
from dramatiq_task import make


class Dramatiq(Adapter):
    name, version = "dramatiq", dramatiq.__version__
    caps = ["RETRY", "BACKOFF", "TIMEOUT", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry")
    detect_s, timeout_grace_s, start_s, timeout_min_s, backoff_min_s = 15, 5, 60, 1, 0.3

    def start(self):
        os.environ.update(CH_REDIS="unix://" + self.spawn_redis(), CH_POLICY=repr(self.policy))
        self.actor = make(self.policy)
        here = os.path.dirname(os.path.abspath(__file__))
        words = ["dramatiq_task", "--path", here, "--processes", str(self.workers), "--threads", "1"]
        self.worker = self.spawn(sys.executable, "-m", "dramatiq", *words, "--skip-logging")

    def submit(self, job, last):
        return self.actor.send(job)

    def look(self, job, message):
        try:
            return {"state": "ok", "result": message.get_result(block=False)}
        except ResultMissing:
            return {"state": "pending"}
        except ResultFailure as error:
            return {"state": "failed", "cause": f"{error.orig_exc_type}: {error.orig_exc_msg}"}


if __name__ == "__main__":
    serve(Dramatiq())
