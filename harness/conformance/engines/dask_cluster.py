"""Dask distributed: a LocalCluster of processes, `retries=` for the policy."""

import os
from functools import partial

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
        options = {"dashboard_address": "127.0.0.1:0", "local_directory": self.folder}
        self.cluster = distributed.LocalCluster(n_workers=self.workers, threads_per_worker=1, **options)
        self.client = distributed.Client(self.cluster)
        self.client.wait_for_workers(self.workers)

    def submit(self, job, last):
        retries = (self.policy["max_attempts"] or 1) - 1
        future = self.client.submit(self.call(), job, pure=False, retries=retries)
        future.add_done_callback(partial(self.keep, job))
        return future

    def keep(self, job, future):  # in a thread of the client's: the worker that holds the result may have died
        try:
            self.told[job, "ok"] = {"result": future.result()}
        except Exception as error:
            self.told[job, "failed"] = {"cause": f"{type(error).__name__}: {error}"}

    def look(self, job, future):
        states = {"finished": "ok", "error": "failed", "cancelled": "cancelled"}  # one that was lost is run again
        state = states.get(future.status, "running")
        return {"state": state, **self.told.get((job, state), {})}

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
