"""Writes a whole file in one step: a reader sees the old one or the new one; after a failure the old one is there."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from harness.exceptions import HarnessError, InfraError, InvalidInputError

OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


def replace_file(path: Path, text: str) -> None:
    """Write `text` to a file that the user named; to a pipe or a device directly.

    Raises InvalidInputError where it can't be there, InfraError where the disk is full.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(Path(os.path.realpath(path)), text.encode())  # a link stays, and what it names is replaced
    except OSError as error:
        raise _trouble(path, error) from error


def _replace(path: Path, data: bytes) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)  # nobody else's, and only for us to read
    scratch = Path(name)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 -- it is open already
            file.write(data)
            file.flush()
            os.fchmod(fd, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
            os.fsync(fd)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _umask() -> int:
    """Read it without setting it, which other threads would notice."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = [line.split()[1] for line in status.splitlines() if line.startswith("Umask:")]
    return int(found[0], 8) if found else 0o077


def _trouble(path: Path, error: OSError) -> HarnessError:
    kind = InfraError if error.errno in OF_THE_MACHINE else InvalidInputError
    return kind(f"{path}: {error.strerror}")
