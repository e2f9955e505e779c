"""RQ: a Redis and fork workers with the scheduler."""

import sys

import redis
import rq
from chadapter import Adapter, last_line, serve, table
from rq.command import send_stop_job_command

STATES = {"finished": "ok", "failed": "failed", "stopped": "cancelled", "canceled": "cancelled", "started": "running"}


class Rq(Adapter):
    name, version = "rq", rq.VERSION
    caps = ["RETRY", "BACKOFF", "TIMEOUT", "CANCEL", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry")
    detect_s, timeout_grace_s, start_s, backoff_min_s, timeout_min_s = 5, 5, 60, 1, 1

    def start(self):
        path = self.spawn_redis()
        self.connection = redis.Redis(unix_socket_path=path)
        self.wait(self.answers, "redis does not answer")
        self.queue = rq.Queue("q", connection=self.connection)
        words = [sys.executable, "-m", "rq.cli", "worker", "--url", "unix://" + path, "--with-scheduler", "q"]
        self.crew = [self.spawn(*words) for _ in range(self.workers)]
        self.wait(lambda: len(rq.Worker.all(connection=self.connection)) >= self.workers, "the workers don't come")

    def answers(self):
        try:
            return self.connection.ping()
        except redis.ConnectionError:
            return False

    def submit(self, job, last):
        policy, options = self.policy, {}
        if policy["max_attempts"]:
            wait_s = int(-(-(policy["backoff_s"] or 0) // 1))
            options["retry"] = rq.Retry(max=policy["max_attempts"] - 1, interval=wait_s)
        limit = int(-(-(policy["timeout_s"] or 3600) // 1))
        return self.queue.enqueue(self.dotted(), job, job_timeout=limit, result_ttl=600, **options)

    def look(self, job, handle):
        handle.refresh()
        state = STATES.get(handle.get_status(refresh=False).value, "pending")
        result = handle.latest_result() if state in ("ok", "failed") else None
        cause = last_line(result.exc_string) if result and state == "failed" else ""
        return {"state": state, "cause": cause, "result": result.return_value if result and state == "ok" else None}

    def cancel(self, job, handle):
        if handle.get_status().value == "started":
            send_stop_job_command(self.connection, handle.id)
        else:
            handle.cancel()

    def pids(self):
        return [worker.pid for worker in self.crew if worker.poll() is None]


if __name__ == "__main__":
    serve(Rq())
