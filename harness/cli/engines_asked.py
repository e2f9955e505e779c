"""What the words of `engines check` ask for: the engine, and which of its cells."""

from __future__ import annotations

import shutil
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from harness.conformance import check, enginefile, suite
from harness.conformance.check import Asked
from harness.conformance.conductor import Engine
from harness.conformance.properties import ORDER
from harness.exceptions import InvalidInputError, unknown
from harness.journal import as_text


def asked_of(given: dict[str, Any]) -> Asked:
    """Read the options. Raises InvalidInputError for a property that there is not, and for what is no text."""
    for word in (*given["faults"], *given["cells"]):
        _check_text(word)
    for name in given["properties"]:
        if name not in ORDER:
            raise unknown("--property", name, ORDER)
    own = tuple(fault for fault in given["faults"] if fault in check.FAULTS)
    shots = {fault: suite.kind_of(fault) for fault in given["faults"] if fault not in check.FAULTS}
    asked = {name: given[name] for name in ("properties", "policy", "cells", "workers", "repeat")}
    return Asked(faults=own, shots=shots, **asked)


def engine_of(words_: tuple[str, ...], asked: Asked) -> tuple[enginefile.EngineFile | None, Engine]:
    """The engine of a name or a file; else the words are an adapter's command."""
    for word in words_:
        _check_text(word)
    first = words_[0]
    names = [one.name for one in enginefile.shipped()]
    is_name = (
        first in names or first.endswith(".toml") or (not Path(first).exists() and get_close_matches(first, names))
    )
    if len(words_) == 1 and is_name:
        file = enginefile.find(first)
        return file, msgspec.structs.replace(file.engine(), asked=asked)
    if not shutil.which(first):
        raise InvalidInputError(f"{first}: no engine that `crash-harness engines` lists, and no program to be executed")
    return None, Engine(Path(words_[-1]).name, words_, asked)


def _check_text(word: str) -> None:
    """What goes into an order to the adapter is JSON, and so it is text."""
    if as_text(word) != word:
        raise InvalidInputError(f"{as_text(word)}: expected text in UTF-8")
