"""The journal: written before things happen, once each, and never wrong when it can't be written."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.program import program
from harness.dialects import DEFAULT, find
from harness.engine.loop import Run
from harness.evidence import EndedBy
from harness.exceptions import InfraError, InvalidInputError
from harness.journal import History, Kind, Reading, read
from harness.journal.ballast import Ballast
from harness.journal.file import APPLICATION, VERSION
from harness.scenarios.campaign import Campaign, decided
from harness.scenarios.live import run_case
from harness.scenarios.order import Order, open_history
from harness.scenarios.schema import Case, Scenario, load, shipped
from harness.scenarios.verdict import Verdict

CONTROLS = load(shipped() / "controls.toml")
FLAKY = load(shipped() / "bad-host.toml")


def live(scenario: Scenario, history: History, index: int = 0) -> Verdict:
    """Live a case with a journal."""
    return Campaign(find("upstream-4.5"), history=history).live(scenario, scenario.case[index]).judgement.verdict


def kinds(history: Reading) -> list[tuple[str, int]]:
    """The journal in short, without what tells of the sessions."""
    return [(event.kind, event.number) for event in history.events() if event.kind not in ("opened", "closed")]


def test_a_run_is_journalled_in_order(tmp_path: Path) -> None:
    """Each attempt starts before it is finished, and the case is decided at the end."""
    with History(tmp_path / "h") as history:
        assert live(FLAKY, history) is Verdict.PASS
        assert kinds(history) == [("started", 1), ("finished", 1), ("started", 2), ("finished", 2), ("decided", 0)]
        assert decided(history)[0].run is not None


def test_what_is_read_back_is_what_was_lived(tmp_path: Path) -> None:
    """A result survives its journal to the last member."""
    result = Campaign(find("strict")).live(FLAKY, FLAKY.case[0])
    with History(tmp_path / "h") as history:
        history.write(Kind.DECIDED, result.title, body=result)
        assert decided(history) == [result]


def test_intents_are_journalled(tmp_path: Path) -> None:
    """Why and with what a victim is to be killed."""
    with History(tmp_path / "h") as history:
        history.attempt("x", 1).kill_intent(EndedBy.DEADLINE, "SIGTERM")
        told = [body for _, body in history.bodies(Kind.KILL_INTENT, dict[str, str])]
        assert told == [{"ended_by": "deadline", "signal": "SIGTERM"}]


@pytest.mark.parametrize("kind", [Kind.STARTED, Kind.FINISHED, Kind.DECIDED, Kind.STEP, Kind.TRIALS, Kind.JOB])
def test_once_is_once(tmp_path: Path, kind: Kind) -> None:
    """The second of each is refused by the file itself."""
    with History(tmp_path / "h") as history:
        history.write(kind, "x", 1)
        with pytest.raises(InfraError, match=f"{kind} can't be journalled: UNIQUE"):
            history.write(kind, "x", 1)


def test_a_second_session_may_start_an_attempt_again(tmp_path: Path) -> None:
    """What was begun and not decided is lived again by who resumes."""
    for _ in range(2):
        with History(tmp_path / "h") as history:
            history.write(Kind.STARTED, "x", 1)
    with read(tmp_path / "h") as history:
        assert [event.session for event in history.events(Kind.STARTED)] == [1, 2]


def test_other_files_are_refused(tmp_path: Path) -> None:
    """Text, another program's database, and a history from the future: one line each."""
    (tmp_path / "text").write_text("no database" * 100)
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE t (x)").connection.close()
    with History(tmp_path / "newer"):
        pass
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    for name, message in (("text", "no history"), ("other", "another program"), ("newer", f"expected {VERSION}")):
        with pytest.raises(InvalidInputError, match=message):
            History(tmp_path / name)
    assert APPLICATION > 0


