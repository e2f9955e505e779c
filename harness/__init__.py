"""Native crashes made for real, supervised, classified and judged."""

from harness.codes import Dialect
from harness.engine import Attempt, Policy, Run
from harness.exceptions import HarnessError, InfraError, InvalidInputError, NotArmed
from harness.jobs import run, run_async
from harness.supervisor import Limits
from harness.supervisor import Shot as Fault

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
    "run",
    "run_async",
]
