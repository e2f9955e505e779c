"""The only place that starts, bounds, observes, kills and reaps processes.

A small C program, the guard, stands between supervisor and victim: it outlives the supervisor, so nothing does.
"""

from harness.supervisor.cgroups import MemoryCgroup, memory_cgroup
from harness.supervisor.limits import Limits, parse_bytes
from harness.supervisor.process import Command, Shot, Stop, Victim, supervise

__all__ = [
    "Command",
    "Limits",
    "MemoryCgroup",
    "Shot",
    "Stop",
    "Victim",
    "memory_cgroup",
    "parse_bytes",
    "supervise",
]
