"""An engine's file: TOML with a table [engine], which names the adapter, its pinned environment, and known failures."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 -- msgspec reads the annotations of Known
import hashlib
import os
import re
import shutil
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.conformance.conductor import Engine
from harness.conformance.properties import ORDER
from harness.exceptions import InvalidInputError
from harness.reading import read_toml

SHIPPED: Final = Path(__file__).parent / "engines"
PINNED: Final = re.compile(r"(@?[A-Za-z0-9_.\[\],/-]+?)(?:==|@)\d[\w.+-]*")
ENVIRONMENT: Final = "CH_ENVIRONMENT"


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failure that is expected, and why. After `review` it counts as a failure again."""

    property: str
    reason: str
    review: dt.date


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table [engine]."""

    title: str
    adapter: tuple[str, ...]
    pip: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    programs: dict[str, str] = {}
    jobs: int | None = None
    declare: dict[str, Any] = {}
    env: dict[str, str] = {}
    docs: str = ""
    does: str = ""
    better: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    engine: _Table
    known: tuple[Known, ...] = ()


class EngineFile(msgspec.Struct, frozen=True):
    """One engine, as its file describes it.

    `adapter`: the words that start it. `{python}` is the environment's interpreter, `{environment}` its folder and
    `{folder}` that of the TOML file; a word that names a file beside it becomes its path. `pip` and `npm`: pinned
    requirements. `programs`: what must be on PATH, with the command that installs it. `does`, `docs`, `better`: what
    the engine does with a crash, what its documentation says about that, and the setting that helps.
    """

    name: str
    path: Path
    table: _Table
    known: tuple[Known, ...]

    def environment(self) -> Path | None:
        """The folder of its environment, named by what is in it; None for an engine that needs none."""
        wanted = [*self.table.pip, *self.table.npm]
        if not wanted:
            return None
        digest = hashlib.blake2b("\n".join(wanted).encode(), digest_size=4).hexdigest()
        first = re.sub(r"[^a-z0-9]+", "-", PINNED.sub(r"\1", wanted[0]).lower()).strip("-")
        return cache() / f"{first}-{digest}"

    def missing(self) -> str:
        """What is missing here and the command that installs it, or the empty string."""
        for program, command in self.table.programs.items():
            if shutil.which(program) is None:
                return f"{program} is not installed: {command}"
        place = self.environment()
        if place and not (place / "installed").exists():
            return f"not installed: crash-harness engines install {self.name}"
        return ""

    def engine(self) -> Engine:
        """What the conductor is told."""
        place = self.environment()
        python = str(place / "bin" / "python") if place and self.table.pip else sys.executable
        places = {"{python}": python, "{folder}": str(self.path.parent), "{environment}": str(place or "")}
        words = [_filled(word, places) for word in self.table.adapter]
        beside = [str(self.path.parent / word) if (self.path.parent / word).is_file() else word for word in words]
        env = {**self.table.env, **({ENVIRONMENT: str(place)} if place else {})}
        return Engine(self.name, tuple(beside), overrides=self.table.declare, env=env, jobs=self.table.jobs)

    def expected(self, today: dt.date) -> dict[str, str]:
        """Known failures whose review is not due, by property."""
        return {one.property: one.reason for one in self.known if today <= one.review}


def _filled(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word


def cache() -> Path:
    """Where engines' environments are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "crash-harness" / "engines"  # noqa: PTH117 -- as XDG has it


def load(path: Path) -> EngineFile:
    """Read an engine's file. Raises InvalidInputError that says what, where and what was expected."""
    read = read_toml(path, _File)
    _check(path, read)
    return EngineFile(path.stem, path, read.engine, read.known)


def _check(path: Path, read: _File) -> None:
    if not read.engine.adapter:
        raise InvalidInputError(f"{path}: engine.adapter: expected the words that start the adapter")
    for one in read.known:
        if one.property not in ORDER:
            near = get_close_matches(one.property.upper(), ORDER, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidInputError(f"{path}: known: expected a property P0 to P21, not {one.property!r}{hint}")
    for wanted in (*read.engine.pip, *read.engine.npm):
        if not PINNED.fullmatch(wanted):
            raise InvalidInputError(
                f"{path}: engine: {wanted!r} is not pinned: expected name==1.2.3, or name@1.2.3 for npm"
            )


def shipped() -> list[EngineFile]:
    """The engines that come with the suite, by name."""
    return [load(path) for path in sorted(SHIPPED.glob("*.toml"))]


def find(name: str) -> EngineFile:
    """A file of the user's by its path, or a shipped engine by its name. Raises InvalidInputError for neither."""
    path = Path(name)
    if path.suffix == ".toml":
        return load(path)
    if (SHIPPED / f"{name}.toml").exists():
        return load(SHIPPED / f"{name}.toml")
    names = sorted(one.stem for one in SHIPPED.glob("*.toml"))
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise InvalidInputError(f"there is no engine {name!r}; {hint}")
