"""Run somebody's test suite plainly and under the guard, and tell every outcome that differs.

    python tests/suites.py [--python PYTHON] [--way session]... FOLDER [WORDS OF PYTEST …]

FOLDER is where pytest is called, PYTHON an interpreter that has the suite's package, pytest and this package. Compared
are each test's phases with their outcomes and messages, the order of tests, collection errors, warnings and the exit
status. A test that differs from itself in two plain runs is noisy, and told as that.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

WAYS = {
    "session": ("--crash-guard",),
    "module": ("--crash-guard=module",),
    "test": ("--crash-guard=test",),
    "fork": ("--crash-guard=fork",),
    "workers": ("-n2", "--crash-guard"),
}
CHANGES = re.compile(r"0x[0-9a-fA-F]+|\d+\.\d+|/tmp/\S+|\d{4,}")  # what no two runs have alike
SHOWN = 20


class Noted:
    """The plugin that writes down what a session reports."""

    def __init__(self) -> None:
        self._tests: dict[str, list[Any]] = {}
        self._collected: dict[str, str] = {}
        self._warnings: Counter[str] = Counter()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a phase."""
        told = (report.when, report.outcome, getattr(report, "wasxfail", None), said(report.longrepr))
        self._tests.setdefault(report.nodeid, []).append(told)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be collected."""
        if report.outcome != "passed":
            self._collected[report.nodeid] = f"{report.outcome} {said(report.longrepr)}"

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str) -> None:
        """Note a warning."""
        text = CHANGES.sub("#", str(warning_message.message))
        self._warnings[f"{when} {nodeid} {warning_message.category.__name__}: {text}"] += 1

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write it all."""
        seen = {
            "tests": self._tests,
            "collected": self._collected,
            "warnings": self._warnings,
            "status": int(exitstatus),
        }
        Path(os.environ["NOTED"]).write_text(json.dumps(seen))


def said(longrepr: object) -> str:
    """Return the message of a failure or a skip, without what changes from run to run."""
    text = longrepr[2] if isinstance(longrepr, tuple) else getattr(longrepr, "reprcrash", None) or longrepr or ""
    return CHANGES.sub("#", str(getattr(text, "message", text)))[:300]


def pytest_configure(config: pytest.Config) -> None:
    """Be a plugin of the process that reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Noted(), "noted-outcomes")


def seen(python: str, folder: Path, words: list[str]) -> dict[str, Any]:
    """Run the suite once, and return what it reported."""
    with tempfile.TemporaryDirectory() as name:
        plugin, noted = Path(name, "noted_outcomes.py"), Path(name, "noted.json")
        shutil.copy(__file__, plugin)
        path = os.pathsep.join(filter(None, [name, os.environ.get("PYTHONPATH")]))
        command = [python, "-m", "pytest", "-q", "-p", "noted_outcomes", "-p", "no:cacheprovider", *words]
        environment = os.environ | {"NOTED": str(noted), "PYTHONPATH": path}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, errors="replace", check=False)
        if not noted.exists():
            raise SystemExit(f"no report of {' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(noted.read_text())
    return found


def differences(one: dict[str, Any], other: dict[str, Any], *, in_order: bool) -> dict[str, str]:
    """Return what differs, by what it is of."""
    found = {}
    for kind in ("tests", "collected", "warnings"):
        for name in one[kind].keys() | other[kind].keys():
            pair = one[kind].get(name), other[kind].get(name)
            if pair[0] != pair[1]:
                found[name] = f"{pair[0]} plainly, {pair[1]} here"
    if in_order and list(one["tests"]) != list(other["tests"]):
        found["order"] = "the tests ran in another order"
    if one["status"] != other["status"]:
        found["exit status"] = f"{one['status']} plainly, {other['status']} here"
    return found


def main() -> int:
    """Compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--way", action="append", choices=WAYS, help="session, if none is given")
    parser.add_argument("folder", type=Path)
    asked, words = parser.parse_known_args()
    python = str(Path(asked.python).absolute()) if os.sep in asked.python else asked.python
    plain = seen(python, asked.folder, words)
    if not plain["tests"]:
        raise SystemExit("the suite has no tests with these words")
    noisy = differences(plain, seen(python, asked.folder, words), in_order=True)
    sys.stdout.write(f"{len(plain['tests'])} tests, {len(noisy)} noisy: {', '.join(sorted(noisy)[:SHOWN])}\n")
    wrong = 0
    for way in asked.way or ["session"]:
        guarded = seen(python, asked.folder, [*WAYS[way], *words])
        found = differences(plain, guarded, in_order=way != "workers")
        found = {name: what for name, what in found.items() if name not in noisy}
        wrong += len(found)
        sys.stdout.write(f"{way}: {len(found)} differences\n")
        sys.stdout.writelines(f"    {name}: {found[name]}\n" for name in sorted(found)[:SHOWN])
        sys.stdout.flush()
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
