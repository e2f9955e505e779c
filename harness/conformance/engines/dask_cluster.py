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
        self.told = {}
        dask.config.set({"distributed.worker.daemon": False})
        options = {"dashboard_address": None, "worker_dashboard_address": None, "local_directory": self.folder}
        self.cluster = distributed.LocalCluster(self.workers, threads_per_worker=1, processes=True, **options)
        self.client = distributed.Client(self.cluster)
        self.client.wait_for_workers(self.workers)

    def submit(self, job, last):
        retries = (self.policy["max_attempts"] or 1) - 1
        return self.client.submit(self.call(), job, pure=False, retries=retries)

    def look(self, job, future):
        status = future.status
        state = {"finished": "ok", "error": "failed", "cancelled": "cancelled", "lost": "failed"}.get(status)
        if state not in ("ok", "failed"):
            return {"state": state or "running"}
        if (job, status) not in self.told:
            try:
                value = future.result(timeout=1) if state == "ok" else future.exception(timeout=1)
            except TimeoutError:  # the worker that holds it has died meanwhile
                return {"state": state}
            self.told[job, status] = value
        value = self.told[job, status]
        words = {"result": value} if state == "ok" else {"cause": f"{type(value).__name__}: {value}"}
        return {"state": state, **words}

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
