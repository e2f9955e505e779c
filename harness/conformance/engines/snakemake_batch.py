"""Snakemake: a rule of one output for each job, `retries:` for the policy, --keep-going."""

import os
import sys
from importlib.metadata import version

from chadapter import Adapter, serve, table

RULE = """
rule {job}:
    output: "{job}.out"
    log: "{job}.log"
    retries: {retries}
    shell: "{words} > {{output}} 2> {{log}}"
"""


class Snakemake(Adapter):
    name, version = "snakemake", version("snakemake")
    caps = ["RETRY", "CONCURRENT"]
    table = table("retry")
    detect_s, start_s, stop_s = 30, 30, 20
    run = None

    def submit(self, job, last):
        names = [*self.jobs, job]
        if last:
            retries = (self.policy["max_attempts"] or 1) - 1
            rules = [RULE.format(job=name, retries=retries, words=" ".join(self.argv(name))) for name in names]
            wanted = ", ".join(f'"{name}.out"' for name in names)
            with open(self.folder + "/Snakefile", "w") as file:
                file.write(f"rule all:\n    input: {wanted}\n" + "".join(rules))
            words = ["--cores", str(self.workers), "--keep-going", "--nolock", "--quiet", "all"]
            env = {**os.environ, "HOME": self.folder, "XDG_CACHE_HOME": self.folder}
            self.run = self.spawn(sys.executable, "-m", "snakemake", *words, env=env)

    def look(self, job, handle):
        if self.run.poll() is None:
            return {"state": "running"}
        try:
            with open(f"{self.folder}/{job}.out") as file:
                lines = file.read().split()
        except OSError:
            return {"state": "failed"}
        return {"state": "ok", "result": lines[-1] if lines else None}

    def is_alive(self):
        return True

    def pids(self):
        return []


if __name__ == "__main__":
    serve(Snakemake())
