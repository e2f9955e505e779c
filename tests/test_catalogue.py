"""The catalogue as a whole: its page is fresh, and calling the roll leaves nothing behind."""

import os
import platform
import re
from pathlib import Path

import psutil
import pytest

from harness.faults.catalogue import catalogue
from harness.machine import why_not
from harness.report.catalogue import page
from harness.scenarios.rollcall import Answer, call_all
from harness.scenarios.verdict import Verdict
from harness.supervisor import memory_cgroup
from harness.supervisor.cgroups import pids_cgroup

DOCS = Path(__file__).parent.parent / "docs"
ROUNDS = int(os.environ.get("CATALOGUE_ROUNDS", "1"))


@pytest.mark.skipif(bool(why_not(["x86_64", "glibc"])), reason="the page is that of x86-64 with glibc")
def test_the_page_is_fresh() -> None:
    """docs/faults.md is what `crash-harness faults --markdown` prints."""
    assert (DOCS / "faults.md").read_text() == page(catalogue().values())


OURS = re.compile(rf"crash-(?!box)|crash-box-{os.getpid()}-")  # and no box of another supervisor's


def surroundings() -> dict[str, object]:
    """Everything that a fault could leave behind: processes, descriptors, files, mounts, cgroups."""
    cgroups = [Path(parent) for parent in (memory_cgroup().parent, pids_cgroup().parent) if parent]
    return {
        "processes": {process.pid for process in psutil.Process().children(recursive=True)},
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mounts": Path("/proc/self/mounts").read_text(),
        "cgroups": sorted(str(one) for parent in cgroups for one in parent.glob(f"crash-harness-*{os.getpid()}*")),
        "here": sorted(path.name for path in Path.cwd().iterdir()),
        "shared memory": sorted(filter(OURS.match, os.listdir("/dev/shm"))),  # noqa: S108, PTH208 -- names are enough
        "filled": [Path("/tmp/crash-harness-mapped").exists(), Path("/tmp/crash-harness-rest").exists()],  # noqa: S108
    }


@pytest.mark.long
@pytest.mark.slow
def test_calling_the_roll_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CATALOGUE_ROUNDS times the whole catalogue, then everything is as it was; every answer is PASS or SKIP."""
    monkeypatch.chdir(tmp_path)
    before, answers = surroundings(), list[Answer]()
    for _ in range(ROUNDS):
        assert call_all(2, answers.append)
    assert surroundings() == before
    assert len(answers) == ROUNDS * sum(len(fault.tiers) for fault in catalogue().values())
    assert {answer.judgement.verdict for answer in answers} <= {Verdict.PASS, Verdict.SKIP}


def test_there_are_seventy_faults() -> None:
    """On the architecture where all of them can be built."""
    if platform.machine() == "x86_64":
        assert len(catalogue()) >= 70
