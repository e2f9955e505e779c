"""The three walls, and the order of the rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent.parent / "harness"
MODULES = sorted(HARNESS.rglob("*.py"))

PURE = [
    "evidence",
    *(f"wire/{name}" for name in ("codes", "truncation", "errors", "policy", "request")),
    *(f"dialects/{name}" for name in ("protocol", "retry", "rules", "v1")),
    *("engine/lifecycle", "engine/loop", "scenarios/verdict"),
    *(f"experiments/{name}" for name in ("statistics", "tally", "stopping", "findings")),
    *(
        f"gate/{name}"
        for name in ("baseline", "comparing", "making", "nights", "observing", "questions", "tables", "tomlwriter")
    ),
]
WORLD = {
    "os",
    "time",
    "datetime",
    "random",
    "subprocess",
    "pathlib",
    "io",
    "socket",
    "signal",
    "threading",
    "tempfile",
}


def imports(path: Path) -> list[str]:
    """Names of all modules that a file imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def test_only_victim_names_the_extension() -> None:
    """No module but the child's mentions the extension."""
    assert [path.name for path in MODULES if "_native" in path.read_text()] == ["fault.py"]


def test_the_supervising_process_never_loads_the_crashing_code() -> None:
    """A process that imports every module and supervises a crash has not mapped the extension."""
    program = """
import importlib, pathlib, pkgutil, harness
for found in pkgutil.walk_packages(harness.__path__, "harness."):
    if not found.name.endswith(("__main__", "_native", "libcrashbox")):
        importlib.import_module(found.name)
from harness.faults.catalogue import catalogue
from harness.supervisor import Shot, supervise
assert len(catalogue()) > 10
assert str(supervise(Shot("null_read"), deadline_s=30).termination) == "SIGSEGV"
maps = pathlib.Path("/proc/self/maps").read_text()
assert "_native" not in maps and "libcrashbox" not in maps
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("name", PURE)
def test_the_core_touches_no_clock_process_or_file(name: str) -> None:
    """The pure modules import nothing that reaches the world."""
    entered = {one.split(".")[0] for one in imports(HARNESS / f"{name}.py")}
    assert not entered & WORLD
