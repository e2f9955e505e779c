"""Baseline files: TOML that reviews well in a diff, closed schema; an error names file and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InvalidInputError
from harness.gate.baseline import Baseline, contradiction
from harness.gate.tomlwriter import document
from harness.journal import replace_file
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
    """Replace the file in one step. Raises InvalidInputError or InfraError, and leaves the old one, when it can't."""
    replace_file(path, text(baseline))
