"""Our own engine: `own.py DIALECT`, which may be another's decision code ("cmd:… like upstream-4.5")."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from chadapter import Adapter, serve, table

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own_worker.py")
CAPS = ["RETRY", "BACKOFF", "TIMEOUT", "CANCEL", "CAUSE", "HISTORY", "LATE_SUBMIT", "DURABLE", "CONCURRENT"]
UPSTREAM = table("retry", oom="oom", kill="oom", abrt="fail", lost="retry", timeout="fail")
DECLARED = {
    "strict": table("retry", oom="oom", nomem="move", lost="retry", timeout="fail"),
    "upstream-4.4": dict(UPSTREAM, segv="fail", nomem="fail"),
    "upstream-v1": table("fail", exit0="retry", kill="oom", oom="oom", lost="retry"),
}


class Own(Adapter):
    detect_s, timeout_grace_s = 3, 1

    def __init__(self, dialect):
        super().__init__()
        self.dialect = dialect
        from importlib.metadata import version

        from harness.supervisor import memory_cgroup

        self.name, self.version = f"crash-harness, {dialect.rpartition(' ')[2]}", version("crash-harness")
        self.caps = CAPS + (["MACHINE"] if memory_cgroup().version else [])
        self.table = DECLARED.get(dialect.rpartition(" ")[2], UPSTREAM)

    def start(self):
        self.queue = Path(self.folder)
        self.begin()

    def begin(self):
        order = {"policy": self.policy, "machines": self.order["machines"], "argv": self.order["payload"]["argv"]}
        order["dialect"] = self.dialect
        words = [WORKER, self.folder, str(self.workers), json.dumps(order)]
        self.worker = self.spawn(sys.executable, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.worker.stdout.readline()

    def nudge(self):
        with suppress(OSError):
            self.worker.stdin.write(b"\n")
            self.worker.stdin.flush()
            self.worker.stdout.readline()

    def submit(self, job, last):
        (self.queue / f"{job}.job").touch()
        self.nudge()
        return self.queue / f"{job}.says"

    def look(self, job, says):
        return json.loads(says.read_text()) if says.exists() else {"state": "pending"}

    def cancel(self, job, says):
        says.with_suffix(".cancel").touch()
        self.nudge()

    def is_alive(self):
        return self.worker.poll() is None

    def revive(self):
        if not self.is_alive():
            self.begin()


if __name__ == "__main__":
    serve(Own(sys.argv[1]))
