"""Huey with SQLite: a consumer of process workers."""

import os
import sys

import huey
from chadapter import Adapter, serve, table
from huey.exceptions import TaskException
from huey_task import make


class Huey(Adapter):
    name, version = "huey", huey.__version__
    caps = ["RETRY", "BACKOFF", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry")
    detect_s, start_s, backoff_min_s = 8, 30, 1

    def start(self):
        os.environ.update(CH_HUEY=self.folder + "/q.db", CH_POLICY=repr(self.policy))
        self.queue, self.task = make(self.policy)
        consumer = os.path.join(os.path.dirname(sys.executable), "huey_consumer")
        here = os.path.dirname(os.path.abspath(__file__))
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], here])}
        words = ["huey_task.queue", "-w", str(self.workers), "-k", "process", "-d", "0.1", "-m", "0.2", "-s", "1"]
        self.consumer = self.spawn(sys.executable, consumer, *words, env=env)

    def submit(self, job, last):
        return self.task(job)

    def look(self, job, result):
        try:
            value = result.get(preserve=True)
        except TaskException as error:
            left = error.metadata.get("retries")  # an attempt that failed, while others are due
            return {"state": "pending" if left else "failed", "cause": str(error.metadata.get("error"))}
        return {"state": "ok", "result": value} if value is not None else {"state": "pending"}


if __name__ == "__main__":
    serve(Huey())
