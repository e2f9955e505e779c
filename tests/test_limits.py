"""Limits that are one number: a row each, which every way in reads and the kernel enforces."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import InvalidInputError, Limits
from harness.dialects import find
from harness.scenarios.campaign import Campaign
from harness.scenarios.schema import load
from harness.supervisor import Shot, Zygote, supervise
from harness.supervisor.limits import ROWS

MOST = 100
SHOWN = f"import resource; print([resource.getrlimit(one) for one in {[row.rlimit for row in ROWS.values()]}])"
CASE = """
claim = "A limit holds the victim."
cause = "none"
evidence = "simulated"
[[case]]
name = "one"
victim = {{ fault = "null_read" }}
limits = {{ {limits} }}
[[case.expect]]
dialects = ["upstream-4.4", "upstream-4.5", "strict"]
attempts = [{{ ended = "SIGSEGV" }}]
status = "CRASHED"
"""
OPENS = """
import errno, os
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
POORER = """
import os, resource
from harness.supervisor import Limits, supervise
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
supervise(["true"], Limits(open_files=100))
"""
PAGE = Path(__file__).parent.parent / "docs" / "contributing.md"
WITH_ROW = """
import sys
from importlib.machinery import SourceFileLoader

def with_row(self, name):
    if name != "harness.supervisor.limits":
        return usual(self, name)
    method = "    def counts(self)"
    return compile(self.get_source(name).replace(method, sys.argv[1] + method, 1), self.path, "exec")

usual, SourceFileLoader.get_code = SourceFileLoader.get_code, with_row
from harness import Limits
from harness.__main__ import main
from harness.scenarios.schema import load
from pathlib import Path
print(Limits(file_bytes=5), load(Path(sys.argv[2])).case[0].limits.counts(), flush=True)
sys.argv[1:] = ["exec", "--json", "--file-bytes", "1000", "--", "sh", "-c", "exec head -c 5000 /dev/zero > big"]
main()
"""


def scenario(folder: Path, limits: str) -> Path:
    """Write a scenario with these limits."""
    path = folder / "limited.toml"
    path.write_text(CASE.format(limits=limits))
    return path


def test_each_row_reaches_the_kernel() -> None:
    """The victim's own resource limits, soft and hard, are those that were asked for; the evidence names them."""
    evidence = supervise([sys.executable, "-c", SHOWN], Limits(memory_by="auto", **dict.fromkeys(ROWS, MOST)), 30)
    assert evidence.stdout.strip() == str([(MOST, MOST)] * len(ROWS))
    assert evidence.limits == dict.fromkeys(ROWS, MOST)


@pytest.mark.slow
def test_each_row_is_an_option_and_a_key(tmp_path: Path) -> None:
    """On the command line and in a scenario a limit does what it does in Python."""
    asked, words = dict.fromkeys(ROWS, MOST), [f"--{name.replace('_', '-')}={MOST}" for name in ROWS]
    command = [sys.executable, "-m", "harness", "exec", "--json", *words, "--", "true"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert answer["attempts"][0]["evidence"]["limits"] == asked
    case = load(scenario(tmp_path, ", ".join(f"{name} = {MOST}" for name in ROWS)))
    run = Campaign(find("strict"), 1).live(case, case.case[0]).run
    assert run is not None
    assert [one.evidence.limits for one in run.attempts] == [asked]


def test_a_limit_that_can_not_be_set_says_which_and_why() -> None:
    """An ordinary user's victims can't have more than the user: that is INFRA, and nothing is run."""
    done = subprocess.run([sys.executable, "-c", POORER], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "InfraError: limits.open_files: 100 can't be set: this process may have 50 files itself"
    )


def test_a_victim_can_open_no_more_files_than_it_may() -> None:
    """What is above `open_files` is refused with EMFILE."""
    assert (
        harness.run([sys.executable, "-c", OPENS], limits=Limits(open_files=20)).attempts[0].evidence.stdout
        == "EMFILE\n"
    )


def test_forks_are_limited_as_well() -> None:
    """Victims that are forked from one process have its limits, and their evidence says so."""
    with Zygote(limits=Limits(open_files=MOST)) as zygote:
        trials = list(zygote.fire(Shot("null_read"), 2, 20))
    assert [trial.evidence().limits for trial in trials] == [{"open_files": MOST}] * 2


def test_a_history_belongs_to_its_limits(tmp_path: Path) -> None:
    """With another limit it is another job."""
    harness.run(["true"], limits=Limits(open_files=20), history=tmp_path / "kept")
    with pytest.raises(InvalidInputError, match=r"limits\.open_files: 20 then, 30 now"):
        harness.run(["true"], limits=Limits(open_files=30), history=tmp_path / "kept")


@pytest.mark.slow
def test_the_page_adds_a_limit_in_one_file(tmp_path: Path) -> None:
    """The member that docs/contributing.md shows, put into the table, is a limit for every way in."""
    member = re.findall(r"## A limit\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    indented = "".join(f"    {line}\n" for line in member.splitlines())
    words = [sys.executable, "-c", WITH_ROW, indented, str(scenario(tmp_path, "file_bytes = 7"))]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    first, rest = done.stdout.split("\n", 1)
    assert "file_bytes=5" in first
    assert first.endswith("{'file_bytes': 7}")
    evidence = json.loads(rest)["attempts"][0]["evidence"]
    assert (evidence["termination"]["signal"], evidence["limits"]) == ("SIGXFSZ", {"file_bytes": 1000})
    assert (tmp_path / "big").stat().st_size == 1000
