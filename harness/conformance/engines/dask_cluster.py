"""Dask distributed: a LocalCluster of processes, `retries=` for the policy."""

import os

import dask
import distributed
from chadapter import Adapter, serve, table


class Dask(Adapter):
    name, version = "dask.distributed", distributed.__version__
    caps = ["RETRY", "CANCEL", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry")
    default_attempts = {"exc": 1, **dict.fromkeys("segv abrt kill term exit0 exit139 nomem oom".split(), 4)}
    detect_s, start_s, stop_s = 15, 90, 20

    def start(self):
        dask.config.set({"distributed.worker.daemon": False})
        options = {"dashboard_address": None, "worker_dashboard_address": None, "local_directory": self.folder}
        self.cluster = distributed.LocalCluster(self.workers, threads_per_worker=1, processes=True, **options)
        self.client = distributed.Client(self.cluster)
        self.client.wait_for_workers(self.workers)

    def submit(self, job, last):
        retries = (self.policy["max_attempts"] or 1) - 1
        return self.client.submit(self.call(), job, pure=False, retries=retries)

    def look(self, job, future):
        state = {"finished": "ok", "error": "failed", "cancelled": "cancelled", "lost": "failed"}.get(future.status)
        if state is None:
            return {"state": "running"}
        if state == "ok":
            return {"state": "ok", "result": future.result(timeout=5)}
        error = future.exception(timeout=5) if state == "failed" else ""
        return {"state": state, "cause": f"{type(error).__name__}: {error}" if error else ""}

    def cancel(self, job, future):
        future.cancel(force=True)

    def is_alive(self):
        return self.client.status == "running"

    def pids(self):
        return [worker.pid for worker in self.cluster.workers.values() if worker.pid]

    def stop(self):
        self.client.close(timeout=5)
        self.cluster.close(timeout=10)


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"
    serve(Dask())
