"""Finds a memory cgroup below which an attempt can have one of its own: version 1 or 2, or why there is none."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY_FILES = {1: "memory.limit_in_bytes", 2: "memory.max"}
PIDS_FILES = {1: "pids.max", 2: "pids.max"}
PREFIX = "crash-harness-"
OF_ENGINES = f"{PREFIX}engine-"  # made by a check of an engine, which removes them: they are empty between two jobs
YOUNG_S = 60.0  # it may be empty because nobody has joined it yet
PAUSE_S = 0.01
NO_LIMIT = 1 << 62  # version 1 writes none as the largest number of pages
PROBE_LIMIT = 1 << 20  # large enough for a memory limit, small enough for a number of processes


class Cgroup(msgspec.Struct, frozen=True):
    """Where attempts get their cgroups. `version` 0 means nowhere, and `reason` says why."""

    version: int
    parent: str = ""
    reason: str = ""


class Mount(msgspec.Struct, frozen=True):
    """A mounted hierarchy: version, the folder of the cgroup tree that it shows, and where."""

    version: int
    root: str
    point: str


def parse_mounts(mountinfo: str, controller: str = "memory") -> list[Mount]:
    """Hierarchies with `controller` among the lines of /proc/self/mountinfo; version 2 may have any."""
    mounts = []
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.partition(" ")
        root, point = fields.split()[3:5]
        if kind == "cgroup2":
            mounts.append(Mount(2, root, point))
        elif kind == "cgroup" and controller in options.split()[-1].split(","):
            mounts.append(Mount(1, root, point))
    return mounts


def own_paths(membership: str, controller: str = "memory") -> dict[int, str]:
    """Tell our own place in each version's tree, from /proc/self/cgroup."""
    paths = {}
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            paths[2] = path
        elif controller in controllers.split(","):
            paths[1] = path
    return paths


def candidates(mount: Mount, own: str) -> list[Path]:
    """Folders to try, the deepest first: limits above us keep holding there."""
    point = Path(mount.point)
    inside = own.removeprefix(mount.root) if mount.root != "/" else own
    deepest = point / inside.lstrip("/")
    return [deepest, *(one for one in deepest.parents if one.is_relative_to(point))]


def unique_name() -> str:
    """Name a cgroup: unlike any other, whatever PID namespace or container its maker lives in."""
    return f"{PREFIX}{os.getpid()}-{os.urandom(8).hex()}"


def try_parent(parent: Path, limit_file: str) -> str:
    """Make a cgroup, set a limit, remove it. The empty string, or what went wrong.

    In version 2 a folder has the files of those controllers only that the folder above it gives to its children.
    """
    probe = parent / unique_name()
    try:
        probe.mkdir()
    except OSError as error:
        return f"{parent}: {error.strerror}"
    try:
        if not (probe / limit_file).exists():
            return f"{parent}: no {limit_file} below it: cgroup.subtree_control does not name the controller"
        (probe / limit_file).write_text(str(PROBE_LIMIT))
    except OSError as error:
        return f"{parent}: {limit_file}: {error.strerror}"
    finally:
        probe.rmdir()
    return ""


def is_bounded(folder: Path, limit_file: str) -> bool:
    """Whether the folder has a limit of its own, which would not hold outside it."""
    try:
        limit = (folder / limit_file).read_text().strip()
    except OSError:
        return False
    return limit.isdigit() and int(limit) < NO_LIMIT


def remove(folder: Path, patience_s: float) -> None:
    """Remove a cgroup and all below it, whose processes are ending."""
    end_s = time.monotonic() + patience_s
    while folder.is_dir() and time.monotonic() < end_s:
        for one in sorted(filter(Path.is_dir, folder.rglob("*")), reverse=True):
            with suppress(OSError):
                one.rmdir()
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(PAUSE_S)


def sweep(parent: Path) -> None:
    """Remove what is empty and not young: its guard and its supervisor were killed at once."""
    with suppress(OSError):
        for folder in parent.glob(f"{PREFIX}*"):
            with suppress(OSError):
                if not folder.name.startswith(OF_ENGINES) and time.time() - folder.stat().st_ctime > YOUNG_S:
                    folder.rmdir()


def find(mountinfo: str, membership: str, files: Mapping[int, str], controller: str) -> Cgroup:
    """Return the first parent that works, version 2 before 1; never one outside a limit that holds for us."""
    own = own_paths(membership, controller)
    reasons = []
    for mount in sorted(parse_mounts(mountinfo, controller), key=lambda one: -one.version):
        for parent in candidates(mount, own.get(mount.version, "/")) if mount.version in files else ():
            reason = try_parent(parent, files[mount.version])
            if not reason:
                sweep(parent)
                return Cgroup(mount.version, str(parent))
            reasons.append(reason)
            if is_bounded(parent, files[mount.version]):
                break
    return Cgroup(0, reason="; ".join(reasons) or f"no {controller} cgroup is mounted")


def _look(files: Mapping[int, str], controller: str) -> Cgroup:
    try:
        mountinfo, membership = Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
    except OSError as error:
        return Cgroup(0, reason=f"{error.filename}: {error.strerror}")
    return find(mountinfo, membership, files, controller)


@cache
def memory_cgroup() -> Cgroup:
    """Where attempts get a memory limit that kills. Looked for once a process."""
    return _look(MEMORY_FILES, "memory")


@cache
def pids_cgroup() -> Cgroup:
    """Where attempts get a limit on processes."""
    return _look(PIDS_FILES, "pids")
