"""The only place that starts, bounds, observes, kills and reaps processes.

A small C program, the guard, stands between supervisor and victim: it outlives the supervisor, so nothing does.
"""

from harness.supervisor.attend import Journal
from harness.supervisor.cgroups import Cgroup, memory_cgroup
from harness.supervisor.confinement import containment
from harness.supervisor.limits import Limits, check_timeout, parse_bytes
from harness.supervisor.process import Command, Shot, Victim, supervise
from harness.supervisor.stop import Stop
from harness.supervisor.zygote import Trial, Zygote

__all__ = [
    "Cgroup",
    "Command",
    "Journal",
    "Limits",
    "Shot",
    "Stop",
    "Trial",
    "Victim",
    "Zygote",
    "check_timeout",
    "containment",
    "memory_cgroup",
    "parse_bytes",
    "supervise",
]
