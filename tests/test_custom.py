"""Judges of the user's own: believed when they answer, FAIL with the question when they don't, never our crash."""

import json
import os
import select
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.api import run
from harness.dialects import find
from harness.dialects.custom import Custom, opened
from harness.evidence import Evidence, Signaled
from harness.exceptions import InvalidInputError, JudgeError
from harness.gate.deaths import evidences
from harness.gate.questions import requests
from harness.gate.tables import digest
from harness.scenarios.campaign import Campaign
from harness.scenarios.schema import load, shipped
from harness.scenarios.verdict import Verdict
from harness.supervisor.dialogue import HANGS, LINE_BYTES, Dialogue, DialogueError, _Life
from harness.wire.errors import UnexpectedError
from harness.wire.request import Request, RunNotFoundError, RunSettings

SEGV = Evidence(Signaled("SIGSEGV"))
OURS = find("strict")


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Programs are gone with the judge."""
    yield
    assert psutil.Process().children(recursive=True) == []


def program(body: str) -> str:
    """Spell a Python program as a judge."""
    return f"cmd:{sys.executable} -c {shlex.quote(body)}"


def request() -> Request:
    """A failed first attempt under strict."""
    error = find("strict").classify(SEGV).error
    assert error is not None
    return Request(error, 1, RunSettings(3, {"maxAttempts": 3}, "micro"), random=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        "judges:ask",
        f"cmd:sh -c 'exec {sys.executable} -m harness $0 --dialect strict'",
    ],
)
def test_a_judge_is_believed(spec: str) -> None:
    """A function and a program answer as the dialect that they are."""
    with opened(spec) as judge:
        assert judge.classify(SEGV) == OURS.classify(SEGV)
        assert judge.decide(request()) == OURS.decide(request())


def told(ask: Callable[[], object]) -> object:
    """An answer, or what was raised in its place, as JSON has it."""
    try:
        return msgspec.to_builtins(ask())
    except (UnexpectedError, RunNotFoundError) as error:
        return repr(error)


@pytest.mark.slow
def test_a_judge_that_is_a_dialect_answers_as_it_does() -> None:
    """All fixed questions of the gate: malformed errors, absent runs and draws, delays beyond 2^53."""
    differing = []
    with opened(f"cmd:sh -c 'exec {sys.executable} -m harness $0 --dialect strict'") as judge:
        for name, request in requests().items():
            if told(partial(judge.decide, request)) != told(partial(OURS.decide, request)):
                differing.append(name)
        for name, evidence in evidences().items():
            if told(partial(judge.classify, evidence)) != told(partial(OURS.classify, evidence)):
                differing.append(name)
    assert differing == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("judges:throw", "ZeroDivisionError: classify"),
        ("judges:leave", "SystemExit: 0"),
        ("judges:vanish", "ended without an answer: exited 0"),
        ("judges:crash", "ended without an answer: SIGSEGV"),
        ("judges:intrude", "answers nonsense"),
        ("judges:half_a_pair", "UnicodeEncodeError"),
        ("judges:unknown_code", "answers nonsense: task error: Invalid enum value 'NO_SUCH_CODE'"),
        ("judges:babble", "answers nonsense"),
        ("judges:unspeakable", "TypeError"),
        (program("input(); print('hello', flush=True)"), "answers nonsense: JSON is malformed"),
        (program("input(); print('{}', flush=True)"), "answers nonsense: Object missing required field"),
        (program("pass"), "ended without an answer: exited 0"),
        (program("import os; os.abort()"), "ended without an answer: SIGABRT"),
        (program("input(); print('[' * 100000, flush=True)"), "answers nonsense"),
        (program("import sys; sys.exit('no such rule')"), "exited 1: no such rule"),
        (program("import os; os.write(1, b'{}\\n{}\\n'); input()"), "says what nobody asked for: '{}"),
        (
            program("import sys; sys.stdin.close(); sys.stdout.write('{'); sys.stdout.flush()"),
            "ended without an answer",
        ),
        (program(f"print('x' * {LINE_BYTES + 10})"), "more than"),
    ],
)
def test_a_judge_that_fails_says_on_what(spec: str, reason: str) -> None:
    """JudgeError, with the reason and the question."""
    with opened(spec) as judge, pytest.raises(JudgeError) as raised:
        judge.classify(SEGV)
    assert reason in str(raised.value)
    assert '"signal":"SIGSEGV"' in str(raised.value)


def test_a_program_whose_interpreter_is_missing_fails_its_first_question(tmp_path: Path) -> None:
    """It is there and executable, and only its start shows that it can't be."""
    (tmp_path / "judge").write_text("#!/no/such/interpreter\n")
    (tmp_path / "judge").chmod(0o755)
    with opened(f"cmd:{tmp_path}/judge") as judge, pytest.raises(JudgeError, match="can't be started: No such file"):
        judge.classify(SEGV)


