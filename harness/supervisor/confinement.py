"""How tightly a victim is confined: as tightly as this machine allows. Found out once, recorded with every attempt."""

from __future__ import annotations

import os
from functools import cache
from typing import Literal

import msgspec

from harness.exceptions import InfraError
from harness.supervisor.attend import Audience, attend
from harness.supervisor.cgroups import memory_cgroup, pids_cgroup
from harness.supervisor.guard import Guard, check

Wanted = Literal["auto", "namespace", "bare"]


class Containment(msgspec.Struct, frozen=True):
    """What holds a victim.

    `namespace`: it has PID and mount namespaces of its own, with an init of ours; nothing leaves, one kill ends all.
    Otherwise two processes watch over it and over each other, inherit what it leaves behind, and sweep that.
    `reason` says why there is no namespace.
    """

    namespace: bool
    reason: str = ""

    @property
    def name(self) -> str:
        """As evidence and doctor spell it: namespaces or bare, with the version of the cgroup where there is one."""
        base = "namespaces" if self.namespace else "bare"
        version = memory_cgroup().version
        return f"{base}+cgroup-v{version}" if version else base


def try_namespace() -> str:
    """Run one process in a namespace. Return the empty string, or why that does not work."""
    command = ["true"]
    try:
        with Guard(command, ["--namespace", "--deadline-ms", "10000"], {"PATH": os.defpath}) as guard:
            check(attend(guard, Audience())[0], command)
    except InfraError as error:
        return str(error)
    return ""


@cache
def containment() -> Containment:
    """Return the tightest containment that works here; tried once a process."""
    reason = try_namespace()
    return Containment(not reason, reason)


def contain(wanted: Wanted) -> Containment:
    """Return the containment to use. Raises InfraError where a namespace is demanded that we lack, or without /proc."""
    if not os.path.lexists("/proc/self/stat"):
        raise InfraError("/proc is not mounted here: the kernel tells nobody else than a parent how a process ended")
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
