"""Baseline files: TOML that reviews well in a diff, closed schema; an error names file and key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InfraError, InvalidInputError
from harness.gate.baseline import Baseline, contradiction
from harness.gate.tomlwriter import document
from harness.reading import read_toml

if TYPE_CHECKING:
    from pathlib import Path

REMARK = """What the gate holds runs against. Written by `crash-harness gate record`: review it, don't edit it.
Changes of classification and decision show as changed lines; `because` says why a failing case was accepted."""


def load(path: Path) -> Baseline:
    """Read a file. Raises InvalidInputError with file and key."""
    baseline = read_toml(path, Baseline)
    if reason := contradiction(baseline):
        raise InvalidInputError(f"{path}: {reason}")
    return baseline


def text(baseline: Baseline) -> str:
    """Write a baseline as TOML; the same baseline gives the same bytes."""
    return document(msgspec.to_builtins(baseline), REMARK)


def save(path: Path, baseline: Baseline) -> None:
    """Replace the file in one step: a reader sees the old one or the new one. Raises InfraError when it can't."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text(baseline))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            scratch.chmod(path.stat().st_mode & 0o777)
        scratch.replace(path)
    except OSError as error:
        raise InfraError(f"{path}: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)
