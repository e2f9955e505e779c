"""The task that Celery's worker imports: the payload, with the policy in Celery's words."""

import ast
import os
import sys

from celery import Celery


def make(policy, words):
    """The application and its task."""
    sys.path.insert(0, os.environ["PYTHONPATH"].split(os.pathsep)[0])
    import chpayload

    app = Celery("ch", broker=os.environ["CH_CELERY"], backend=os.environ["CH_CELERY"])
    app.conf.update(task_track_started=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
    options = {name: name in words for name in ("acks_late", "reject_on_worker_lost", "retry_on_worker_lost")}
    if "retry_on_worker_lost" in words:
        options["max_retries"] = 0  # its own three retries wait three minutes each: longer than a cell lives
    if policy["max_attempts"]:
        options.update(autoretry_for=(Exception,), max_retries=policy["max_attempts"] - 1, retry_backoff=False)
        options.update(default_retry_delay=policy["backoff_s"] or 0)
    if policy["timeout_s"]:
        options.update(time_limit=policy["timeout_s"])

    def run(job):
        return chpayload.run(job)

    return app, app.task(run, name="ch.run", **options)


if "CH_POLICY" in os.environ:
    app, _ = make(ast.literal_eval(os.environ["CH_POLICY"]), os.environ["CH_WORDS"].split())
