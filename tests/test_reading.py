"""A history read back: what was asked for and not decided is told everywhere, and damage is told as such."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from harness.dialects import find
from harness.engine.durable import EXEC, Durable
from harness.engine.loop import Engine, Life
from harness.engine.policy import Policy
from harness.evidence import Evidence, Exited, Signaled
from harness.exceptions import InvalidInputError
from harness.experiments.kept import experiment_job, save
from harness.experiments.stopping import Stopping
from harness.experiments.tally import GROUP, Trial
from harness.experiments.variant import Experiment, Variant
from harness.journal import History, Job, Kind, job_of, read
from harness.reading import read_toml
from harness.report.formats import render
from harness.report.reader import HistoryReport
from harness.report.reader import read as read_report
from harness.scenarios.campaign import Campaign
from harness.scenarios.order import Order, run_job
from harness.scenarios.schema import load, shipped

PAGE = 4096
SEGV, DONE = Life(Evidence(Signaled("SIGSEGV"))), Life(Evidence(Exited(0)))
CONTROLS = load(shipped() / "controls.toml")
TAMPERING = {
    "DELETE FROM events WHERE id = 3": "damaged: of [0-9]+ events [0-9]+ are there",
    "UPDATE events SET body = replace(body, 'PASS', 'FAIL')": "damaged: event [0-9]+ is not what was written",
    "UPDATE events SET title = 'other' WHERE kind = 'decided'": "damaged: event 5 is not what was written",
    "UPDATE events SET kind = 'nonsense' WHERE kind = 'decided'": "damaged: of [0-9]+ events [0-9]+ are there",
    "UPDATE events SET body = x'ff' WHERE kind = 'decided'": "damaged: event 5 is not what was written",
}
SETPRIV = shutil.which("setpriv")
WITHOUT_PRIVILEGES = [] if os.geteuid() else [SETPRIV, "--inh-caps=-all", "--bounding-set=-all"] if SETPRIV else None
Ending = Callable[[History], object]


def report_of(path: Path) -> HistoryReport:
    """Read a history."""
    with read(path) as reading:
        return read_report(reading, path.name)


def of_cases(path: Path, end: Ending = lambda _: None, count: int = 1) -> None:
    """A history of two cases, of which so many are decided; `end` sees it before it is closed."""
    order = Order(("controls",), None, "upstream-4.5", None)
    with History.begin(path, run_job(order), {"commit": "c0ffee"}) as history:
        for case in CONTROLS.case[:count]:
            Campaign(find("upstream-4.5"), history=history).live(CONTROLS, case)
        end(history)


def of_a_command(path: Path, lives: list[Life], end: Ending = lambda _: None) -> None:
    """A history of a command that had these lives; it is interrupted when there are no more."""
    job = job_of(EXEC, ("job",), command=["job"])

    def execute(number: int, _: str) -> Life:
        if number > len(lives):
            end(history)
            raise KeyboardInterrupt
        return lives[number - 1]

    with History.take_up(path, job, {}) as history:
        kept = Durable(history, "job")
        try:
            Engine(Policy(3), find("upstream-4.5"), lambda: 0.5).run(execute, **kept.options())
        except KeyboardInterrupt:
            history.interrupted()


def of_an_experiment(path: Path, target: float) -> None:
    """A history of an experiment with twenty trials, half of them failed, that goes on."""
    variant = Variant("job", "upstream-4.5", 0, None, ("job",))
    one = Experiment("job", (variant,), Stopping(trials=40), target=target)
    with History.begin(path, experiment_job([one]), {}) as history:
        for group in range(2):
            numbers = range(group * GROUP + 1, (group + 1) * GROUP + 1)
            save(
                history,
                [Trial("job", n, group, 0, 0, None, "exited 1", n % 2 == 0, None, "", "", None) for n in numbers],
            )
        history.interrupted()


def failed(history: History) -> None:
    """The harness fails, as on a full disk."""
    history._closing = msgspec.structs.replace(history._closing, how="failed", reason="the disk is full")


def unsaid(history: History) -> None:
    """The process is gone before it could say how."""
    history._is_open = False


WHY = {
    "interrupted": (History.interrupted, "it was interrupted at ", 4),
    "failed": (failed, "the disk is full", 3),
    "killed": (unsaid, "its process ended without a word after ", 4),
}


@pytest.mark.parametrize("why", WHY)
def test_what_is_not_decided_is_told_everywhere(tmp_path: Path, why: str) -> None:
    """In words, as JSON, HTML, Markdown and JUnit, with the reason; never absent, and never exit code 0."""
    end, reason, code = WHY[why]
    of_cases(tmp_path / "h", end)
    told = report_of(tmp_path / "h")
    assert (told.exit_code, told.undecided) == (code, ("controls[did-not-fire]",))
    for name in ("terminal", "html", "json", "markdown"):
        text = render(name, told).replace("\\", "")
        assert "controls[did-not-fire]" in text
        assert reason in text or name == "json"
        assert "1 of 2 cases not decided: " in text or name == "json"
    suite = ET.fromstring(render("junit", told))  # noqa: S314 -- our own
    assert {name: suite.get(name) for name in ("tests", "errors", "failures")} == {
        "tests": "2",
        "errors": "1",
        "failures": "0",
    }
    error = suite.find("testcase[@name='controls[did-not-fire]']/error")
    assert error is not None
    assert reason in error.get("message", "")
    assert json.loads(render("json", told))["standing"]["how"] == why


def test_all_decided_is_no_open_question(tmp_path: Path) -> None:
    """However the last session ended."""
    for name, end in (("a", lambda _: None), ("b", failed), ("c", unsaid)):
        of_cases(tmp_path / name, end, count=2)
        told = report_of(tmp_path / name)
        assert (told.exit_code, told.open_question, len(told.results)) == (0, "", 2)


@pytest.mark.parametrize("make", [Path.touch, lambda path: History(path).close()], ids=["no byte", "no event"])
def test_an_empty_history_has_decided_nothing(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """It is UNKNOWN, and an error in JUnit; a new history may begin in it."""
    make(tmp_path / "h")
    told = report_of(tmp_path / "h")
    assert (told.exit_code, told.open_question) == (4, "nothing was begun in this history")
    suite = ET.fromstring(render("junit", told))  # noqa: S314 -- our own
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    of_a_command(tmp_path / "h", [DONE])
    assert report_of(tmp_path / "h").exit_code == 0


def test_a_history_that_is_written_now_is_open(tmp_path: Path) -> None:
    """Another process may read it meanwhile, and is told that it is not all."""

    def look(_: History) -> None:
        told = report_of(tmp_path / "h")
        assert (told.exit_code, told.open_question) == (4, "1 of 2 cases not decided: a process is still at it")

    of_cases(tmp_path / "h", look)


@pytest.mark.parametrize(
    ("lives", "code", "said"),
    [
        ([DONE], 0, "PASS: COMPLETED_SUCCESSFULLY after 1 attempt"),
        ([SEGV, SEGV, SEGV], 1, "FAIL: CRASHED after 3 attempts"),
        ([SEGV], 4, "not decided, 1 attempt so far"),
        ([], 4, "not decided, 0 attempts so far"),
    ],
)
def test_of_a_command_the_attempts_are_shown(tmp_path: Path, lives: list[Life], code: int, said: str) -> None:
    """Each with its classification and decision, and what came of them; a crash that is final is a failure."""
    of_a_command(tmp_path / "h", lives)
    told = report_of(tmp_path / "h")
    text = render("terminal", told)
    assert (told.exit_code, text.count("  attempt ")) == (code, len(lives))
    assert said in text
    suite = ET.fromstring(render("junit", told))  # noqa: S314 -- our own
    assert {0: "0 0", 1: "1 0", 4: "0 1"}[code] == f"{suite.get('failures')} {suite.get('errors')}"
    assert len((suite.findtext("testcase/system-out") or "").splitlines()) == len(lives)


def test_the_advice_is_the_experiments_own(tmp_path: Path) -> None:
    """The target that was asked for is kept."""
    advice = []
    for target in (0.5, 0.0001):
        of_an_experiment(tmp_path / str(target), target)
        told = report_of(tmp_path / str(target))
        assert told.open_question.startswith("1 of 1 experiment not decided: ")
        advice.append(told.experiments[0].conclusion.findings[0].advice)
    assert [one.target for one in advice] == [0.5, 0.0001]
    assert (advice[0].attempts or 0) < (advice[1].attempts or 0)


def test_another_job_or_option_is_refused_in_words(tmp_path: Path) -> None:
    """What is otherwise is named, then and now; the file stays as it is."""
    then = job_of(EXEC, ("job",), command=["job", "a"], policy=Policy(3), seed=1)
    History.begin(tmp_path / "h", then, {}).close()
    before = (tmp_path / "h").read_bytes()
    others = [
        (job_of(EXEC, ("job",), command=["job", "b"], policy=Policy(3), seed=1), r'command: \["job","a"\] then, '),
        (job_of(EXEC, ("job",), command=["job", "a"], policy=Policy(4), seed=1), "policy.max_attempts: 3 then, 4 now"),
        (job_of(EXEC, ("job",), command=["job", "a"], policy=Policy(3)), "seed: 1 then, nothing now"),
        (job_of("run", ("job",), command=["job", "a"], policy=Policy(3), seed=1), "a history of `exec`, not of `run`"),
    ]
    for other, words in others:
        with pytest.raises(InvalidInputError, match=words):
            History.take_up(tmp_path / "h", other, {})
    assert (tmp_path / "h").read_bytes() == before
    History.take_up(tmp_path / "h", then, {}).close()


def test_a_place_that_has_changed_is_told(tmp_path: Path) -> None:
    """Going on with another compiler is no other job, but the reader should know."""
    job = Job("exec", {}, ("job",))
    History.begin(tmp_path / "h", job, {"compiler": "gcc 12", "libc": "glibc 2.36"}).close()
    with History.take_up(tmp_path / "h", job, {"compiler": "clang 14", "libc": "glibc 2.36"}) as history:
        assert history.moved() == ["compiler: gcc 12 then, clang 14 now"]


def damaged(data: bytes, draw: random.Random) -> Iterator[bytes]:
    """The file with each page zeroed, torn, exchanged for another, with flipped bits; and cut off anywhere."""
    for at in range(0, len(data), PAGE):
        other = draw.randrange(len(data) // PAGE) * PAGE
        flipped = bytearray(data[at : at + PAGE])
        for _ in range(3):
            flipped[draw.randrange(PAGE)] ^= 1 << draw.randrange(8)
        for page in (bytes(PAGE), draw.randbytes(PAGE), data[other : other + PAGE], bytes(flipped)):
            yield data[:at] + page + data[at + PAGE :]
    for _ in range(10):
        yield data[: draw.randrange(1, len(data))]


@pytest.mark.slow
@pytest.mark.parametrize("make", [of_cases, lambda path: of_a_command(path, [SEGV, DONE])], ids=["cases", "command"])
def test_a_damaged_history_is_told_as_such(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Whatever page is damaged, the answer is the true one or one line: never another answer, never a traceback."""
    make(tmp_path / "h")
    truth, lines = render("json", report_of(tmp_path / "h")), list[str]()
    for data in damaged((tmp_path / "h").read_bytes(), random.Random(1)):
        (tmp_path / "damaged").write_bytes(data)
        try:
            with read(tmp_path / "damaged") as reading:
                assert render("json", read_report(reading, "h")) == truth
        except InvalidInputError as error:
            lines.append(str(error))
    assert len(lines) > 10
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("statement", TAMPERING)
def test_an_event_that_is_not_what_was_written_is_told(tmp_path: Path, statement: str) -> None:
    """One that is gone, or has another body, title or kind, though SQLite has nothing to say."""
    of_cases(tmp_path / "h")
    connection = sqlite3.connect(tmp_path / "h", isolation_level=None)
    connection.execute(statement)
    connection.close()
    with pytest.raises(InvalidInputError, match=TAMPERING[statement]):
        report_of(tmp_path / "h")