class Failing:
    """A connection whose nth insert fails: once, or from then on."""

    def __init__(self, connection: sqlite3.Connection, nth: int, error: str, *, for_good: bool) -> None:
        self._connection, self._nth, self._error, self._for_good = connection, nth, error, for_good
        self.inserts = 0

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        """Fail or pass on."""
        self.inserts += 1
        if self.inserts == self._nth or (self._for_good and self.inserts > self._nth):
            raise sqlite3.OperationalError(self._error)
        return self._connection.executemany(statement, rows)

    def __getattr__(self, name: str) -> Any:
        """Pass on."""
        return getattr(self._connection, name)

    def __enter__(self) -> object:
        """Pass on."""
        return self._connection.__enter__()

    def __exit__(self, *raised: object) -> Any:
        """Pass on."""
        leave: Any = self._connection.__exit__
        return leave(*raised)


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", ["database or disk is full", "disk I/O error"])
def test_no_failing_write_gives_a_wrong_verdict(tmp_path: Path, error: str, *, for_good: bool) -> None:
    """The nth write fails, n = 1, 2, … until none does: the verdict is the true one or INFRA, the file sound."""
    for nth in range(1, 20):
        with History(tmp_path / f"h{nth}") as history:
            failing = Failing(history._connection, nth, error, for_good=for_good)
            history._connection = failing  # type: ignore[assignment]  # quacks like one
            verdict = live(FLAKY, history)
            if failing.inserts < nth:
                assert verdict is Verdict.PASS
                return
            assert verdict is (Verdict.INFRA if for_good else Verdict.PASS)
            assert bool(decided(history)) is (verdict is Verdict.PASS)
    pytest.fail("the sweep never ran clean")


def files_in(folder: Path) -> set[str]:
    """Names in a folder."""
    return {path.name for path in folder.iterdir()}


def test_a_full_disk_costs_the_ballast_only(tmp_path: Path) -> None:
    """The ballast has no name; it is released for the first write that finds no room, and the last part at the end."""
    with History(tmp_path / "h") as history:
        history.write(Kind.KILL_INTENT)
        assert files_in(tmp_path) == {"h", "h-wal", "h-shm"}
        history._connection = Failing(  # type: ignore[assignment]  # quacks like one
            history._connection, 1, "database or disk is full", for_good=False
        )
        history.write(Kind.STARTED, "x", 1)
        assert [ballast.release() for ballast in history._ballasts] == [False, True]
        assert kinds(history) == [("kill_intent", 0), ("started", 1)]
        history._ballasts.append(Ballast(tmp_path, 1))
    assert files_in(tmp_path) == {"h"}
    assert not any(ballast.release() for ballast in history._ballasts)


def test_a_ballast_is_nobody_elses_file(tmp_path: Path) -> None:
    """Files that lie there under likely names stay as they are, links too, and so does what they point to."""
    (tmp_path / "h.ballast").write_text("mine")
    (tmp_path / "precious").write_text("mine too")
    for name in ("h-ballast", ".h.ballast"):
        (tmp_path / name).symlink_to("precious")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    with History(tmp_path / "h") as history:
        history.write(Kind.KILL_INTENT)
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.name != "h"} == before


def test_of_four_that_open_a_new_file_at_once_one_writes_it(tmp_path: Path) -> None:
    """The others are told that somebody does; thirty times, on four threads."""
    for n in range(30):
        path, start, done = tmp_path / str(n), threading.Barrier(4), threading.Barrier(4)

        def write(path: Path = path, start: threading.Barrier = start, done: threading.Barrier = done) -> str:
            start.wait()
            said = ""
            with ExitStack() as stack:
                try:
                    stack.enter_context(History(path)).write(Kind.KILL_INTENT)
                except InvalidInputError as error:
                    said = str(error)
                done.wait()
            return said

        with ThreadPoolExecutor(4) as pool:
            told = sorted(future.result() for future in [pool.submit(write) for _ in range(4)])
        assert [bool(one) for one in told] == [False, True, True, True]
        assert all("is writing it: start again when it has ended" in one for one in told[1:])
        with read(path) as history:
            assert kinds(history) == [("kill_intent", 0)]


FULL = """
import resource, signal, sys
from pathlib import Path
from harness.exceptions import InfraError
from harness.journal import History, Kind
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
history = History(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
written = 0
try:
    for number in range(1, 1000):
        history.write(Kind.FINISHED, "x", number, "y" * 5000)
        written = number
except InfraError as error:
    print(written, "can't be journalled" in str(error))
"""


@pytest.mark.slow
def test_a_file_that_can_not_grow_keeps_what_it_has(tmp_path: Path) -> None:
    """The real thing: past RLIMIT_FSIZE a write is INFRA, and every acknowledged one is there."""
    path = tmp_path / "h"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    written, said = done.stdout.split()
    assert (int(written) > 10, said) == (True, "True")
    with read(path) as history:
        assert [event.number for event in history.events(Kind.FINISHED)] == list(range(1, int(written) + 1))


