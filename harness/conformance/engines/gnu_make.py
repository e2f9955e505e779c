"""GNU make -k -j: a target a job, one batch. It has no retry; what it says of a target is a line of its log."""

import os
import re
import subprocess

from chadapter import Adapter, serve, table


class Make(Adapter):
    name = "GNU make"
    caps = ["CAUSE", "CONCURRENT"]
    table = table("fail")
    detect_s = 3
    run = None

    def __init__(self):
        super().__init__()
        told = subprocess.run(["make", "--version"], stdout=subprocess.PIPE, text=True)
        self.version = told.stdout.split("\n", 1)[0].rpartition(" ")[2]

    def submit(self, job, last):
        if last:
            jobs = [*self.jobs, job]
            rules = [f"{one}:\n\t@{' '.join(self.argv(one))}\n\t@touch {one}\n" for one in jobs]
            with open(self.folder + "/Makefile", "w") as file:
                file.write(f"all: {' '.join(jobs)}\n" + "".join(rules))
            self.log = open(self.folder + "/log", "w")
            self.run = self.spawn("make", "-k", f"-j{self.workers}", stdout=self.log, stderr=self.log)

    def look(self, job, handle):
        if os.path.exists(f"{self.folder}/{job}"):
            return {"state": "ok"}
        with open(self.folder + "/log") as file:
            failed = re.search(rf"\*\*\* \[.*: {job}\] (.*)", file.read())
        if failed:
            return {"state": "failed", "cause": failed[1]}
        return {"state": "running" if self.run.poll() is None else "unknown"}

    def is_alive(self):
        return True

    def pids(self):
        return []


if __name__ == "__main__":
    serve(Make())
