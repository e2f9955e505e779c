"""Environments of engines, in a cache folder. A user asks for them; a check never installs anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from harness.exceptions import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.conformance.enginefile import EngineFile


def install(engine: EngineFile, say: Callable[[str], object]) -> str:
    """Make the environment, unless it is there; returns what is still missing. Raises InfraError where that fails."""
    place = engine.environment()
    if place and not (place / "installed").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if engine.table.pip:
            _python(place, engine.table.pip, say)
        if engine.table.npm:
            _node(place, engine.table.npm, say)
        (place / "installed").write_text("\n".join([*engine.table.pip, *engine.table.npm]) + "\n")
    return engine.missing()


def _python(place: Path, wanted: Sequence[str], say: Callable[[str], object]) -> None:
    say(f"{place}: a virtual environment with {', '.join(wanted)}")
    _run([sys.executable, "-m", "venv", str(place)], place)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *wanted], place)


def _node(place: Path, wanted: Sequence[str], say: Callable[[str], object]) -> None:
    if shutil.which("npm") is None:
        raise InfraError("npm is not installed: apt-get install nodejs npm")
    say(f"{place}: node packages {', '.join(wanted)}")
    (place / "package.json").write_text('{"private": true}\n')
    _run(["npm", "install", "--save-exact", "--no-audit", "--no-fund", "--silent", *wanted], place)


def _run(command: list[str], place: Path) -> None:
    """Run an installer. If it fails, its folder is removed: half an environment would pass for a whole one."""
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)  # noqa: S603 -- the installers
    if done.returncode != 0:
        shutil.rmtree(place, ignore_errors=True)
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise InfraError(f"{' '.join(command[:4])} …: {last[0]}")
