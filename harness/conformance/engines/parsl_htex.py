"""Parsl, HighThroughputExecutor on this machine: `retries` for the policy."""

import os
import sys

import parsl
from chadapter import Adapter, serve, table
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


class Parsl(Adapter):
    name, version = "parsl", parsl.__version__
    caps = ["RETRY", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry")
    detect_s, start_s, stop_s = 15, 90, 20

    def start(self):
        os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # its own programs are there
        executor = HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            encrypted=False,
            max_workers_per_node=self.workers,
            heartbeat_period=3,
            heartbeat_threshold=12,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
        retries = (self.policy["max_attempts"] or 1) - 1
        parsl.load(Config(executors=[executor], retries=retries, run_dir=self.folder + "/run", strategy="none"))
        self.app = parsl.python_app(self.call())
        self.wait(executor.connected_managers, "no manager has connected")

    def submit(self, job, last):
        return self.app(job)

    def look(self, job, future):
        if not future.done():
            return {"state": "running" if future.task_record["try_id"] or future.running() else "pending"}
        error = future.exception()
        if error is None:
            return {"state": "ok", "result": future.result()}
        return {"state": "failed", "cause": f"{type(error).__name__}: {error}"}

    def is_alive(self):
        return not parsl.dfk().cleanup_called

    def stop(self):
        parsl.dfk().cleanup()


if __name__ == "__main__":
    serve(Parsl())
