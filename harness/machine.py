"""What this machine can do, and what it is.

`doctor` prints it, skips quote the reasons, and a history keeps it, so that nobody compares what can't be compared.
"""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from harness.dialects import BUILT_IN
from harness.evidence import Source
from harness.exceptions import InfraError
from harness.faults.catalogue import unmet_needs
from harness.supervisor import backtrace, containment, memory_cgroup, supervise
from harness.supervisor.launch import extension_path, runner_path

if TYPE_CHECKING:
    from collections.abc import Iterable


PATIENCE_S = 20.0
UNKNOWN = "unknown"
MALLOC = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "PYTHONMALLOC")


class Capability(msgspec.Struct, frozen=True):
    """One thing a scenario may need. `missing` is the reason why it is not there, empty when it is."""

    name: str
    value: str
    missing: str = ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        return error.strerror or "unreadable"


def _cgroup() -> Capability:
    found = memory_cgroup()
    value = f"version {found.version} at {found.parent}" if found.version else "none"
    missing = "" if found.version else f"no writable memory cgroup ({found.reason})"
    return Capability("memory_cgroup", value, missing)


def _hugetlb() -> Capability:
    """Whether this kernel's pool of huge pages is there and empty, so that a victim that asks for one is refused."""
    lines = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    pages = lines.get("HugePages_Total", "").strip()
    if not pages:
        return Capability("empty_hugetlb", "none", "the kernel has no pool of huge pages")
    missing = "" if pages == "0" else f"the pool of huge pages holds {pages} of them: it must be empty"
    return Capability("empty_hugetlb", f"{pages} pages", missing)


def _architecture(name: str) -> Capability:
    machine = platform.machine()
    return Capability(name, machine, "" if machine == name else f"the processor is {machine}, not {name}")


def _libc() -> Capability:
    name, version = platform.libc_ver()
    return Capability("glibc", f"{name} {version}".strip(), "" if name == "glibc" else "the C library is not glibc")


def _pidfd() -> Capability:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Capability("pidfd", "none", f"pidfd_open: {error.strerror}; Linux 5.9 or later is needed")
    return Capability("pidfd", "yes")


def _containment() -> Capability:
    found = containment()
    return Capability("containment", found.name + (f" ({found.reason})" if found.reason else ""))


def _namespace() -> Capability:
    found = containment()
    missing = "" if found.namespace else f"no mount and PID namespaces ({found.reason})"
    return Capability("namespace", "yes" if found.namespace else "none", missing)


PUBLISHED = {one.published: one.name for one in BUILT_IN.values() if one.published}
"""Versions of the upstream package with whose own code a dialect is compared, live, and that dialect's name."""


def published_folder(version: str) -> Path:
    """Where `make differential` keeps a version, in a checkout."""
    return Path(__file__).parent.parent / "build" / "differential" / version


def no_published() -> str:
    """Say why the published package can't be asked here as things are, or the empty string."""
    if shutil.which("node") is None:
        return "node is not installed"
    missing = [version for version in PUBLISHED if not (published_folder(version) / "node_modules").exists()]
    return f"@trigger.dev/core {', '.join(missing)}: not installed; make differential does it" if missing else ""


def _cxx() -> Capability:
    missing = "built without a C++ compiler" if "cxx" in unmet_needs() else ""
    return Capability("cxx", "none" if missing else "yes", missing)


TOOLS = (
    "gcc",
    "g++",
    "musl-gcc",
    "go",
    "rustc",
    "javac",
    "node",
    "ruby",
    "perl",
    "gdb",
    "strace",
    "valgrind",
    "script",
)
"""What the programs of `make transparency`, and some tests, are made of or run under."""


def no_tool(name: str) -> str:
    """Say that a tool is not here, or the empty string."""
    return "" if shutil.which(name) else f"{name} is not installed"


def _tools() -> Capability:
    lacking = [reason for tool in TOOLS if (reason := no_tool(tool))]
    found = [tool for tool in TOOLS if shutil.which(tool)]
    return Capability("toolchains", ", ".join(found) + (f" ({'; '.join(lacking)})" if lacking else ""))


