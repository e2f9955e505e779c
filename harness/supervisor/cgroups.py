"""Finds a memory cgroup below which an attempt can have one of its own: version 1 or 2, or why there is none."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import msgspec

LIMIT_FILE = {1: "memory.limit_in_bytes", 2: "memory.max"}


class MemoryCgroup(msgspec.Struct, frozen=True):
    """Where attempts get their cgroups. `version` 0 means nowhere, and `reason` says why."""

    version: int
    parent: str = ""
    reason: str = ""


class Mount(msgspec.Struct, frozen=True):
    """A mounted hierarchy: version, the folder of the cgroup tree that it shows, and where."""

    version: int
    root: str
    point: str


def parse_mounts(mountinfo: str) -> list[Mount]:
    """Memory hierarchies among the lines of /proc/self/mountinfo."""
    mounts = []
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.partition(" ")
        root, point = fields.split()[3:5]
        if kind == "cgroup2":
            mounts.append(Mount(2, root, point))
        elif kind == "cgroup" and "memory" in options.split()[-1].split(","):
            mounts.append(Mount(1, root, point))
    return mounts


def own_paths(membership: str) -> dict[int, str]:
    """Tell our own place in each version's tree, from /proc/self/cgroup."""
    paths = {}
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            paths[2] = path
        elif "memory" in controllers.split(","):
            paths[1] = path
    return paths


def candidates(mount: Mount, own: str) -> list[Path]:
    """Folders to try, the deepest first: limits above us keep holding there."""
    point = Path(mount.point)
    inside = own.removeprefix(mount.root) if mount.root != "/" else own
    deepest = point / inside.lstrip("/")
    return list(dict.fromkeys([deepest, deepest.parent if deepest != point else point, point]))


def try_parent(version: int, parent: Path) -> str:
    """Make a cgroup, set a limit, remove it. The empty string, or what went wrong."""
    probe = parent / f"crash-harness-probe-{os.getpid()}"
    try:
        probe.mkdir()
    except OSError as error:
        return f"{parent}: {error.strerror}"
    try:
        (probe / LIMIT_FILE[version]).write_text(str(1 << 30))
    except OSError as error:
        return f"{parent}: {LIMIT_FILE[version]}: {error.strerror}"
    finally:
        probe.rmdir()
    return ""


def find(mountinfo: str, membership: str) -> MemoryCgroup:
    """Return the first parent that works, version 2 before 1."""
    own = own_paths(membership)
    reasons = []
    for mount in sorted(parse_mounts(mountinfo), key=lambda one: -one.version):
        for parent in candidates(mount, own.get(mount.version, "/")):
            reason = try_parent(mount.version, parent)
            if not reason:
                return MemoryCgroup(mount.version, str(parent))
            reasons.append(reason)
    return MemoryCgroup(0, reason="; ".join(reasons) or "no memory cgroup is mounted")


@cache
def memory_cgroup() -> MemoryCgroup:
    """Look once a process."""
    try:
        return find(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    except OSError as error:
        return MemoryCgroup(0, reason=f"{error.filename}: {error.strerror}")
