"""pytest: scenario files as items, and fixtures for a user's own tests. Only grandchildren of pytest crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness.engine.loop import Run
    from harness.evidence import Evidence
    from harness.scenarios.campaign import Result
    from harness.scenarios.schema import Case, Scenario
    from harness.supervisor import Limits

DEADLINE_S = 30.0
pytest_plugins = ("harness.pytest_sweep",)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `crash-harness run` has, under names of their own."""
    group = parser.getgroup("crash-harness")
    group.addoption(
        "--crash-dialect",
        help="dialect of scenario files: its name, or a judge of yours as module:function or cmd:PROGRAM;"
        " the newest upstream's if not given",
    )
    group.addoption("--crash-seed", type=int, help="replaces the seeds of scenario files")
    parser.addini("crash_scenarios", "folders whose *.toml files are scenarios", type="args", default=["scenarios"])


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an unknown dialect before anything runs."""
    name = config.getoption("--crash-dialect")
    if name is None:
        return
    from harness.dialects import parted  # noqa: PLC0415 -- other people's pytest runs should not pay for it
    from harness.exceptions import InvalidInputError  # noqa: PLC0415 -- as above

    try:
        parted(name)
    except InvalidInputError as error:
        raise pytest.UsageError(f"--crash-{error}") from error


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Collect the TOML files of the scenario folders, and no other TOML file."""
    if file_path.suffix == ".toml" and file_path.parent.name in parent.config.getini("crash_scenarios"):
        return ScenarioFile.from_parent(parent, path=file_path)
    if file_path.suffix == ".toml" and _names_an_engine(file_path):
        return EngineFile.from_parent(parent, path=file_path)
    return None


def _names_an_engine(path: Path) -> bool:
    """Whether a TOML file has a table [engine] and an adapter in it; others are somebody else's."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return "[engine]" in lines and any(line.startswith("adapter") for line in lines)


class EngineFile(pytest.File):
    """One engine: its properties are the items. The first item that runs has the engine checked, for all of them."""

    def collect(self) -> Iterator[pytest.Item]:
        """Load the file; a mistake in it is one line, not a traceback."""
        from harness.conformance.enginefile import load  # noqa: PLC0415
        from harness.conformance.properties import ORDER  # noqa: PLC0415
        from harness.exceptions import InvalidInputError  # noqa: PLC0415

        try:
            load(self.path)
        except InvalidInputError as error:
            raise self.CollectError(str(error)) from error
        for name in ORDER:
            yield PropertyItem.from_parent(self, name=name)


class PropertyItem(pytest.Item):
    """One property of an engine."""

    def runtest(self) -> None:
        """Judge it; what is known to fail must fail, and says so once it does not."""
        from harness.conformance.session import answer  # noqa: PLC0415

        asked = [one.name for one in self.session.items if one.parent is self.parent]
        answered = answer(self.path, self.name, asked, self.config)
        if answered.skip:
            pytest.skip(answered.skip)
        if answered.failure:
            pytest.fail(answered.failure, pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Readable id: file and property."""
        return self.path, None, f"{self.path.stem}[{self.name}]"


class ScenarioFile(pytest.File):
    """One file: its cases are the items."""

    def collect(self) -> Iterator[pytest.Item]:
        """Load the file; a mistake in it is one line, not a traceback."""
        from harness.exceptions import InvalidInputError  # noqa: PLC0415
        from harness.scenarios.schema import load  # noqa: PLC0415

        try:
            scenario = load(self.path)
        except InvalidInputError as error:
            raise self.CollectError(str(error)) from error
        for case in scenario.case:
            yield ScenarioItem.from_parent(self, name=case.name, scenario=scenario, case=case)


