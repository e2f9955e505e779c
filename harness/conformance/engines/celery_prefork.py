"""Celery with prefork workers: autoretry_for and max_retries for the policy, the task options given as words."""

import os
import subprocess
import sys

import celery
from celery_task import make
from chadapter import Adapter, serve, table

WORDS = sys.argv[1:]


class Celery(Adapter):
    name, version = "celery " + " ".join(["prefork", *WORDS]), celery.__version__
    caps = ["RETRY", "BACKOFF", "TIMEOUT", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry", timeout="fail")
    detect_s, timeout_grace_s, start_s, timeout_min_s, backoff_min_s = 8, 5, 60, 1, 1

    def start(self):
        os.environ["CH_CELERY"] = f"redis+socket://{self.spawn_redis()}"
        self.app, self.task = make(self.policy, WORDS)
        here = os.path.dirname(os.path.abspath(__file__))
        words = ["-A", "celery_task:app", "--workdir", here, "worker", "-P", "prefork", "-c", str(self.workers)]
        self.app_env = {**os.environ, "CH_POLICY": repr(self.policy), "CH_WORDS": " ".join(WORDS)}
        quiet = ["-l", "warning", "--without-gossip", "--without-mingle", "-n", self.order["run"] + "@h"]
        self.worker = self.spawn(sys.executable, "-m", "celery", *words, *quiet, env=self.app_env)
        self.wait(lambda: self.app.control.ping(timeout=0.5), "the worker does not answer")

    def submit(self, job, last):
        return self.task.apply_async((job,))

    def look(self, job, result):
        state = {"SUCCESS": "ok", "FAILURE": "failed", "REVOKED": "cancelled", "STARTED": "running"}.get(result.state)
        if state == "ok":
            return {"state": "ok", "result": result.result}
        cause = f"{type(result.result).__name__}: {result.result}" if state == "failed" else ""
        return {"state": state or "pending", "cause": cause}

    def pids(self):
        kept = self.worker.poll() is None
        kids = (
            subprocess.run(["pgrep", "-P", str(self.worker.pid)], stdout=subprocess.PIPE).stdout.split() if kept else []
        )
        return [self.worker.pid, *map(int, kids)] if kept else []


if __name__ == "__main__":
    serve(Celery())
