"""DBOS with SQLite: durable workflows on a queue, in a process that a process manager restarts."""

import os
import sys
from importlib.metadata import version

from chadapter import Adapter, serve, table
from dbos import DBOSClient


class Dbos(Adapter):
    name, version = "dbos", version("dbos")
    caps = ["RETRY", "BACKOFF", "CANCEL", "CAUSE", "LATE_SUBMIT", "DURABLE", "CONCURRENT"]
    table = table("retry", lost="retry")
    default_attempts = {"exc": 1}
    detect_s, start_s, backoff_min_s = 10, 60, 0.3
    adds = ["a loop that restarts the process"]

    def start(self):
        self.url = f"sqlite:///{self.folder}/d.sqlite"
        os.environ.update(CH_DBOS=self.url, CH_POLICY=repr(self.policy), CH_WORKERS=str(self.workers))
        os.environ["CH_READY"] = self.folder + "/ready"
        self.begin()
        self.wait(lambda: os.path.exists(os.environ["CH_READY"]), "the process does not come up")
        self.client = DBOSClient(system_database_url=self.url)

    def begin(self):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dbos_app.py")
        self.manager = self.spawn("sh", "-c", 'while :; do "$0" "$1"; done', sys.executable, program)

    def submit(self, job, last):
        return self.client.enqueue({"queue_name": "q", "workflow_name": "flow", "workflow_id": job}, job)

    def look(self, job, handle):
        status = handle.get_status()
        state = {"SUCCESS": "ok", "ERROR": "failed", "CANCELLED": "cancelled", "PENDING": "running"}.get(status.status)
        if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
            return {"state": "failed", "cause": status.status}
        cause = f"{type(status.error).__name__}: {status.error}" if status.error else ""
        return {"state": state or "pending", "result": status.output if state == "ok" else None, "cause": cause}

    def cancel(self, job, handle):
        self.client.cancel_workflow(job)

    def is_alive(self):
        return self.manager.poll() is None

    def revive(self):
        if self.manager.poll() is not None:
            self.begin()


if __name__ == "__main__":
    serve(Dbos())
