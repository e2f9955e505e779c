"""GNU parallel: one batch, its job log read as it grows."""

import shutil
import subprocess

from chadapter import Adapter, serve, table


class Parallel(Adapter):
    name = "GNU parallel"
    caps = ["RETRY", "TIMEOUT", "CAUSE", "CONCURRENT"]
    table = table("retry")
    detect_s, timeout_grace_s, timeout_min_s = 10, 5, 1
    run = None

    def __init__(self):
        super().__init__()
        told = subprocess.run([shutil.which("parallel") or "true", "--version"], stdout=subprocess.PIPE, text=True)
        self.version = told.stdout.split("\n", 1)[0].rpartition(" ")[2]

    def submit(self, job, last):
        if last:
            self.log = self.folder + "/log"
            words = ["parallel", "--will-cite", "-j", str(self.workers), "--joblog", self.log]
            words += ["--results", self.folder + "/out"]
            if self.policy["max_attempts"]:
                words += ["--retries", str(self.policy["max_attempts"])]
            if self.policy["timeout_s"]:
                words += ["--timeout", str(self.policy["timeout_s"])]
            self.run = self.spawn(*words, " ".join(self.argv("{}")), ":::", *self.jobs, job)

    def look(self, job, handle):
        row = self.rows().get(job)
        if row is None:
            return {"state": "running" if self.run.poll() is None else "unknown"}
        code, signal = row[6], row[7]
        if (code, signal) == ("0", "0"):
            return {"state": "ok"}
        return {"state": "failed", "cause": f"Exitval {code} Signal {signal}"}

    def rows(self):
        try:
            with open(self.log) as file:
                found = [line.rstrip("\n").split("\t") for line in file][1:]
        except OSError:
            return {}
        return {row[8].rpartition(" ")[2]: row for row in found if len(row) > 8}

    def is_alive(self):
        return True

    def pids(self):
        return []


if __name__ == "__main__":
    serve(Parallel())
