"""pytest: `@pytest.mark.sweep` and the fixture `swept`, which refuses what a call in a test asks for.

The call runs in a process of its own, never in pytest's: there the same test runs again, up to its `swept(…)`, so
that closures and fixtures work. Everything else of pytest is as usual here, where the findings become subtests.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from harness.gate.sweeping import Terms
    from harness.refusals.outcome import Report
    from harness.refusals.server import Process
    from harness.refusals.subject import Subject
    from harness.refusals.targets import Plan, Target

MARK = "sweep"
ITEM = "CRASH_SWEEP_ITEM"
CALLED = pytest.StashKey[bool]()
ABOUT = (
    "sweep(libraries=[…], mode='both', baseline='file.toml', …): how the fixture `swept` refuses what a call asks for; "
    "the keywords of harness.sweep"
)
# What chooses tests, writes files, or starts processes: the swept process is told its one test otherwise.
OWN = frozenset({
    *("file_or_dir", "keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "last_failed", "failedfirst"),
    *("stepwise", "stepwise_skip", "maxfail", "collectonly", "usepdb", "trace", "xmlpath", "junitprefix", "log_file"),
    *("basetemp", "plugins", "override_ini", "inifilename", "rootdir", "confcutdir", "importmode", "capture"),
    *("numprocesses", "dist", "tx", "maxprocesses", "distload", "looponfail", "pastebin", "debug", "verbose"),
    *("cov_source", "cov_report", "cov_config", "cov_append", "cov_branch", "cov_context", "cov_fail_under"),
    "sweep_gdb",
})  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what a replay line has."""
    group = parser.getgroup("crash-harness")
    group.addoption("--sweep-site", metavar="HASH[:K]", help="of swept calls, one site alone, its Kth call")
    group.addoption("--sweep-mode", metavar="MODE", help="of swept calls: once, from-then-on, or both")
    group.addoption("--sweep-errors", metavar="NAMES", help="of swept calls, the errors of file operations")
    group.addoption("--sweep-gdb", action="store_true", help="of one site, what gdb says too")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; in a swept process, take the options of the one that started it."""
    config.addinivalue_line("markers", ABOUT)
    if ITEM in os.environ:
        config.option.__dict__.update(json.loads(os.environ[ITEM])["option"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is to sweep, and has not, is no test that passes."""
    result = yield
    is_meant = "swept" in getattr(item, "fixturenames", ()) or any(one.name == MARK for one in item.own_markers)
    if is_meant and item.get_closest_marker(MARK) and not item.stash.get(CALLED, False):
        pytest.fail("it is marked to be swept, and has never called swept(…): nothing was refused", pytrace=False)
    return result


@pytest.fixture
def swept(request: pytest.FixtureRequest, subtests: pytest.Subtests) -> Callable[..., Report]:
    """`swept(call, libraries=["_mymodule"]) -> Report`: refuse what `call` asks for; each finding fails as a subtest.

    Keywords of the marker `sweep` are for every call of the test: those of harness.sweep, but for `setup`, whose place
    a fixture takes, and `baseline`, a TOML file of known findings, by its path from the root folder.
    """
    marker = request.node.get_closest_marker(MARK)
    marked = dict(marker.kwargs) if marker else {}
    told = json.loads(os.environ.get(ITEM, "{}"))
    if told.get("node") == request.node.nodeid:
        return lambda call, **words: _serve(call, marked | words)

    def sweep(call: Callable[[], object], **words: Any) -> Report:
        from harness.exceptions import InvalidInputError  # noqa: PLC0415 -- not for a run that only has the plugin

        request.node.stash[CALLED] = True
        try:
            return _sweep(request, subtests, call, marked | words)
        except InvalidInputError as error:  # the user's own mistake: where we noticed says nothing
            mistake = str(error)
        pytest.fail(mistake, pytrace=False)

    return sweep


# --- in the swept process ---


def _serve(call: Callable[[], object], words: dict[str, Any]) -> Report:
    """Become the server of the call. Never returns: the rest of the test runs in pytest's own process."""
    from harness.child import swept as child  # noqa: PLC0415 -- not for a run that only has the plugin
    from harness.refusals.surroundings import library_path  # noqa: PLC0415 -- as above

    library = child.Library(library_path())
    order = library.order()
    if order is None:
        raise RuntimeError("this process is not swept, though its environment says so")
    functions = {name: words[name] for name in ("ok", "equal", "then") if callable(words.get(name))}
    child.run(library, order | functions, call)
    pytest.skip("it was swept")


# --- in pytest's own ---