def test_a_judge_may_raise_as_upstream_does() -> None:
    """A run that is needed and absent; anything else that it raises is its failure."""
    with opened("judges:no_run") as judge:
        with pytest.raises(RunNotFoundError):
            judge.decide(msgspec.structs.replace(request(), run=None))
        with pytest.raises(JudgeError, match="raises Run not found"):
            judge.decide(request())


@pytest.mark.parametrize(
    "answer",
    [
        {"outcome": "retry", "branch": "policy"},
        {"outcome": "retry", "branch": "policy", "settings": {"timestamp": 0, "delay": 1e300}},
        {"outcome": "fail_run", "branch": "policy", "machine": "huge"},
        {"outcome": "fail_run", "branch": "policy", "enhanced": {"type": "X"}},
        {"outcome": "give_up", "branch": "policy"},
        {"outcome": "fail_run", "branch": "whim"},
    ],
    ids=str,
)
def test_a_decision_that_nobody_could_follow_is_nonsense(answer: object) -> None:
    """No time, a time out of all bounds, no such machine, error, outcome or step."""
    judge = Custom("one", OURS, lambda _, __: msgspec.json.encode(answer))
    with pytest.raises(JudgeError, match="one: decide: answers nonsense"):
        judge.decide(request())


def test_a_judge_that_hangs_is_given_up() -> None:
    """After its patience, and for good after the third time."""
    with Dialogue(["sleep", "60"], patience_s=0.05) as dialogue:
        for _ in range(HANGS):
            with pytest.raises(DialogueError, match="no answer within"):
                dialogue.ask(b"{}")
        with pytest.raises(DialogueError, match="is not asked any more"):
            dialogue.ask(b"{}")


class Busy:
    """A poller that always has something to read on one descriptor: its process writes faster than anybody reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def register(self, *_: object) -> None:
        """Do nothing."""

    def poll(self, _: float) -> list[tuple[int, int]]:
        """There is always more."""
        return [(self._fd, select.POLLIN)]


def test_a_judge_that_never_falls_silent_is_given_up() -> None:
    """Its patience is over, whatever it writes to stderr meanwhile."""
    with Dialogue(["sleep", "60"], patience_s=0.05) as dialogue:
        dialogue._life = life = _Life(["sleep", "60"])
        life._poller = Busy(life._guard.stderr)  # type: ignore[assignment]  # as far as it is asked
        with pytest.raises(DialogueError, match="no answer within"):
            dialogue.ask(b"{}")


@pytest.mark.slow
def test_a_function_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program: it is one."""
    monkeypatch.setattr("harness.dialects.custom.PATIENCE_S", 2.0)
    with opened("judges:hang") as judge, pytest.raises(JudgeError, match="no answer within 2 s"):
        judge.classify(SEGV)


def test_a_judge_that_failed_is_asked_the_next_question() -> None:
    """One evidence that it dies of costs one case, and the next answer is that of the next question."""
    body = "import sys\nfor line in sys.stdin: print(1 / int(line), flush=True)"
    with Dialogue([sys.executable, "-c", body]) as dialogue:
        assert dialogue.ask(b"2") == b"0.5"
        with pytest.raises(DialogueError, match="exited 1: ZeroDivisionError"):
            dialogue.ask(b"0")
        assert dialogue.ask(b"4") == b"0.25"


def test_a_late_line_is_not_the_next_answer() -> None:
    """What comes between two questions fails the second."""
    body = "import os; input(); os.write(1, b'1\\n'); input(); os.write(1, b'2\\n3\\n'); input()"
    with Dialogue([sys.executable, "-c", body]) as dialogue:
        assert dialogue.ask(b"") == b"1"
        with pytest.raises(DialogueError, match="says what nobody asked for: '3"):
            dialogue.ask(b"")


def test_what_a_judge_starts_is_gone_with_it() -> None:
    """Even in a session of its own."""
    body = (
        "import subprocess, sys; input()\n"
        "print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid, flush=True); input()"
    )
    with Dialogue([sys.executable, "-c", body]) as dialogue:
        pid = int(dialogue.ask(b""))
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


