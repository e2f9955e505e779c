"""The three walls, and the order of the rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent.parent / "harness"
MODULES = sorted(HARNESS.rglob("*.py"))

PURE = [
    *("codes", "truncation", "errors", "policy", "classifier", "retry", "gate", "engine", "evidence", "signature"),
    *("statistics", "tally", "findings", "lifecycle", "request", "legacy"),
    *("judge", "baseline/questions", "baseline/tables", "baseline/entries", "baseline/nightly", "baseline/tomlwriter"),
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

# Data walks one way: a module imports only from rows above its own.
ROWS = [
    ["exceptions", "interrupt"],
    ["evidence", "codes", "statistics"],
    ["victim", "job", "answerer"],
    ["hosts"],
    ["armed"],
    ["supervisor", "catalogue", "truncation", "policy", "tally"],
    ["findings"],
    ["capabilities", "errors", "signature"],
    ["request"],
    ["legacy"],
    ["classifier", "retry"],
    ["judge"],
    ["foreign", "lifecycle"],
    ["engine", "scenario"],
    ["trial", "gate", "history", "selection"],
    ["jobs"],
    ["campaign", "rollcall", "experiment", "environment"],
    ["baseline", "calibration"],
    ["dossier"],
    ["report"],
    ["cli", "pytest_plugin"],
    ["__main__"],
]


def imports(path: Path) -> list[str]:
    """Names of all modules that a file imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(dotted: str) -> str | None:
    """The room of this package that an import enters."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "harness" and len(parts) > 1 else None


def test_only_victim_names_the_extension() -> None:
    """No module but victim.py mentions the extension."""
    assert [path.name for path in MODULES if "_native" in path.read_text()] == ["victim.py"]


def test_the_supervising_process_never_loads_the_crashing_code() -> None:
    """A process that imports every module and supervises a crash has not mapped the extension."""
    program = """
import importlib, pathlib, pkgutil, harness
for found in pkgutil.walk_packages(harness.__path__, "harness."):
    if not found.name.endswith(("__main__", "_native", "libcrashbox")):
        importlib.import_module(found.name)
from harness.catalogue import catalogue
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HARNESS)))
def test_data_walks_one_way(path: Path) -> None:
    """A module imports from rows above its own, or from its own room."""
    own = path.relative_to(HARNESS).parts[0].removesuffix(".py")
    row_of = {name: row for row, names in enumerate(ROWS) for name in names}
    if own == "__init__":
        return
    assert own in row_of, f"{own} has no row: give it one"
    for entered in filter(None, map(room, imports(path))):
        known = entered if entered in row_of else None  # a name from harness/__init__ is no room
        assert known is None or known == own or row_of[known] < row_of[own], f"{own} imports {entered}"