def _sweep(
    request: pytest.FixtureRequest, subtests: pytest.Subtests, call: Callable[[], object], words: dict[str, Any]
) -> Report:
    from harness.gate import sweeping  # noqa: PLC0415 -- as above
    from harness.refusals import asking  # noqa: PLC0415 -- as above

    if not callable(call):
        raise TypeError(f"swept: expected a function without arguments, not {call!r}")
    terms = _terms(request, words)
    subject = _subject(request, words)
    plan = asking.plan_of(words | _chosen(request.config))
    report = sweeping.sweep(subject, plan, terms, lambda refusal: _replay(request.node.nodeid, refusal.target))
    _tell(report, subtests, _debugged(request, subject, plan))
    return report


def _terms(request: pytest.FixtureRequest, words: dict[str, Any]) -> Terms:
    """Take out of the keywords those that say how a sweep is judged, and return them; what is left makes the plan."""
    from harness.gate.sweeping import Terms  # noqa: PLC0415 -- as above

    baseline = words.pop("baseline", None)
    path = request.config.rootpath / baseline if baseline else None
    return Terms(bool(words.pop("strict", False)), path)


def _subject(request: pytest.FixtureRequest, words: dict[str, Any]) -> Subject:
    """Return what is swept. Its functions are not named: the swept process has them already."""
    from harness.refusals import asking  # noqa: PLC0415 -- as above
    from harness.refusals.server import Call  # noqa: PLC0415 -- as above
    from harness.refusals.subject import Subject  # noqa: PLC0415 -- as above

    then, ok, warmup = words.pop("then", "call"), words.pop("ok", ""), words.pop("warmup", 3)
    words.pop("equal", None)
    order = Call(
        request.node.nodeid,
        warmup=asking.whole("warmup", warmup, 0),
        ok="" if callable(ok) else ok or "",
        then="call" if callable(then) else asking.probe(then),
    )
    return Subject((request.node.nodeid,), order, _process(request))


def _process(request: pytest.FixtureRequest) -> Process:
    """Return the command that runs this same test in a pytest process of its own, with the same settings."""
    from harness.refusals.server import Process  # noqa: PLC0415 -- as above

    config, node = request.config, request.node
    test = f"{node.path}{node.nodeid[node.nodeid.find('::') :]}"
    words = [sys.executable, "-P", "-m", "pytest", "-q", "--capture=no", "-p", "no:cacheprovider"]
    words += [
        "-p",
        "no:faulthandler",
        f"--rootdir={config.rootpath}",
        f"--import-mode={config.getoption('importmode')}",
        "-o",
        "addopts=",
    ]
    words += ["-c", str(config.inipath)] if config.inipath else []
    words += [part for one in config.getoption("plugins") or () for part in ("-p", one) if one != "xdist"]
    words += [part for one in config.getoption("override_ini") or () for part in ("-o", one)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment[ITEM] = json.dumps({"node": node.nodeid, "option": _options(config)})
    return Process((*words, test), environment)


def _options(config: pytest.Config) -> dict[str, object]:
    """Return the options that a test or a conftest.py may ask for, as xdist hands them to workers; JSON values only."""
    plain = (str, int, float, bool, type(None))
    return {
        name: value
        for name, value in vars(config.option).items()
        if name not in OWN and (isinstance(value, plain) or _is_texts(value))
    }


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _chosen(config: pytest.Config) -> dict[str, Any]:
    """Return the one refusal that the command line asks for, if it does."""
    given = {name: config.getoption(f"--sweep-{name}") for name in ("site", "mode", "errors")}
    return {name: (value,) if name == "errors" else value for name, value in given.items() if value}


def _replay(node: str, target: Target) -> str:
    words = ["pytest", node, f"--sweep-site={target.name}", f"--sweep-mode={target.mode}"]
    return shlex.join([*words, *([f"--sweep-errors={target.error}"] if target.error else [])])


def _debugged(request: pytest.FixtureRequest, subject: Subject, plan: Plan) -> str:
    from harness.refusals import conduct  # noqa: PLC0415 -- as above

    return conduct.debug(subject.host(plan), plan) if request.config.getoption("--sweep-gdb") and plan.site else ""


def _tell(report: Report, subtests: pytest.Subtests, debugged: str) -> None:
    """Fail a subtest for each finding that fails, and the test for what could not be shown."""
    from harness.report.sweep import finding_line, finding_lines  # noqa: PLC0415 -- as above

    for finding in report.findings:
        if finding.fails:
            with subtests.test(finding_line(finding.first)):
                pytest.fail("\n".join(filter(None, [*finding_lines(finding), debugged])), pytrace=False)
    if report.interrupted:
        raise KeyboardInterrupt
    if report.verdict in ("UNKNOWN", "INFRA"):
        pytest.fail(f"{report.verdict}: {'; '.join(report.reasons)}", pytrace=False)
