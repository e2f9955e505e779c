"""What a history must know of the place where it was made, so that nobody compares what can't be compared."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from pathlib import Path

from harness.capabilities import surroundings
from harness.exceptions import InfraError
from harness.hosts import extension_path, runner_path
from harness.supervisor import memory_cgroup, supervise

PATIENCE_S = 20.0
MALLOC = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "PYTHONMALLOC")


def environment() -> dict[str, str]:
    """Return the facts by name: commit, binaries, compiler, interpreter, C library, kernel, processors, memory."""
    facts = {
        "commit": _commit(),
        "extension sha256": hashlib.sha256(Path(extension_path()).read_bytes()).hexdigest(),
        "compiler": _said([runner_path(), "--build"]),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "affinity": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "personality": _first_line("/proc/self/personality"),
        "memory cgroup": str(memory_cgroup().version or "none"),
        "malloc environment": " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(MALLOC)),
    }
    return facts | {one.name: one.value for one in surroundings()}


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        return error.strerror or "unreadable"


def _said(command: list[str]) -> str:
    try:
        evidence = supervise(command, deadline_s=PATIENCE_S, black_box=False)
    except InfraError as error:
        return str(error)
    return evidence.stdout.strip() if str(evidence.termination) == "exited 0" else "unknown"


def _commit() -> str:
    """The commit of the sources, "dirty" where they differ from it; nothing where they are no checkout."""
    folder = str(Path(__file__).parent)
    if shutil.which("git") is None or not (Path(folder).parent / ".git").exists():
        return "unknown"
    changed = _said(["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"])
    return _said(["git", "-C", folder, "rev-parse", "HEAD"]) + (" dirty" if changed else "")
