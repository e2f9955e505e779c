"""The C library that the guard is linked with in place of the system's."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "native"
FLAGS = ("-fno-builtin", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-fno-pie", "-static", "-no-pie", "-nostdlib")


@pytest.mark.slow
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_it_answers_as_the_standard_says(level: str, compile_program: Callable[..., str]) -> None:
    """Texts, numbers, formats, files, processes, signals: as far as the guard uses them, and with what errors."""
    sources = [str(one) for one in sorted((SOURCES / "libc").glob("*.c"))]
    options = ("-w", f"-I{SOURCES}", *FLAGS, level, "-fno-tree-loop-distribute-patterns", *sources)
    program = compile_program("own_libc.c", f"own_libc{level}", *options)
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