@pytest.mark.slow
def test_a_judge_does_not_outlive_us() -> None:
    """SIGKILL while it hangs, and it is gone."""
    body = "import os, sys; input(); sys.stderr.write(f'{os.getpid()}\\n'); sys.stderr.flush(); os.read(0, 9)"
    harness = f"from harness.supervisor.dialogue import Dialogue as D\nD([{sys.executable!r}, '-c', {body!r}]).ask(b'')"
    with subprocess.Popen([sys.executable, "-c", harness], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        judge = psutil.Process(int(process.stderr.readline()))
        process.kill()
    psutil.wait_procs([judge], timeout=10)
    assert not judge.is_running()


def test_what_a_function_prints_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """It goes to stderr; and there is nothing on stdin that it could take away."""
    with opened("judges:chat") as judge:
        assert judge.classify(SEGV).cause == "nothing on stdin"
    assert "thinking" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leave", "vanish", "crash"])
def test_a_judge_can_not_end_the_run(name: str) -> None:
    """What would end its process is a FAIL of the case, and exit code 1: neither green nor our crash."""
    command = [sys.executable, "-m", "harness", "run", "abort[double-free]", "--classifier", f"judges:{name}"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent)
    assert (ran.returncode, "FAIL   abort[double-free]" in ran.stdout) == (1, True), ran.stdout + ran.stderr


def test_a_talker_and_a_listener_do_not_wait_for_each_other() -> None:
    """A question larger than a pipe, to a program that answers before it has read it."""
    body = "import sys; print('y' * 1000000, end='', flush=True); print(len(sys.stdin.readline()), flush=True)"
    with Dialogue([sys.executable, "-c", body]) as dialogue:
        assert dialogue.ask(b"x" * 1_000_000).endswith(b"1000001")


def test_a_program_keeps_its_state() -> None:
    """One process for all questions of a kind."""
    body = "import sys, os\nfor line in sys.stdin: print(os.getpid(), flush=True)"
    with Dialogue([sys.executable, "-c", body]) as dialogue:
        assert dialogue.ask(b"1") == dialogue.ask(b"2") != str(os.getpid()).encode()


@pytest.mark.slow
def test_a_case_fails_with_its_judge() -> None:
    """The verdict is FAIL, and the reason is the judge's: no INFRA, no traceback."""
    scenario = load(shipped() / "abort.toml")
    with opened("judges:throw") as judge:
        result = Campaign(judge).live(scenario, scenario.case[0])
    assert result.judgement.verdict is Verdict.FAIL
    assert "ZeroDivisionError" in result.judgement.reasons[0]


@pytest.mark.parametrize("name", ["rule", "cause"])
def test_half_a_surrogate_pair_is_no_name(name: str) -> None:
    """A baseline keeps rules and causes, and no TOML file can hold it."""
    said = json.dumps({"error": None, "rule": "r", "cause": "c", name: "\ud800"}).encode()
    with pytest.raises(JudgeError, match=f"{name}: expected text, not half a surrogate pair"):
        Custom("mine", OURS, lambda *_: said).classify(SEGV)


def test_half_a_surrogate_pair_is_a_message() -> None:
    """As an engine in JavaScript may cut one: a baseline has a digest of it."""
    said = {"error": {"type": "INTERNAL_ERROR", "code": "TASK_PROCESS_SIGSEGV", "message": "\ud800"}}
    mine = Custom("mine", OURS, lambda *_: json.dumps({**said, "rule": "r", "cause": "c"}).encode())
    assert digest(mine.classify(SEGV)) != digest(OURS.classify(SEGV))


@pytest.mark.slow
def test_a_good_judge_passes_a_case() -> None:
    """Expectations are those of the dialect that it is like; answers are the judge's."""
    scenario = load(shipped() / "abort.toml")
    judged = []
    for name in ("judges:ask like strict", "judges:ask"):
        with opened(name) as judge:
            judged.append(Campaign(judge).live(scenario, scenario.case[0]).judgement.verdict)
    assert judged == [Verdict.PASS, Verdict.FAIL]


@pytest.mark.parametrize(
    "spec",
    [
        *("nonsense", "json:", ":f", "json:no_such", "no.such.module:f", "json:__name__", "cmd:"),
        *("cmd:sh 'unclosed", "judges_that_fail:any", "judges_that_intrude:any"),
    ],
)
def test_a_name_that_means_nothing_is_wrong_use(spec: str) -> None:
    """One line."""
    with pytest.raises(InvalidInputError, match="dialect: "), opened(spec):
        pass


def harness(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where the judges can be imported."""
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent)


ABORT = [sys.executable, "-c", "import os; os.abort()"]


@pytest.mark.long
@pytest.mark.slow
def test_a_judge_is_asked_wherever_a_dialect_is(tmp_path: Path) -> None:
    """By exec, experiments, their replay and the API: an abort is no shortage of memory to a judge that is strict."""
    judged = harness("exec", "--json", "--max-attempts", "1", "--classifier", "judges:ask", "--", *ABORT)
    assert json.loads(judged.stdout)["attempts"][0]["rule"] == "crash-signal", judged.stderr
    assert "after 1 attempt (judges:ask like " in judged.stderr
    history = str(tmp_path / "h.sqlite")
    tried = ["experiment", "--trials", "10", "--history", history, "--dialect", "judges:ask like strict"]
    assert harness(*tried, "--", *ABORT).returncode == 0
    assert "PASS" in harness("replay", history, "--trial", "3").stdout, "judged by the same judge, and alike"
    other = harness("replay", history, "--trial", "3", "--dialect", "upstream-4.4")
    assert "abort then, maybe_oom now" in other.stdout
    assert run(ABORT, dialect="judges:ask").attempts[0].rule == "crash-signal"


@pytest.mark.parametrize("words", [["--dialect", "nonsense"], ["--dialect", "a:b", "--classifier", "c:d"]])
def test_a_name_that_means_nothing_is_one_line(words: list[str]) -> None:
    """Two judges, or none."""
    refused = harness("exec", *words, "--", "true")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("crash-harness: --dialect: ")
