"""pytest-xdist --dist load with pytest-rerunfailures: a batch, reported at its end."""

import sys
from xml.etree import ElementTree

import xdist
from chadapter import Adapter, serve, table


class Xdist(Adapter):
    name, version = "pytest-xdist", xdist.__version__
    caps = ["RETRY", "BACKOFF", "CAUSE", "CONCURRENT"]
    table = table("retry")
    detect_s, backoff_min_s, start_s = 15, 0.3, 20
    adds = ["pytest-rerunfailures 16.7"]
    run = None

    def submit(self, job, last):
        names = [*self.jobs, job]
        if last:
            module = self.dotted().rpartition(".")[0]
            first, rest = names[: self.workers], iter(names[self.workers :])  # a worker is dealt two tests at first
            order = [one for name in first for one in (name, next(rest, None)) if one] + list(rest)
            tests = "".join(f"def test_{name}(): {self.dotted()}('{name}')\n" for name in order)
            with open(self.folder + "/test_x.py", "w") as file:
                file.write(f"import {module}\n{tests}")
            words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(self.workers)]
            words += ["--dist", "load", "--maxschedchunk", "1", "--junitxml", self.folder + "/j.xml", "test_x.py"]
            if self.policy["max_attempts"]:
                words += ["--reruns", str(self.policy["max_attempts"] - 1)]
                words += ["--reruns-delay", str(self.policy["backoff_s"] or 0)]
            self.run = self.spawn(*words)

    def look(self, job, handle):
        if self.run.poll() is None:
            return {"state": "running"}
        row = self.rows().get("test_" + job)
        if row is None:
            return {"state": "unknown"}
        bad = [child for child in row if child.tag in ("failure", "error")]
        if not bad:
            return {"state": "ok"}
        return {"state": "failed", "cause": (bad[0].get("message") or "").replace(row.get("name"), "")}

    def rows(self):
        try:
            return {row.get("name"): row for row in ElementTree.parse(self.folder + "/j.xml").iter("testcase")}
        except OSError:
            return {}

    def is_alive(self):
        return True

    def pids(self):
        return []


if __name__ == "__main__":
    serve(Xdist())
