"""Dagster's multiprocess executor: a job of one op for each of ours, with RetryPolicy."""

import json
import os
import sys
from importlib.metadata import version

from chadapter import Adapter, serve, table


class Dagster(Adapter):
    name, version = "dagster", version("dagster")
    caps = ["RETRY", "BACKOFF", "CAUSE", "CONCURRENT"]
    table = table("retry")
    detect_s, start_s, stop_s, backoff_min_s = 45, 30, 20, 0.3
    run = None

    def submit(self, job, last):
        if last:
            given = {"jobs": [*self.jobs, job], "policy": self.policy, "workers": self.workers, "folder": self.folder}
            env = {**os.environ, "CH_DAGSTER": json.dumps(given), "DAGSTER_HOME": self.folder}
            program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dagster_app.py")
            self.run = self.spawn(sys.executable, program, env=env)

    def look(self, job, handle):
        try:
            with open(self.folder + "/says.json") as file:
                return json.load(file).get(job, {"state": "unknown"})
        except (OSError, ValueError):
            return {"state": "running" if self.run.poll() is None else "unknown"}

    def is_alive(self):
        return True

    def pids(self):
        return []


if __name__ == "__main__":
    serve(Dagster())