class NotAsExpectedError(Exception):
    """A case whose verdict is not PASS."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.judgement.verdict)
        self.result = result


class ScenarioItem(pytest.Item):
    """One case, lived and judged."""

    def __init__(self, *, scenario: Scenario, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scenario, self.case = scenario, case

    def runtest(self) -> None:
        """Live the case; anything but PASS and SKIP is a failure."""
        from harness.dialects import DEFAULT  # noqa: PLC0415
        from harness.dialects.custom import opened  # noqa: PLC0415
        from harness.scenarios.campaign import Campaign  # noqa: PLC0415
        from harness.scenarios.verdict import Verdict  # noqa: PLC0415

        with opened(self.config.getoption("--crash-dialect") or DEFAULT) as dialect:
            result = Campaign(dialect, self.config.getoption("--crash-seed")).live(self.scenario, self.case)
        if result.judgement.verdict is Verdict.SKIP:
            pytest.skip("; ".join(result.judgement.reasons))
        if result.judgement.verdict is not Verdict.PASS:
            raise NotAsExpectedError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        """Show evidence, decision trail and the command that replays it."""
        if not isinstance(excinfo.value, NotAsExpectedError):
            return super().repr_failure(excinfo, *args, **kwargs)
        return explain(excinfo.value.result)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Readable id: file and case."""
        return self.path, None, f"{self.scenario.name}[{self.case.name}]"


def explain(result: Result) -> str:
    """Everything one needs to know about a result that is not as expected."""
    import msgspec  # noqa: PLC0415

    from harness.report.words import trail  # noqa: PLC0415

    attempts = result.run.attempts if result.run else ()
    evidence = [f"evidence {one.number}: {msgspec.json.encode(one.evidence).decode()}" for one in attempts]
    return "\n".join([*trail(result), *evidence])


@pytest.fixture
def fire_fault() -> Callable[..., Evidence]:
    """`fire_fault("null_read", offset=8) -> Evidence`: one shot in a fresh victim; also mode, limits, deadline_s."""
    from harness.faults.shot import Fault, check_limits  # noqa: PLC0415
    from harness.supervisor import Limits, check_timeout, supervise  # noqa: PLC0415

    def fire(
        fault: str,
        mode: str = "forced",
        *,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
        deadline_s: float = DEADLINE_S,
        **parameters: int,
    ) -> Evidence:
        check_timeout(deadline_s, "deadline_s")
        check_limits(fault, limits)
        return supervise(Fault(fault, mode, parameters), limits, deadline_s)

    return fire


@pytest.fixture
def supervise_command() -> Callable[..., Evidence]:
    """`supervise_command(["python", "job.py"], deadline_s=10) -> Evidence`: one life of a command of yours."""
    from harness.supervisor import Limits, check_timeout, supervise  # noqa: PLC0415

    def run(
        argv: Sequence[str],
        *,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
        deadline_s: float = DEADLINE_S,
    ) -> Evidence:
        check_timeout(deadline_s, "deadline_s")
        return supervise(argv, limits, deadline_s)

    return run


@pytest.fixture
def run_scenario(request: pytest.FixtureRequest) -> Callable[..., Result]:
    """`run_scenario(path, case) -> Result`: one case of a file or of a shipped scenario, judged.

    `case` may be left out where there is one only; `dialect` and `seed` are options.
    """
    from harness.dialects import DEFAULT  # noqa: PLC0415
    from harness.dialects.custom import opened  # noqa: PLC0415
    from harness.exceptions import InvalidInputError  # noqa: PLC0415
    from harness.scenarios.campaign import Campaign  # noqa: PLC0415
    from harness.scenarios.select import select  # noqa: PLC0415

    default = request.config.getoption("--crash-dialect") or DEFAULT

    def run(name: Path | str, case: str | None = None, *, dialect: str = default, seed: int | None = None) -> Result:
        (scenario,) = select([str(name)], case)
        if len(scenario.case) > 1:
            known = ", ".join(one.name for one in scenario.case)
            raise InvalidInputError(f"{name}: which case? there are {known}")
        with opened(dialect) as chosen:
            return Campaign(chosen, seed).live(scenario, scenario.case[0])

    return run


@pytest.fixture
def run_job(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """`run_job(["./job"], Policy(3)) -> Run`: harness.run, under the dialect and seed of pytest's command line.

    The job is a command, a function, a harness.call or a Fault. An attempt may take 30 seconds; all options of
    harness.run are there.
    """
    from functools import partial  # noqa: PLC0415

    from harness.api import run  # noqa: PLC0415
    from harness.dialects import DEFAULT  # noqa: PLC0415

    dialect = request.config.getoption("--crash-dialect") or DEFAULT
    seed = request.config.getoption("--crash-seed") or 0
    return partial(run, dialect=dialect, seed=seed, timeout_s=DEADLINE_S)
