"""Native crashes made for real, supervised, classified and judged."""

from harness.api import run, run_async
from harness.dialects.protocol import Dialect
from harness.engine.loop import Attempt, Policy, Run
from harness.exceptions import HarnessError, InfraError, InvalidInputError, NotArmed
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
