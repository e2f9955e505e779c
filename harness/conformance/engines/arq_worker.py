"""arq: worker processes of one job each, since a job runs inside its event loop."""

import asyncio
import os
import sys

import arq
from arq.connections import RedisSettings, create_pool
from arq.jobs import Job
from chadapter import Adapter, serve, table


class Arq(Adapter):
    name, version = "arq", arq.VERSION
    caps = ["RETRY", "CAUSE", "LATE_SUBMIT", "CONCURRENT"]
    table = table("retry", exc="fail")
    default_attempts = {"exc": 1, **dict.fromkeys("segv abrt kill term exit0 exit139 nomem oom".split(), 5)}
    detect_s, start_s = 15, 30
    adds = ["a loop that restarts a worker"]

    def start(self):
        path = self.spawn_redis()
        os.environ.update(CH_REDIS=path, CH_POLICY=repr(self.policy))
        self.loop = asyncio.new_event_loop()
        self.pool = self.loop.run_until_complete(create_pool(RedisSettings(unix_socket_path=path)))
        here = os.path.dirname(os.path.abspath(__file__))
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], here])}
        again = 'while :; do "$0" -m arq arq_task.Settings; done'
        self.crew = [self.spawn("sh", "-c", again, sys.executable, env=env) for _ in range(self.workers)]

    def submit(self, job, last):
        return self.loop.run_until_complete(self.pool.enqueue_job("run", job))

    def look(self, job, handle):
        return self.loop.run_until_complete(self.ask(handle))

    async def ask(self, handle: Job):
        info = await handle.result_info()
        if info is None:
            return {"state": "running" if (await handle.status()).value == "in_progress" else "pending"}
        if info.success:
            return {"state": "ok", "result": info.result}
        return {"state": "failed", "cause": f"{type(info.result).__name__}: {info.result}"}


if __name__ == "__main__":
    serve(Arq())
