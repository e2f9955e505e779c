"""The process that runs DBOS workflows: a step is the payload, with the policy in DBOS's words."""

import ast
import os

import chpayload
from dbos import DBOS

POLICY = ast.literal_eval(os.environ["CH_POLICY"])
TRIES = POLICY["max_attempts"] or 1
DBOS(config={"name": "crash-harness", "system_database_url": os.environ["CH_DBOS"], "run_admin_server": False})
WAIT_S = POLICY["backoff_s"] or 0


@DBOS.step(retries_allowed=TRIES > 1, max_attempts=TRIES, interval_seconds=WAIT_S, backoff_rate=1)
def work(job):
    """One attempt."""
    return chpayload.run(job)


@DBOS.workflow(name="flow", max_recovery_attempts=TRIES - 1 if POLICY["max_attempts"] else 100)
def flow(job):
    """A job."""
    return work(job)


if __name__ == "__main__":
    DBOS.launch()
    DBOS.register_queue("q", worker_concurrency=int(os.environ["CH_WORKERS"]), polling_interval_sec=0.2)
    open(os.environ["CH_READY"], "w").close()
    import threading

    threading.Event().wait()
