"""How a victim of either host is started. Nothing here loads the extension."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.child import fault as victim
from harness.exceptions import InfraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.evidence import Host, Start

MODES = ("forced", "safe", "wild")


def extension_path() -> str:
    """File of the compiled extension. Raises InfraError when the package was not built."""
    spec = find_spec(victim.EXTENSION)
    if spec is None or spec.origin is None:
        raise InfraError(f"{victim.EXTENSION} is not built: install the package ('pip install .')")
    return spec.origin


def command_line(*arguments: str) -> list[str]:
    """Return the command that runs child/fault.py as a script in a new interpreter without site packages."""
    backend = find_spec("_cffi_backend")
    folder = str(Path(backend.origin).parent) if backend and backend.origin else ""
    return [sys.executable, "-I", "-S", victim.__file__, extension_path(), folder, *arguments]


def runner_path() -> str:
    """Return the path of the native host, which is installed beside the extension."""
    return str(Path(extension_path()).parent / "runner")


def shot_words(fault: str, mode: str, parameters: Mapping[str, int]) -> list[str]:
    """Write a shot as both hosts read it from their arguments. `mode` is forced, safe or wild."""
    return [fault, mode, *(f"{name}={value}" for name, value in parameters.items())]


def zygote_command(host: Host, start: Start) -> list[str]:
    """The command of a server of trials on descriptor 4: it forks its victims, or starts each afresh."""
    if start == "fresh":
        return [runner_path(), "--launcher", *host_command(host)]
    return [runner_path(), "--zygote"] if host == "native" else command_line("--zygote")


def host_command(host: Host) -> list[str]:
    """The command that, followed by the words of a shot, is a fresh victim."""
    return [runner_path()] if host == "native" else command_line()
