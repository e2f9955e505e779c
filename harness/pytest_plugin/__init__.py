"""pytest: scenario files as items, a guard for a user's own tests, and fixtures. Only grandchildren of pytest crash.

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

if not hasattr(pytest, "version_tuple"):
    raise SystemExit(f"crash-harness needs pytest 7.0 or later, and this is {pytest.__version__}")

pytest_plugins = ("harness.pytest_plugin.sweep",)
FOLDERS = ["scenarios"]
SNIFFED_BYTES = 1 << 20
CLAIM = re.compile(rb"""^[ \t]*claim[ \t]*=[ \t]*["']""", re.MULTILINE)
CASE = re.compile(rb"^[ \t]*\[\[[ \t]*case[ \t]*\]\]", re.MULTILINE)
VICTIM = re.compile(rb"^[ \t]*(victim[ \t]*=|\[[ \t]*case[ \t]*\.[ \t]*victim[ \t]*\])", re.MULTILINE)

SCOPES = {
    "session": "a fresh process after each crash; the same as the bare flag",
    "module": "a fresh process for each module too",
    "test": "a fresh process for each test",
    "fork": "a fork of one process for each test: what they share is set up once",
    "marked": "guard only the tests that are marked @pytest.mark.crash",
}
CONFIRM = {
    "always": "the same as the bare flag",
    "doubtful": "where something of an earlier test may be the cause: a thread, a broken heap; if not given",
    "never": "take the test that ran for the one that crashed",
}
GUARD = (
    ("retries", "N", "attempts after a crash; 0 if not given"),
    ("policy", "FILE", "a TOML file of harness.Policy: max_attempts, retry, machine"),
    ("retry-on", "WHAT", "'exceptions', 'deadline' or both, with a comma: retry what a test raises, or its time-out"),
    ("memory", "SIZE", "memory limit of a guarded process, such as 512MiB"),
    ("deadline", "SECONDS", "a test that takes longer is ended from outside, however deep in C it hangs"),
    ("flaky", "pass|fail", "whether a test that passed after a crash fails the run; 'pass' if not given"),
    ("history", "FILE", "keep every crash with its evidence in this file, for `crash-harness report FILE`"),
    ("at-exit", "error|warn|ignore", "what a crash after a process's last test is; 'error' if not given"),
)
MARK = (
    "crash(scope=, retries=, memory=, deadline=, expect='SIGSEGV', guard=False): how the test runs under --crash-guard;"
    " without that flag a test runs guarded whose mark has one of these words"
)
WORDS = {"scope", "retries", "memory", "deadline", "expect", "guard"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `crash-harness run` has, under names of their own, and those of the guard."""
    group = parser.getgroup("crash-harness")
    group.addoption(
        "--crash-dialect",
        help="dialect of scenario files: its name, or a judge of yours as module:function or cmd:PROGRAM;"
        " the newest upstream's if not given",
    )
    group.addoption("--crash-seed", type=int, help="replaces the seeds of scenario files")
    parser.addini("crash_scenarios", "folders whose *.toml files are scenarios", type="args", default=[])
    _add_guard(parser, group)


def _add_guard(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the options of the guard, each with its ini key.

    What follows the bare flag may be a path, which an option with an optional value would take for its own: so that
    each spelling is a flag of its own.
    """
    about = "run each test in a supervised process: a native crash is that test's failure, and the rest runs"
    group.addoption("--crash-guard", action="store_const", const="session", dest="crash_guard", help=about)
    for scope, meaning in SCOPES.items():
        group.addoption(f"--crash-guard={scope}", action="store_const", const=scope, dest="crash_guard", help=meaning)
    group.addoption(
        "--crash-backtrace", action="store_true", help="of --crash-guard: native frames, by gdb from the core"
    )
    parser.addini("crash_backtrace", "as --crash-backtrace", type="bool", default=False)
    parser.addini("crash_guard", f"as --crash-guard: {', '.join(SCOPES)}", default="")
    about = "of --crash-guard: run a test that crashed again, alone, and find the test that makes it crash"
    group.addoption("--crash-confirm", action="store_const", const="always", dest="crash_confirm", help=about)
    for when, meaning in CONFIRM.items():
        group.addoption(f"--crash-confirm={when}", action="store_const", const=when, dest="crash_confirm", help=meaning)
    parser.addini("crash_confirm", f"as --crash-confirm: {', '.join(CONFIRM)}", default="")
    for name, value, meaning in GUARD:
        group.addoption(f"--crash-{name}", metavar=value, help=f"of --crash-guard: {meaning}")
        parser.addini(f"crash_{name.replace('-', '_')}", f"as --crash-{name}", default=None)


class Guarding:
    """What `request.config.crash_guard` is, with the guard and without."""

    def __init__(self, config: pytest.Config) -> None:
        self._config, self.why = config, ""

    def discard(self, why: str) -> None:
        """Have this process replaced after the running test, since `why`. Without the guard nothing happens."""
        self.why = why or "the test asked for it"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of crashes where results are shown, which under xdist is another process than where tests run."""
        if "crash_guard" in report.__dict__ and not hasattr(self._config, "workerinput"):
            from harness.pytest_guard import told  # noqa: PLC0415 -- as below

            told.teller(self._config).hear(report)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an unknown dialect and wrong options of the guard before anything runs."""
    config.addinivalue_line("markers", MARK)
    guarding = Guarding(config)
    config.crash_guard = guarding  # type: ignore[attr-defined]  # documented as a member of its own
    config.pluginmanager.register(guarding, "crash-guarding")
    if _asks_for_guard(config):
        from harness import pytest_guard  # noqa: PLC0415 -- other people's pytest runs should not pay for it

        pytest_guard.check(config)
    if config.getoption("--crash-dialect") is not None:
        from harness.pytest_plugin import items  # noqa: PLC0415 -- other people's pytest runs should not pay for it

        items.dialect_of(config)


def _asks_for_guard(config: pytest.Config) -> str:
    """Return the scope asked for; empty if nobody asks, and in a process that is guarded itself."""
    is_guarded = "crash_guard" in getattr(config, "workerinput", {})
    return "" if is_guarded else config.getoption("crash_guard") or config.getini("crash_guard")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to guard, where the command line or the ini file asks for it."""
    scope = _asks_for_guard(session.config)
    if scope and (scope != "marked" or session.config.pluginmanager.hasplugin("dsession")):
        from harness import pytest_guard  # noqa: PLC0415 -- as above

        pytest_guard.begin(session, is_foreign=has_own_crash_mark(session.config))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Guard the tests that are marked, where nobody asked for all."""
    config = session.config
    scope = _asks_for_guard(config)
    if "crash_guard" in getattr(config, "workerinput", {}) or scope not in {"", "marked"}:
        return
    marks = [mark for item in session.items for mark in item.iter_markers("crash")]
    if not marks:
        return
    is_foreign = has_own_crash_mark(config)
    if scope or (not is_foreign and any(map(is_ours, marks))):
        from harness import pytest_guard  # noqa: PLC0415 -- as above

        pytest_guard.begin(session, marked_only=True, is_foreign=is_foreign)


def is_ours(mark: pytest.Mark) -> bool:
    """Whether a mark can only be meant for the guard: a bare one may be a project's own."""
    return not mark.args and bool(mark.kwargs) and mark.kwargs.keys() <= WORDS


def has_own_crash_mark(config: pytest.Config) -> bool:
    """Whether somebody else has registered a marker of that name."""
    others = (line for line in config.getini("markers") if line != MARK)
    return any(line.partition(":")[0].partition("(")[0].strip() == "crash" for line in others)


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
