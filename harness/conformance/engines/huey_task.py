"""The task that Huey's consumer imports: the payload, with the policy in Huey's words."""

import ast
import math
import os
import sys

from huey import SqliteHuey


def make(policy):
    """The queue, and its task."""
    sys.path.insert(0, os.environ["PYTHONPATH"].split(os.pathsep)[0])
    import chpayload

    made = SqliteHuey("ch", filename=os.environ["CH_HUEY"])
    retries = (policy["max_attempts"] or 1) - 1
    task = made.task(retries=retries, retry_delay=math.ceil(policy["backoff_s"] or 0), name="run")(chpayload.run)
    return made, task


if "CH_POLICY" in os.environ:
    queue, _ = make(ast.literal_eval(os.environ["CH_POLICY"]))
