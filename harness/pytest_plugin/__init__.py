"""pytest: scenario files as items, and fixtures for a user's own tests. Only grandchildren of pytest crash.

pytest loads this in every project of the environment, so that it loads nothing of ours until something of ours is
used: the hooks and fixtures stand here, what they do stands in the modules beside.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.engine.loop import Run
    from harness.evidence import Evidence
    from harness.scenarios.campaign import Result

pytest_plugins = ("harness.pytest_sweep",)
FOLDERS = ["scenarios"]
SNIFFED_BYTES = 1 << 20
CLAIM = re.compile(rb"""^[ \t]*claim[ \t]*=[ \t]*["']""", re.MULTILINE)
CASE = re.compile(rb"^[ \t]*\[\[[ \t]*case[ \t]*\]\]", re.MULTILINE)
VICTIM = re.compile(rb"^[ \t]*(victim[ \t]*=|\[[ \t]*case[ \t]*\.[ \t]*victim[ \t]*\])", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `crash-harness run` has, under names of their own."""
    group = parser.getgroup("crash-harness")
    group.addoption(
        "--crash-dialect",
        help="dialect of scenario files: its name, or a judge of yours as module:function or cmd:PROGRAM;"
        " the newest upstream's if not given",
    )
    group.addoption("--crash-seed", type=int, help="replaces the seeds of scenario files")
    parser.addini("crash_scenarios", "folders whose *.toml files are scenarios", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an unknown dialect before anything runs."""
    if config.getoption("--crash-dialect") is not None:
        from harness.pytest_plugin import items  # noqa: PLC0415 -- other people's pytest runs should not pay for it

        items.dialect_of(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Collect the scenario files of the scenario folders, and files of engines anywhere.

    Other projects have a folder `scenarios` too, so that a TOML file is left alone that does not look like ours, unless
    the project itself names the folder.
    """
    if file_path.suffix != ".toml":
        return None
    said = parent.config.getini("crash_scenarios")
    if file_path.parent.name in (said or FOLDERS) and (said or looks_like_ours(file_path)):
        from harness.pytest_plugin import items  # noqa: PLC0415 -- as above

        return items.ScenarioFile.from_parent(parent, path=file_path)
    if names_an_engine(file_path):
        from harness.pytest_plugin import engines  # noqa: PLC0415 -- as above

        return engines.EngineFile.from_parent(parent, path=file_path)
    return None


def looks_like_ours(path: Path) -> bool:
    """Whether a file has a claim in words, or a case with a victim.

    Judged by its text and by either of the two, so that a file of ours with a mistake in it is not passed over.
    """
    try:
        with path.open("rb") as file:
            text = file.read(SNIFFED_BYTES)
    except OSError:
        return False
    return bool(CLAIM.search(text) or (CASE.search(text) and VICTIM.search(text)))


def names_an_engine(path: Path) -> bool:
    """Whether a TOML file has a table [engine] and an adapter in it; others are somebody else's."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return "[engine]" in lines and any(line.startswith("adapter") for line in lines)


@pytest.fixture
def fire_fault() -> Callable[..., Evidence]:
    """`fire_fault("null_read", offset=8) -> Evidence`: one shot in a fresh victim; also mode, limits, deadline_s."""
    from harness.pytest_plugin import fixtures  # noqa: PLC0415 -- as above

    return fixtures.fire_fault


@pytest.fixture
def supervise_command() -> Callable[..., Evidence]:
    """`supervise_command(["python", "job.py"], deadline_s=10) -> Evidence`: one life of a command of yours."""
    from harness.pytest_plugin import fixtures  # noqa: PLC0415 -- as above

    return fixtures.supervise_command


@pytest.fixture
def run_scenario(request: pytest.FixtureRequest) -> Callable[..., Result]:
    """`run_scenario(path, case) -> Result`: one case of a file or of a shipped scenario, judged.

    `case` may be left out where there is one only; `dialect` and `seed` are options.
    """
    from harness.pytest_plugin import fixtures  # noqa: PLC0415 -- as above

    return fixtures.scenario_runner(request.config)


@pytest.fixture
def run_job(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """`run_job(["./job"], Policy(3)) -> Run`: harness.run, under the dialect and seed of pytest's command line.

    The job is a command, a function, a harness.call or a Fault. An attempt may take 30 seconds; all options of
    harness.run are there.
    """
    from harness.pytest_plugin import fixtures  # noqa: PLC0415 -- as above

    return fixtures.job_runner(request.config)
