"""`crash-harness engines`: the list, a check with its reports, bad input, engine files, and files as pytest items."""

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from reference_mutants import ENGINES

from harness.conformance import enginefile
from harness.conformance.properties import ORDER
from harness.exceptions import InvalidInputError

PAYLOAD = ENGINES.parent / "payload"
MUTANTS = Path(__file__).parent / "reference_mutants.py"
MOST_LINES = 60
NO_ADAPTERS = {"reference.py", "own.py", "own_worker.py", "upstream.mjs"}  # engines, and another's decision code
REFERENCE = ["--", sys.executable, "-S", str(ENGINES / "reference.py")]


def run(*words: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    env = {**os.environ, **({"XDG_CACHE_HOME": str(cache)} if cache else {})}
    command = [sys.executable, "-m", "harness", "engines", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


@pytest.mark.slow
def test_the_list_says_what_is_missing_and_what_installs_it(tmp_path: Path) -> None:
    """Each shipped engine has a line: its versions, or the command that installs it."""
    done = run(cache=tmp_path)
    assert done.returncode == 0
    assert "crash-harness engines install dagster" in done.stdout
    assert all(one.name in done.stdout for one in enginefile.shipped())


@pytest.mark.slow
def test_an_engine_that_is_not_installed_is_skipped(tmp_path: Path) -> None:
    """Its verdict is SKIP, with exit status 4."""
    done = run("check", "--json", "dagster", cache=tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["fails"]) == (4, "SKIP", [])
    assert "crash-harness engines install dagster" in told["reason"]


@pytest.mark.long
@pytest.mark.slow
def test_a_check_is_told_kept_and_reported(tmp_path: Path) -> None:
    """One JSON object, a history that `report` reads, and a page in each format."""
    pages = {name: tmp_path / f"page.{name}" for name in ("junit", "html", "markdown")}
    kept = tmp_path / "h.sqlite"
    options = [word for name, path in pages.items() for word in (f"--{name}", str(path))]
    done = run("check", "--json", "--cell", "segv/none", "--history", str(kept), *options, *REFERENCE)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["fails"]) == (0, "PASS", [])
    assert list(told["properties"]) == list(ORDER)
    assert told["properties"]["P2"] == {"verdict": "PASS", "reason": "", "cells": ["ok", "segv/none"], "known": ""}
    assert told["cells"] == {name: {"verdict": "PASS", "reason": "", "repeats": 1} for name in ("ok", "segv/none")}
    assert len(ET.parse(pages["junit"]).getroot())  # noqa: S314 -- our own == len(ORDER)
    assert all("reference" in path.read_text() for path in pages.values())
    read = subprocess.run(
        [sys.executable, "-m", "harness", "report", str(kept)], capture_output=True, text=True, check=False
    )
    assert read.returncode == 0
    assert "reference.py: PASS" in read.stdout


@pytest.mark.long
@pytest.mark.slow
def test_a_failure_shows_the_ledger_the_claims_and_the_replay() -> None:
    """What was seen, what was claimed when, what was declared, and the command that lives the cell again."""
    done = run("check", "--cell", "segv/none", "--", sys.executable, "-S", str(MUTANTS), "two attempts by default")
    assert done.returncode == 1
    for words in ("X attempt 2 start", "the engine says X failed", "declared: exc=retry", "--cell segv/none --"):
        assert words in done.stdout
    assert "P2" in done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_a_fault_of_the_catalogue_by_name() -> None:
    """`--fault double_free` runs it under both policies, as an abort."""
    done = run("check", "--json", "--fault", "double_free", "--policy", "none", *REFERENCE)
    told = json.loads(done.stdout)
    assert (told["verdict"], list(told["cells"])) == ("PASS", ["ok", "double_free/none"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "--property", "P44", "reference"), "did you mean"),
        (("check", "celeri"), "did you mean 'celery'?"),
        (("check", "--fault", "use_after_free_small", "reference"), "does not end its process"),
        (("check", "--fault", "nul_write", "reference"), "did you mean 'null_write'?"),
        (("install", "celeri"), "did you mean 'celery'?"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], said: str) -> None:
    """Exit status 2, what was expected, and no traceback."""
    done = run(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# --- engine files ---

FILE = """
[engine]
title = "e"
adapter = ["{{python}}", "-S", "{program}", {words}]
{more}
"""


def engine_file(folder: Path, words: str = "", more: str = "", program: Path = ENGINES / "reference.py") -> Path:
    """Write one."""
    path = folder / "mine.toml"
    path.write_text(FILE.format(program=program, words=words, more=more))
    return path


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('pip = ["celery"]', "'celery' is not pinned"),
        ('npm = ["bullmq@^6"]', "'bullmq@^6' is not pinned"),
        ('adaptor = "x"', "engine.adaptor: there is no such key; did you mean 'adapter'?"),
        ('[[known]]\nproperty = "P33"\nreason = "r"\nreview = 2030-01-01', "expected a property P0 to P21, not 'P33'"),
        ('[[known]]\nproperty = "P3"\nreason = "r"', "known[0].review: expected, and it is not there"),
        ("= 1", "mine.toml"),
    ],
)
def test_a_wrong_engine_file_is_one_line(tmp_path: Path, more: str, said: str) -> None:
    """What is wrong in an engine's file, where, and what was expected."""
    with pytest.raises(InvalidInputError) as told:
        enginefile.load(engine_file(tmp_path, more=more))
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_known_failure_counts_again_after_its_review(tmp_path: Path) -> None:
    """Up to the day of its review it is expected, and no longer."""
    more = '[[known]]\nproperty = "P3"\nreason = "r"\nreview = 2027-03-01'
    file = enginefile.load(engine_file(tmp_path, more=more))
    assert file.expected(dt.date(2027, 3, 1)) == {"P3": "r"}
    assert file.expected(dt.date(2027, 3, 2)) == {}


