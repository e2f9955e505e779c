"""The capability ladder: how tightly this machine lets a victim be held. Chosen once, recorded with every attempt."""

from __future__ import annotations

import os
from functools import cache
from typing import Literal

import msgspec

from harness.exceptions import InfraError
from harness.supervisor.cgroups import memory_cgroup, pids_cgroup
from harness.supervisor.guard import Guard, Report, check

Wanted = Literal["auto", "namespace", "bare"]


class Containment(msgspec.Struct, frozen=True):
    """What holds a victim.

    `namespace`: the guard is init of PID and mount namespaces of its own; nothing leaves, and one kill ends all.
    Otherwise the guard is a subreaper, and sweeps what is left. `reason` says why there is no namespace.
    """

    namespace: bool
    reason: str = ""

    @property
    def name(self) -> str:
        """As evidence and doctor spell it: the rung, with the cgroup where there is one."""
        base = "bare" if not self.namespace else "namespaces" if os.geteuid() == 0 else "user+namespaces"
        version = memory_cgroup().version
        return f"{base}+cgroup-v{version}" if version else base


def try_namespace() -> str:
    """Run one process in a namespace. The empty string, or why that does not work."""
    command = ["true"]
    try:
        with Guard(command, ["--namespace", "--deadline-ms", "10000"], {"PATH": os.defpath}, None) as guard:
            heard = guard.receive()
            if isinstance(heard, Report):
                check(heard, command)
    except InfraError as error:
        return str(error)
    return ""


@cache
def containment() -> Containment:
    """Climb as high as it goes; once a process."""
    reason = try_namespace()
    return Containment(not reason, reason)


def contain(wanted: Wanted) -> Containment:
    """Return the rung to use. Raises InfraError when a namespace is demanded and there is none."""
    if wanted == "bare":
        return Containment(namespace=False)
    found = containment()
    if wanted == "namespace" and not found.namespace:
        raise InfraError(f"containment: {found.reason}")
    return found


def process_options(processes: int | None) -> list[str]:
    """Options of the guard that bound how many processes a victim may have.

    RLIMIT_NPROC does not bind root: there it takes a pids cgroup, and raises InfraError where there is none.
    """
    if processes is None:
        return []
    options, found = ["--processes", str(processes)], pids_cgroup()
    if found.version:
        return [*options, "--pids-version", str(found.version), "--pids-parent", found.parent]
    if os.geteuid() == 0:
        raise InfraError(f"processes: root can be bounded by a pids cgroup only: {found.reason}")
    return options