def crash_harness(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle; --resume decides the rest, and lives nothing twice that was decided."""
    path = str(tmp_path / "h")
    command = [sys.executable, "-m", "harness", "run", "--jobs", "1", "--history", path]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    before = [killed.stdout.readline().split()[1] for _ in range(5)]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = crash_harness("run", "--resume", path, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert "cases decided already" in resumed.stderr
    lines = [json.loads(line) for line in crash_harness("export", path).stdout.splitlines()]
    titles = [line["title"] for line in lines if line["kind"] == "decided"]
    assert len(titles) == len(set(titles)) == len(json.loads(resumed.stdout)["results"])
    assert set(before) <= {line["title"] for line in lines if line["kind"] == "decided" and line["session"] == 1}


def test_what_the_harness_could_not_do_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An INFRA result is reported as long as there is no other; --resume lives its case again, and no other."""
    path, lived = tmp_path / "h", list[str]()

    def live_case(case: Case, *rest: Any, **more: Any) -> Run:
        lived.append(case.name)
        if case.name == CONTROLS.case[0].name and len(lived) <= len(CONTROLS.case):
            raise InfraError("no more processes")
        return run_case(case, *rest, **more)

    monkeypatch.setattr("harness.scenarios.campaign.run_case", live_case)
    runner, report = CliRunner(), ["report", str(path), "--json"]
    first = runner.invoke(program, ["run", "controls", "--history", str(path)])
    assert (first.exit_code, "--resume" in first.output) == (3, True)
    told = json.loads(runner.invoke(program, report).stdout)
    assert ([one["judgement"]["verdict"] for one in told["results"]].count("INFRA"), told["undecided"]) == (1, [])
    lived_first = len(lived)
    assert runner.invoke(program, ["run", "--resume", str(path)]).exit_code == 0
    assert lived[lived_first:] == [CONTROLS.case[0].name]
    assert {one["judgement"]["verdict"] for one in json.loads(runner.invoke(program, report).stdout)["results"]} == {
        "PASS"
    }
    assert "nothing was run" in runner.invoke(program, ["run", "--resume", str(path)]).output


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--resume", "{h}", "--seed", "3"], "is that of the history"),
        (["run", "--resume", "{h}", "--dialect", "strict"], "is that of the history"),
        (["run", "--resume", "{h}", "--classifier", "json:dumps"], "is that of the history"),
        (["run", "controls", "--history", "{h}"], "there is a file already"),
        (["run", "--resume", "{h}.no"], "there is no such history"),
        (["run", "--history", "{h}", "--resume", "{h}"], "expected one of them"),
        (["export", "{h}.no"], "there is no such history"),
        (["export", __file__], "no history"),
    ],
)
def test_wrong_use_of_a_history(tmp_path: Path, words: list[str], message: str) -> None:
    """One line, exit 2, and the file is as it was."""
    path = tmp_path / "h"
    assert crash_harness("run", "controls", "--history", str(path)).returncode == 0
    done = crash_harness(*(word.format(h=path) for word in words))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_code_that_a_history_names_is_run_only_if_it_is_named_again(tmp_path: Path) -> None:
    """The file may be somebody else's: a judge in it is neither imported nor started by --resume alone."""
    path, mark = tmp_path / "h", tmp_path / "mark"
    judge = f"cmd:sh -c 'touch {mark}; exec cat'"
    with open_history(path, None, Order(("controls",), None, f"{judge} like strict", None)):
        pass
    refused = crash_harness("run", "--resume", str(path))
    assert (refused.returncode, mark.exists()) == (2, False)
    assert "to be run only if you say so again" in refused.stderr
    assert crash_harness("run", "--resume", str(path), "--classifier", "json:dumps").returncode == 2
    crash_harness("run", "--resume", str(path), "--classifier", judge, "--dialect", "strict")
    assert mark.exists()


def test_who_judged_goes_on_judging(tmp_path: Path) -> None:
    """A run that a judge of the user's began is not finished by a dialect."""
    path, asked = tmp_path / "h.sqlite", Order(("controls",), None, "judges:ask like strict", None)
    with open_history(path, None, asked):
        pass
    with open_history(None, path, Order((), None, DEFAULT, None)) as (_, resumed):
        assert resumed == asked