def test_the_shipped_files_load_and_their_adapters_are_short() -> None:
    """Every engine's file is sound, and an adapter has sixty lines at most."""
    shipped = enginefile.shipped()
    assert len({one.name for one in shipped}) == len(shipped) >= 20
    for path in ENGINES.iterdir():
        if path.suffix == ".py":
            compile(path.read_text(), str(path), "exec")
        if path.suffix in (".py", ".mjs") and path.name not in NO_ADAPTERS:
            assert len(path.read_text().splitlines()) <= MOST_LINES, path.name


@pytest.mark.long
@pytest.mark.slow
def test_an_engine_file_is_a_file_of_tests(tmp_path: Path) -> None:
    """Properties are items, on several workers: what fails fails, what is known is skipped, what is stale says so."""
    known = '[[known]]\nproperty = "{}"\nreason = "by design"\nreview = 2030-01-01\n'
    more = known.format("P15") + known.format("P18")
    path = engine_file(tmp_path, '"a cancel is ignored"', more, MUTANTS)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-rA", "-q", "-k", "P15 or P18 or P11", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "P18 is known to fail (by design), and passes: delete it" in done.stdout
    assert "known: by design" in done.stdout


# --- the payload in another language ---

NODE = """
const run = require(process.argv[1]);
run(process.argv[2]).then((told) => console.log(told), (error) => { console.error(error.message); process.exit(9); });
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(("fault", "status"), [("ok", 0), ("exc", 9), ("segv", -11), ("abrt", -6), ("exit139", 139)])
def test_the_payloads_for_python_and_node_write_the_same(tmp_path: Path, fault: str, status: int) -> None:
    """Both number themselves, write records of 256 bytes with the same members, and end as the fault says."""
    found = []
    for name in ("py", "cjs"):
        folder = tmp_path / name
        (folder / "l.d").mkdir(parents=True)
        (folder / "l.d" / "j.json").write_text(json.dumps({"faults": [fault], "run_s": 0}))
        script = str(PAYLOAD / f"chpayload.{name}")
        command = ["node", "-e", NODE, script, "j"] if name == "cjs" else [sys.executable, "-I", "-S", script, "j"]
        env = {**os.environ, "CH_RUN": "r", "CH_LEDGER": str(folder / "l")}
        bare = ["sh", "-c", 'ulimit -c 0; exec "$@"', "sh", *command]
        done = subprocess.run(bare, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == (1 if (name, fault) == ("py", "exc") else status)
        data = (folder / "l").read_bytes()
        lines = [json.loads(data[at : at + 256]) for at in range(0, len(data), 256)]
        found.append([(line["ev"], line["n"], sorted(line)) for line in lines])
    assert found[0] == found[1]
