"""Ray: tasks with max_retries, and retry_exceptions so that an exception counts, too."""

import os

import ray
from chadapter import Adapter, serve, table


class Ray(Adapter):
    name, version = "ray", ray.__version__
    caps = ["RETRY", "CANCEL", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry")
    default_attempts = {"exc": 1, **dict.fromkeys("segv abrt kill term exit0 exit139 nomem oom".split(), 4)}
    detect_s, start_s, stop_s = 30, 120, 20

    def start(self):
        quiet = {"include_dashboard": False, "configure_logging": False, "log_to_driver": False}
        ray.init(num_cpus=self.workers, _temp_dir=self.folder, object_store_memory=80 << 20, **quiet)
        self.task = ray.remote(self.call())
        ray.get(ray.remote(lambda: 0).remote())

    def submit(self, job, last):
        options = {}
        if self.policy["max_attempts"]:
            options = {"max_retries": self.policy["max_attempts"] - 1, "retry_exceptions": True}
        return self.task.options(**options).remote(job)

    def look(self, job, handle):
        done, _ = ray.wait([handle], timeout=0)
        if not done:
            return {"state": "running"}
        try:
            return {"state": "ok", "result": ray.get(handle)}
        except ray.exceptions.TaskCancelledError:
            return {"state": "cancelled"}
        except Exception as error:
            return {"state": "failed", "cause": f"{type(error).__name__}: {error}"}

    def cancel(self, job, handle):
        ray.cancel(handle, force=True)

    def is_alive(self):
        return ray.is_initialized()

    def pids(self):
        return []

    def stop(self):
        ray.shutdown()


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    serve(Ray())
