"""Native crashes made for real, supervised, classified and judged."""

from harness.api import run, run_async
from harness.dialects.protocol import Dialect
from harness.engine.call import call
from harness.engine.loop import Attempt, Run
from harness.engine.policy import Policy
from harness.exceptions import HarnessError, InfraError, InvalidInputError, NotArmed
from harness.faults.shot import Fault
from harness.refusals.calling import sweep
from harness.refusals.window import window
from harness.supervisor import Limits

__all__ = [
    "Attempt",
    "Dialect",
    "Fault",
    "HarnessError",
    "InfraError",
    "InvalidInputError",
    "Limits",
    "NotArmed",
    "Policy",
    "Run",
    "call",
    "run",
    "run_async",
    "sweep",
    "window",
]
