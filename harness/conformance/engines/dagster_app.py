"""Runs a batch under Dagster and writes down what its event log says of each op."""

import json
import os

import chpayload
from dagster import DagsterInstance, RetryPolicy, execute_job, job, op, reconstructable

GIVEN = json.loads(os.environ["CH_DAGSTER"])
TRIES = GIVEN["policy"]["max_attempts"]
RETRY = RetryPolicy(max_retries=TRIES - 1, delay=GIVEN["policy"]["backoff_s"] or 0) if TRIES else None


def step(name):
    """An op that is one of our jobs."""

    @op(name=name, retry_policy=RETRY)
    def work():
        return chpayload.run(name)

    return work


@job
def batch():
    """All of them, beside each other."""
    for name in GIVEN["jobs"]:
        step(name)()


def says(events):
    """The last word on each op."""
    told = {}
    for event in events:
        name = event.step_key
        if event.is_step_success:
            told[name] = {"state": "ok"}
        elif event.is_step_failure:
            told[name] = {"state": "failed", "cause": cause(event.step_failure_data.error)}
    return told


def cause(error):
    """The innermost message."""
    while error and error.cause:
        error = error.cause
    return f"{error.cls_name}: {error.message}" if error else ""


if __name__ == "__main__":
    config = {"execution": {"config": {"multiprocess": {"max_concurrent": GIVEN["workers"]}}}}
    with DagsterInstance.get() as instance:
        result = execute_job(reconstructable(batch), instance, run_config=config, raise_on_error=False)
        found = says(result.all_events)
    with open(GIVEN["folder"] + "/part", "w") as file:
        json.dump(found, file)
    os.replace(GIVEN["folder"] + "/part", GIVEN["folder"] + "/says.json")
