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
    *(f"dialects/{path.stem}" for path in (HARNESS / "dialects").glob("*.py") if path.stem != "custom"),
    *("engine/lifecycle", "engine/loop", "scenarios/verdict"),
    *(f"experiments/{name}" for name in ("statistics", "tally", "stopping", "findings")),
    *(f"refusals/{name}" for name in ("findings", "outcome", "recording", "stacks", "targets", "verdicts")),
    *(f"conformance/{name}" for name in ("protocol", "cells", "expected", "record", "properties", "across")),
    *(f"conformance/{name}" for name in ("settle", "check")),
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
    if not found.name.endswith(("__main__", "_native")) and ".libcrash" not in found.name:
        importlib.import_module(found.name)
from harness.faults.catalogue import catalogue
from harness.supervisor import Shot, supervise
assert len(catalogue()) > 10
assert str(supervise(Shot("null_read"), deadline_s=30).termination) == "SIGSEGV"
maps = pathlib.Path("/proc/self/maps").read_text()
assert "harness/_native" not in maps and "libcrash" not in maps
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("name", PURE)
def test_the_core_touches_no_clock_process_or_file(name: str) -> None:
    """The pure modules import nothing that reaches the world."""
    entered = {one.split(".")[0] for one in imports(HARNESS / f"{name}.py")}
    assert not entered & WORLD


def reached(start: str) -> set[str]:
    """Names of all modules that a module of ours imports, and those of ours that they import in turn."""
    found, left = set[str](), [start]
    while left:
        name = left.pop()
        path = HARNESS.parent / name.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for one in imports(file) if file.exists() else ():
            parts = one.split(".")
            news = {".".join(parts[:size]) for size in range(2, len(parts) + 1)} if parts[0] == "harness" else {one}
            left += [new for new in news - found if new.startswith("harness.")]
            found |= news
    return found


@pytest.mark.parametrize(
    "name",
    [
        f"harness.{room}.{path.stem}"
        for room in ("wire", "dialects")
        for path in sorted((HARNESS / room).glob("*.py"))
        if path.stem != "custom"
    ],
)
def test_a_dialect_reaches_no_clock_process_or_file(name: str) -> None:
    """However many imports away: what decides can't know what time it is. Only a user's own judge has processes."""
    assert not {one.split(".")[0] for one in reached(name)} & WORLD
    assert not {one for one in reached(name) if one.startswith("harness.supervisor")}
