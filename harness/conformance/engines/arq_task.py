"""What arq's workers import: the payload in a coroutine, with the policy in arq's words."""

import ast
import os
import sys

from arq.connections import RedisSettings


async def run(_, job):
    """The payload blocks the loop of its worker, which has one job only."""
    sys.path.insert(0, os.environ["PYTHONPATH"].split(os.pathsep)[0])
    import chpayload

    return chpayload.run(job)


class Settings:
    """A job limit of 4 s in place of 300: a job whose worker died is taken up again after it."""

    functions = [run]
    redis_settings = RedisSettings(unix_socket_path=os.environ.get("CH_REDIS", ""))
    max_jobs, job_timeout, poll_delay = 1, 4, 0.1
    max_tries = ast.literal_eval(os.environ["CH_POLICY"])["max_attempts"] or 5
