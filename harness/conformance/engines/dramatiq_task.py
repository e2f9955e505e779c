"""The actor that Dramatiq's workers import: the payload, with the policy in Dramatiq's words."""

import ast
import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend


def make(policy):
    """The actor of a policy."""
    sys.path.insert(0, os.environ["PYTHONPATH"].split(os.pathsep)[0])
    import chpayload

    broker = RedisBroker(url=os.environ["CH_REDIS"], heartbeat_timeout=3000, maintenance_chance=1000000)
    broker.add_middleware(Results(backend=RedisBackend(url=os.environ["CH_REDIS"])))
    dramatiq.set_broker(broker)
    wait_ms = int((policy["backoff_s"] or 0) * 1000)
    options = {"max_retries": (policy["max_attempts"] or 1) - 1, "min_backoff": wait_ms, "max_backoff": max(1, wait_ms)}
    if policy["timeout_s"]:
        options["time_limit"] = int(policy["timeout_s"] * 1000)
    if policy["max_attempts"] is None:
        options = {"max_retries": 0}
    return dramatiq.actor(chpayload.run, actor_name="run", store_results=True, **options)


if "CH_POLICY" in os.environ:
    run = make(ast.literal_eval(os.environ["CH_POLICY"]))