@pytest.mark.slow
@pytest.mark.skipif(WITHOUT_PRIVILEGES is None, reason="root may write anywhere, and setpriv is not installed")
@pytest.mark.parametrize("left", [{"h"}, {"h", "h-wal"}, {"h", "h-wal", "h-shm"}], ids=["clean", "copied", "killed"])
def test_a_read_only_folder_is_read(tmp_path: Path, left: set[str]) -> None:
    """By whoever may not write there, with the log that a kill left or without; nothing is changed in it."""
    if len(left) == 1:
        of_cases(tmp_path / "h", History.interrupted)
    else:
        script = "import os, sys, test_reading as t; t.of_cases(t.Path(sys.argv[1]), lambda _: os._exit(0))"
        command = [sys.executable, "-c", script, str(tmp_path / "h")]
        subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parent)
    for path in tmp_path.iterdir():
        if path.name not in left:
            path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == left
    tmp_path.chmod(0o555)
    try:
        command = [
            *(WITHOUT_PRIVILEGES or []),
            sys.executable,
            "-m",
            "harness",
            "report",
            str(tmp_path / "h"),
            "--json",
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    finally:
        tmp_path.chmod(0o755)
    assert (told.returncode, told.stderr) == (4, "")
    document = json.loads(told.stdout)
    assert (document["undecided"], document["standing"]["how"]) == (
        ["controls[did-not-fire]"],
        "killed" if len(left) > 1 else "interrupted",
    )
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {**after, "h-shm": b""} == {**before, "h-shm": b""}  # which is the index in memory, locks included


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_attemps = 3", "max_attemps: there is no such key; did you mean 'max_attempts'?"),
        ("max_attempts = -1", "policy.max_attempts: expected a whole number of attempts, 1 or more, not -1"),
        ("[retry]\nfactor = nan", "policy.retry.factor: expected a number, 0 or more, not nan"),
        ('machine = "tiny"', "policy.machine: expected one of micro"),
    ],
)
def test_a_policys_file_is_told_where_it_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    """A key that there is not is no policy by default, and what a policy refuses is told with its file."""
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(InvalidInputError) as refused:
        read_toml(tmp_path / "policy.toml", Policy)
    assert str(refused.value).startswith(f"{tmp_path / 'policy.toml'}: {said}")


def test_a_fork_does_not_hold_the_lock(tmp_path: Path) -> None:
    """A process that forked off, as multiprocessing does, lives on when the writer is gone; another may write then."""
    script = """
import os, signal, sys, time
from pathlib import Path
from harness.journal import History, Kind
history = History(Path(sys.argv[1]))
history.write(Kind.KILL_INTENT)
forked, begun = os.pipe()
if os.fork() == 0:
    os.write(begun, b".")
    time.sleep(60)
    os._exit(0)
os.read(forked, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "h")], start_new_session=True)
    try:
        assert died.wait(timeout=60) == -signal.SIGKILL
        with History(tmp_path / "h") as history:
            history.write(Kind.KILL_INTENT)
    finally:
        os.killpg(died.pid, signal.SIGKILL)
