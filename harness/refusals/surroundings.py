"""What a swept process needs around it: the library, and an environment in which it does the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.exceptions import InfraError
from harness.supervisor.launch import extension_path

if TYPE_CHECKING:
    from collections.abc import Mapping

# The small allocator hides three quarters of what Python asks for, and the rest makes a count differ from run to run.
# What the user has set stays.
STEADY: Final = {
    "PYTHONMALLOC": "malloc",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "UV_THREADPOOL_SIZE": "1",
}


def library_path() -> str:
    """The library is installed beside the extension. Raises InfraError where it could not be built."""
    path = Path(extension_path()).parent / "libcrashsweep.so"
    if not path.is_file():
        raise InfraError("a sweep needs glibc 2.35 or later, which finds a stack's modules without a lock")
    return str(path)


def settled(environment: Mapping[str, str]) -> dict[str, str]:
    """Add what makes a program steady."""
    return {**STEADY, **environment}