def witnesses() -> list[Capability]:
    """Capabilities to observe a command, each tried on a real one; and the tools that tests of other languages need."""
    return [*(_witness(source) for source in get_args(Source)), _tools()]


def _witness(source: Source) -> Capability:
    evidence = supervise(["true"], deadline_s=PATIENCE_S, observe=source)
    state = evidence.black_box if source == "library" else evidence.second_witness
    return Capability(f"observe {source}", "yes" if state in {"armed", source} else state or "off")


def _sweep() -> Capability:
    there = (Path(extension_path()).parent / "libcrashsweep.so").is_file()
    return Capability("sweep", "yes" if there else "none (glibc 2.35 or later, and gcc 12, when it was built)")


def capabilities() -> list[Capability]:
    """Return what scenarios can need, in a fixed order."""
    return [
        _pidfd(),
        _cgroup(),
        Capability("memory_limit", "RLIMIT_DATA" if memory_cgroup().version == 0 else "cgroup and RLIMIT_DATA"),
        _hugetlb(),
        _namespace(),
        _cxx(),
        _architecture("x86_64"),
        _libc(),
    ]


def surroundings() -> list[Capability]:
    """Facts of this machine that explain results, though no scenario needs them."""
    hard_core = resource.getrlimit(resource.RLIMIT_CORE)[1]
    return [
        _containment(),
        Capability("kernel", platform.release()),
        Capability("python", sys.version.split()[0]),
        Capability("user", "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"),
        Capability("processors", str(len(os.sched_getaffinity(0)))),
        Capability("address randomisation", _read("/proc/sys/kernel/randomize_va_space")),
        Capability("core_pattern", _read("/proc/sys/kernel/core_pattern")),
        _sweep(),
        Capability("published upstream", f"none ({no_published()})" if no_published() else ", ".join(PUBLISHED)),
        Capability("cluster", "distributed" if find_spec("distributed") else "none (distributed is not installed)"),
        Capability("backtrace", "gdb" if not backtrace.why_not() else f"none ({backtrace.why_not()})"),
        Capability("core limit, hard", "unlimited" if hard_core == resource.RLIM_INFINITY else str(hard_core)),
        Capability("overcommit_memory", _read("/proc/sys/vm/overcommit_memory")),
        Capability("yama ptrace_scope", _read("/proc/sys/kernel/yama/ptrace_scope")),
    ]


def why_not(needs: Iterable[str]) -> str:
    """Return the reasons why `needs` can't be met here, or the empty string."""
    known = {one.name: one.missing for one in capabilities()}
    return "; ".join(known[need] for need in needs if known.get(need))


def environment() -> dict[str, str]:
    """Return the facts by name: commit, binaries, compiler, interpreter, C library, kernel, processors, memory."""
    facts = {
        "commit": _commit(),
        "extension sha256": hashlib.sha256(Path(extension_path()).read_bytes()).hexdigest(),
        "compiler": _said([runner_path(), "--build"]),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "affinity": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "personality": _read("/proc/self/personality"),
        "memory cgroup": str(memory_cgroup().version or "none"),
        "malloc environment": " ".join(map(_told, sorted(name for name in os.environ if name.startswith(MALLOC)))),
    }
    return facts | {one.name: one.value for one in surroundings()}


def _told(name: str) -> str:
    """Return an environment variable with its value if that is a number, else its name alone: values may be secret."""
    value = os.environ[name]
    return f"{name}={value}" if value.isdecimal() else name


def _said(command: list[str]) -> str:
    try:
        evidence = supervise(command, deadline_s=PATIENCE_S, observe="off")
    except InfraError as error:
        return str(error)
    return evidence.stdout.strip() if str(evidence.termination) == "exited 0" else UNKNOWN


def _commit() -> str:
    """The commit of the sources, "dirty" where they differ from it; "unknown" where they are no checkout for git."""
    folder = str(Path(__file__).parent)
    if shutil.which("git") is None or not (Path(folder).parent / ".git").exists():
        return UNKNOWN
    commit = _said(["git", "-C", folder, "rev-parse", "HEAD"])
    if commit == UNKNOWN:  # as where the checkout is another user's
        return UNKNOWN
    changed = _said(["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"])
    return f"{commit} dirty" if changed else commit
