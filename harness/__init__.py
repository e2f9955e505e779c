"""Native crashes made for real, supervised, classified and judged."""

from harness.exceptions import HarnessError, InfraError, InvalidInputError, NotArmed

__all__ = ["HarnessError", "InfraError", "InvalidInputError", "NotArmed"]
