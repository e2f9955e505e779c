"""The sweep, on a library and a program of known truth: every verdict, every reason why nothing was swept."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import psutil
import pytest
from click.testing import CliRunner

import harness
from harness.cli.program import program
from harness.exceptions import InfraError, InvalidInputError
from harness.gate import known
from harness.journal import Kind, read
from harness.refusals import conduct, subject, symbols
from harness.refusals.conduct import Tell
from harness.refusals.kept import Kept
from harness.refusals.line import Line
from harness.refusals.outcome import Report, command_line, infra, judged, report
from harness.refusals.server import LATE_NOTE, Call, Server
from harness.refusals.stacks import Rules, module_of
from harness.refusals.targets import Plan
from harness.report.sweep import lines

pytestmark = pytest.mark.slow

TRUTH = """
import ctypes, mmap, os, random, threading
_library = ctypes.CDLL({path!r})
def _reporting(name):
    answer = getattr(_library, name)()
    if not answer:
        raise MemoryError(name)
    return answer
def disguised():
    if not _library.careful():
        raise KeyError("no idea")
def broken(): raise ValueError("always")
def lazy(): yield careful()
def unsteady(): return careful(), random.random()
def endless():
    while True: pass
def fourfold():
    for _ in range(4): done = _library.frugal()
    return done
def pooled_before(): pooled()
_idle = []
def attended():
    if not _idle:
        _idle.append(threading.Thread(target=threading.Event().wait, daemon=True))
        _idle[0].start()
    return careful()
def forking():
    if os.fork() == 0: os._exit(0)
    os.wait()
    return careful()
def wandering():
    with open({out!r} + "-turns", "ab") as turns:
        turns.write(b"x")
        turn = turns.tell()
    for _ in range(1 + turn % 39): _library.frugal()
    return careful()
def python_alone(): return sum([1, 2])
def leaving():
    if not _library.careful(): os._exit(3)
def near(reference, value): return abs(reference - value) <= 2
def adding(number, more=0): return careful() + number + more
def threading_once():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
def threading_carelessly():
    answers = []
    try: threading.Thread(target=lambda: answers.append(1)).start()
    except RuntimeError: pass
    return len(answers)
def mapping():
    with mmap.mmap(-1, 4096) as memory: return memory[0]
def writing():
    file = os.open({out!r}, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try: os.write(file, b"y" * 100)
    finally: os.close(file)
    with open({out!r}, "rb") as again: return again.read()
"""
VERDICTS = {
    "careful": {"handled"},
    "frugal": {"absorbed"},
    "leaky": {"handled"},
    "crashing": {"crash"},
    "keeping": {"hang-after"},
    "wrong": {"wrong", "handled"},
    "damaging": {"damaged"},
    "trailing": {"aftershock"},
    "aborting": {"abort"},
    "hanging": {"hang"},
    "jumping": {"crash"},
    "disguised": {"disguised"},
    "leaving": {"abort"},
    "pooled": {"handled"},
}
PASSES = {"careful", "frugal", "leaky", "disguised", "pooled"}
HANGS = {"keeping", "hanging"}


@pytest.fixture(scope="session")
def truth(compile_program: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the module, which loads the library."""
    library = compile_program("truth.c", "libtruth.so", "-shared", "-fPIC")
    names = [name for name in VERDICTS if name not in ("disguised", "leaving")]
    folder = tmp_path_factory.mktemp("truth")
    functions = [f"def {name}(): return _reporting({name!r})" for name in names]
    text = TRUTH.format(path=library, out=str(folder / "out"))
    (folder / "truth.py").write_text("\n".join([text, *functions, ""]))
    return folder


@pytest.fixture(scope="session")
def refuser(compile_program: Callable[..., str]) -> str:
    """The program."""
    return compile_program("refuser.c", "refuser", "-Wl,-rpath,$ORIGIN")


def sweep(name: str, plan: Plan = Plan(), call: Call = Call("")) -> Report:  # noqa: B008 -- frozen
    """Sweep a function of the module."""
    one = subject.function(f"truth:{name}", call)
    return report(one.name, conduct.sweep(one.host(plan), plan, Tell()), command_line([one.name]))


@pytest.fixture(autouse=True)
def _path(truth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(truth))


def command(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    line = [sys.executable, "-m", "harness", "sweep", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


def told(*words: str, cwd: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Exit code and object of the command line."""
    done = command("--json", *words, cwd=cwd)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_is_right(name: str) -> None:
    """What each function of the library does with a refusal is what is said of it, and nothing is missed."""
    seen = sweep(name, Plan(deadline_s=1.5 if name in HANGS else None))
    assert set(seen.tally) == VERDICTS[name]
    assert seen.verdict == ("PASS" if name in PASSES else "FAIL")
    assert (seen.missed, sum(seen.tally.values())) == (0, seen.trials)


def test_many_refusals_of_one_cause_are_one_finding() -> None:
    """Twenty places in two modes crash in one function: one finding, with both stacks."""
    (found,) = sweep("crashing").findings
    assert (found.count, found.sites, found.modes) == (40, 20, ("once", "from-then-on"))
    assert (found.first.signal, found.first.address_class) == ("SIGSEGV", "null")
    assert found.first.crash[0] == found.first.refused[0] == "libtruth.so!crashing"


def test_a_call_of_what_is_no_code_has_the_stack_of_its_caller() -> None:
    """A jump through NULL is told by who jumped."""
    (found,) = sweep("jumping").findings
    assert found.first.crash[0] == "libtruth.so!jumping"


def test_of_a_loop_the_second_turn_is_refused_too() -> None:
    """What the first turn has built is there then; of a shorter repetition the first call stands for all."""
    whole = Plan(modes=("once",))
    assert [one.target.k for one in sweep("careful", whole).refusals] == [1, 2]
    assert [one.target.k for one in sweep("fourfold", whole).refusals] == [1]
    assert sweep("careful", whole).sites == 1


@pytest.mark.long
def test_a_hang_says_where() -> None:
    """The stack of a call that waits for ever names the function that keeps the lock."""
    (found,) = sweep("keeping", Plan(deadline_s=1.5)).findings
    assert "libtruth.so!keeping" in found.first.crash
    assert found.first.signal is None


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_module_that_is_no_file_has_no_names(kind: str, tmp_path: Path) -> None:
    """The swept process may have named it: it is neither waited for nor read without end."""
    pipe = tmp_path / "pipe.so"
    os.mkfifo(pipe)
    path = {"device": "/dev/zero", "pipe": str(pipe)}[kind]
    assert symbols.function_at(path, 0) == symbols.build_id(path) == ""


def test_a_leak_is_what_a_call_without_a_refusal_does_not_leave_behind() -> None:
    """Only the refusal that forgets a block is a leak; the careful function has none."""
    plan = Plan(modes=("once",), leak=8)
    assert sweep("leaky", plan).tally == {"leak": 1, "handled": 1}
    assert sweep("careful", plan).tally == {"handled": 2}


def test_dialects_take_a_refusal_for_what_it_is() -> None:
    """A crash after a refusal moves to a larger machine in the strict dialect, and follows the policy in 4.5."""
    (found,) = sweep("crashing").findings
    assert found.dialects["strict"].code == "TASK_PROCESS_MAYBE_OOM_KILLED"
    assert "medium-1x" in found.dialects["strict"].decision
    assert found.dialects["upstream-4.5"].code == "TASK_PROCESS_SIGSEGV"


def test_what_fails_nothing_is_told_once_where_it_ends_alike() -> None:
    """Of three places with one disguise the terminal shows the first and counts the others; each failure is shown."""
    seen = sweep("disguised")
    (found,) = seen.findings
    three = [msgspec.structs.replace(found, key=f"key{number}") for number in range(3)]
    text = "\n".join(lines(msgspec.structs.replace(seen, findings=tuple(three))))
    assert "[key0]" in text
    assert "and 2 findings (8 refusals at 2 sites) that end alike elsewhere" in text
    assert "[key1]" not in text
    failing = tuple(msgspec.structs.replace(one, fails=True) for one in three)
    assert "[key2]" in "\n".join(lines(msgspec.structs.replace(seen, findings=failing)))


def test_a_replay_line_lives_the_same_again(truth: Path) -> None:
    """One site by its hash: one trial, the same finding."""
    found = sweep("trailing", Plan(modes=("once",))).findings[0]
    words = found.replay.split()[2:]
    code, again = told(*words, cwd=truth)
    assert (code, again["trials"], again["tally"]) == (1, 1, {"aftershock": 1})
    assert again["findings"][0]["key"] == found.key


def test_jobs_change_nothing() -> None:
    """Two servers find what one finds, in the same order."""
    one, two = (sweep("crashing", Plan(dense=True, jobs=jobs)) for jobs in (1, 2))
    assert [(r.target, r.verdict, r.crash) for r in one.refusals] == [
        (r.target, r.verdict, r.crash) for r in two.refusals
    ]


def test_a_server_is_replaced_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one goes on where the old one was, and finds the same."""
    plan, started = Plan(modes=("once",), dense=True), list[str]()
    whole = sweep("crashing", plan)
    monkeypatch.setattr("harness.refusals.server.RENEW_EVERY", 9)
    greet = Server._greet

    def counted(server: Server, line: Line) -> list[str]:
        started.append("a server")
        return greet(server, line)

    monkeypatch.setattr(Server, "_greet", counted)
    again = sweep("crashing", plan)
    assert [(one.target, one.verdict) for one in again.refusals] == [
        (one.target, one.verdict) for one in whole.refusals
    ]
    assert len(started) == 3


def test_a_call_that_starts_threads_has_them_in_each_trial() -> None:
    """A fork lacks the worker that the first call started: each trial makes its first calls itself, and says so."""
    seen = sweep("pooled", Plan(jobs=2))
    assert (seen.tally, seen.missed) == ({"handled": 4}, 0)
    assert LATE_NOTE in seen.notes


def test_threads_that_the_call_does_not_need_change_nothing() -> None:
    """A call that ends in a fork without the idle thread of its first call is swept from its warm start."""
    seen = sweep("attended")
    assert (seen.tally, LATE_NOTE in seen.notes) == ({"handled": 4}, False)
    assert "its process has 2 threads: the trials have only the one that calls" in seen.notes


def test_a_call_that_needs_a_thread_of_its_setup_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that was there before the first call is in no fork: soon the sweep says so, and what to do."""
    monkeypatch.setattr("harness.refusals.server.RECORDING_S", 0.5)
    with pytest.raises(InfraError, match=r"in a fork of its server it did not end .* sweep it as a command"):
        sweep("pooled", call=Call("", setup="truth:pooled_before"))


def test_another_thread_may_make_the_next_call() -> None:
    """The probe after a refusal can come from a thread of its own."""
    assert sweep("careful", call=Call("", then="call-in-thread")).tally == {"handled": 4}


def test_what_counts_as_handled_can_be_said() -> None:
    """An expression over the error makes a disguise a report."""
    assert sweep("disguised", call=Call("", ok="isinstance(error, KeyError)")).tally == {"handled": 4}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "fails without a refusal: ValueError: always"),
        ("endless", "did not end within"),
        ("python_alone", "none of its|asked for nothing"),
        ("lazy", "gives a generator"),
    ],
)
def test_what_can_not_be_swept_says_why(name: str, reason: str) -> None:
    """Each is INFRA, with a line."""
    with pytest.raises(InfraError, match=reason):
        sweep(name, Plan(deadline_s=0.4))


def test_a_function_that_is_not_there_is_wrong_use() -> None:
    """The name is at fault, not the harness."""
    with pytest.raises(InvalidInputError, match=r"AttributeError: .*; did you mean 'careful'"):
        sweep("carefull")


def test_a_call_that_may_not_be_refused_is_told() -> None:
    """By number or by site; the numbers that may be are there."""
    with pytest.raises(InfraError, match=r"call 99 is none that may be refused; those are 1, 2, 3, 4, 5, 6, 7, 8, …"):
        sweep("careful", Plan(at=99))
    with pytest.raises(InfraError, match=r"there is no site abcdef among its 20 calls"):
        sweep("careful", Plan(site="abcdef"))


def test_a_library_that_is_not_there_is_named() -> None:
    """The nearest name is offered."""
    with pytest.raises(InfraError, match=r"did you mean libtruth\.so"):
        sweep("careful", Plan(rules=Rules(libraries=("libtruht",))))


def test_a_result_that_changes_can_not_be_wrong() -> None:
    """The verdict is UNKNOWN, and says why."""
    seen = sweep("unsteady")
    assert seen.verdict == "UNKNOWN"
    assert "not deterministic" in seen.reasons[0]


def test_calls_that_move_are_aimed_at_by_their_stack() -> None:
    """Where the nth call is another each time, its stack is refused, or it is said that it was not."""
    seen = sweep("wandering")
    assert any("aimed at by its stack" in note for note in seen.notes)
    assert seen.tally["handled"] >= 2
    assert seen.verdict in ("PASS", "UNKNOWN")


FAMILIES = {
    ("threading_once", "threads"): {"handled"},
    ("threading_carelessly", "threads"): {"wrong"},
    ("forking", "fork"): {"handled"},
    ("mapping", "mmap"): {"handled"},
}


@pytest.mark.parametrize(("name", "family"), FAMILIES)
def test_threads_processes_and_mappings_are_refused_too(name: str, family: str) -> None:
    """Each by the error that a system gives, and what Python says of it counts as a report."""
    assert set(sweep(name, Plan((family,))).tally) == FAMILIES[name, family]


def test_files_fail_in_each_way() -> None:
    """A write that moves fewer bytes is found by its wrong result; an error is reported, an interruption absorbed."""
    seen = sweep("writing", Plan(("files",)))
    shorts = {one.verdict for one in seen.refusals if (one.target.operation, one.target.error) == ("write", "short")}
    errors = {one.target.error for one in seen.refusals if one.verdict == "handled"}
    assert (seen.verdict, shorts) == ("FAIL", {"wrong"})
    assert errors >= {"ENOSPC", "EIO"}
    assert all(
        one.verdict == "absorbed"
        for one in seen.refusals
        if one.target.error == "EINTR" and one.target.operation == "read"
    )


def test_an_error_may_be_chosen() -> None:
    """Only what was asked for."""
    seen = sweep("writing", Plan(("files",), errors=("EIO",), modes=("once",)))
    assert {one.target.error for one in seen.refusals} == {"EIO"}


def test_processes_that_the_call_starts_are_told() -> None:
    """They are not swept, and the report says so."""
    assert any("starts a process of its own: not swept" in note for note in sweep("forking").notes)


COMMANDS = {
    "careful": ("PASS", {"handled"}),
    "silent": ("PASS", {"disguised"}),
    "abort": ("FAIL", {"abort"}),
    "hang": ("FAIL", {"hang"}),
    "wrong": ("FAIL", {"wrong"}),
    "crash": ("FAIL", {"crash"}),
    "mark": ("FAIL", {"crash"}),
    "127": ("FAIL", {"exit127"}),
}


@pytest.mark.long
@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_is_judged_by_how_it_ends(refuser: str, what: str) -> None:
    """Fresh processes: exit status, signal, output, deadline; with a mark the window is what it marks."""
    plan = Plan(deadline_s=1.5 if what == "hang" else None)
    one = subject.command([refuser, what], plan)
    seen = report(one.name, conduct.sweep(one.host(plan), plan, Tell()), command_line([]))
    verdict, tally = COMMANDS[what]
    assert (seen.verdict, set(seen.tally), seen.sites) == (verdict, tally, 1)
    if what == "hang":
        assert seen.findings[0].first.crash[0].startswith("refuser!")


def test_what_is_executed_in_place_of_a_command_is_swept(refuser: str) -> None:
    """A shell or env in front does not hide the program."""
    code, seen = told("--", "env", "A=1", refuser, "crash")
    assert (code, seen["tally"]) == (1, {"crash": 2})
    assert seen["findings"][0]["refused"][0] == "refuser!main"


@pytest.mark.usefixtures("truth")
def test_a_library_that_is_opened_opens_the_window(refuser: str) -> None:
    """Nothing from before it is refused, the loader finds it as ever, and what it asks for crashes where it should."""
    words = ("--window", "dlopen:libtruth", "--in", "libtruth", "--mode", "once")
    code, seen = told(*words, "--", refuser, "opens", "libtruth.so")
    assert (code, seen["tally"], seen["sites"]) == (1, {"crash": 1}, 1)
    assert seen["findings"][0]["refused"][:2] == ["libtruth.so!jumping", "refuser!open_library"]


def test_a_shell_in_front_does_not_hide_a_crash(refuser: str) -> None:
    """What the command makes of the death of the swept process is not what became of the refusal."""
    code, seen = told("--mode", "once", "--", "sh", "-c", f"{refuser} mark; true")
    assert (code, seen["tally"]) == (1, {"crash": 1})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("false",), "fails without a refusal: exited 1"),
        (("--window", "dlopen:libtruht", "--", "true"), "nobody opened a library called like libtruht"),
        (("--window", "mark", "--", "true"), "the mark never came"),
    ],
)
def test_a_command_that_can_not_be_swept_says_why(words: tuple[str, ...], reason: str) -> None:
    """Exit code 3, and one object of the usual shape."""
    code, seen = told(*(words if "--" in words else ("--", *words)))
    assert (code, seen["verdict"], seen["findings"], seen["trials"]) == (3, "INFRA", [], 0)
    assert reason in seen["reasons"][0]


def test_a_static_program_says_so(compile_program: Callable[..., str]) -> None:
    """Nothing can be preloaded there."""
    code, seen = told("--", compile_program("refuser.c", "static-refuser", "-static"))
    assert code == 3
    assert "static" in seen["reasons"][0]


def test_the_object_has_its_members(truth: Path) -> None:
    """The names that other tools read, and none of another type."""
    code, seen = told("truth:crashing", cwd=truth)
    assert (code, seen["verdict"], seen["sites"], seen["trials"]) == (1, "FAIL", 20, 40)
    (found,) = seen["findings"]
    assert found["again"] == [3, 3]
    asked = ("verdict", "signal", "address_class", "crash", "refused", "count", "dialects", "replay")
    assert [type(found[name]).__name__ for name in asked] == ["str", "str", "str", "list", "list", "int", "dict", "str"]
    assert all(set(one) == {"code", "decision"} for one in found["dialects"].values())


@pytest.mark.long
def test_gdb_sees_the_same(truth: Path) -> None:
    """In a process of its own: the function that crashed is its innermost frame too."""
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")
    done = command("--mode", "once", "--at", "1", "--gdb", "truth:jumping", cwd=truth)
    assert done.returncode == 1
    assert "signal 11, code 1, address (nil)" in done.stdout
    assert re.search(r"^#1 .* in jumping ", done.stdout, re.MULTILINE)


@pytest.mark.long
def test_what_is_known_does_not_fail(truth: Path, tmp_path: Path) -> None:
    """Accepted with a reason it passes; a new one fails; one that is gone is told."""
    file = tmp_path / "known.toml"
    words = ("--mode", "once", "--baseline", str(file))
    assert command(*words, "truth:jumping", cwd=truth).returncode == 2
    accepted = command(*words, "--accept", "all", "--because", "since 1.0", "truth:jumping", cwd=truth)
    assert (accepted.returncode, tomllib.loads(file.read_text())["finding"][0]["because"]) == (0, "since 1.0")
    code, seen = told(*words, "truth:jumping", cwd=truth)
    assert (code, seen["findings"][0]["accepted"]) == (0, "since 1.0")
    file.write_text(file.read_text().replace(seen["findings"][0]["key"], "0123456789"))
    code, seen = told(*words, "truth:jumping", cwd=truth)
    assert code == 1
    assert any("delete this line: 0123456789" in note for note in seen["notes"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version = 2", "version"),
        ('[[finding]]\nkey = "a"', "subject"),
        ('[[finding]]\nkey = "a"\nsubject = "b"\nverdict = "crash"\nbecause = ""', "because"),
        ("known = 1", "known"),
    ],
)
def test_a_broken_baseline_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    """File and key."""
    file = tmp_path / "known.toml"
    file.write_text(text)
    with pytest.raises(InvalidInputError, match=f"known.toml: .*{reason}"):
        known.load(file, may_be_new=True)


def test_python_sweeps_a_function_with_its_arguments() -> None:
    """harness.call gives them; the report says what the command line says."""
    function = importlib.import_module("truth").adding
    seen = harness.sweep(harness.call(function, 3, more=1), mode="once", libraries=["libtruth"])
    assert (seen.verdict, seen.tally) == ("PASS", {"handled": 2})


def test_python_judges_by_its_own_functions() -> None:
    """`then` finds damage that the next call does not show, `equal` decides what is right."""
    module = importlib.import_module("truth")
    assert harness.sweep(module.careful, mode="once", then=module.broken).tally == {"damaged": 2}
    assert harness.sweep(module.wrong, mode="once", equal=module.near).tally == {"absorbed": 1}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"librarys": ["x"]}, "did you mean 'libraries'"),
        ({"mode": "onse"}, "did you mean 'once'"),
        ({"refuse": ["file", "memroy"]}, "did you mean 'memory'"),
        ({"jobs": 0}, "jobs"),
        ({"deadline_s": float("nan")}, "deadline"),
        ({"site": "xyz"}, "HASH"),
        ({"then": "twice"}, "call-in-thread"),
    ],
)
def test_a_mistake_is_named(words: dict[str, Any], reason: str) -> None:
    """Where it stands, and what is near."""
    with pytest.raises(InvalidInputError, match=reason):
        harness.sweep(importlib.import_module("truth").careful, **words)


def test_a_window_marks_what_a_program_does(tmp_path: Path, truth: Path) -> None:
    """Of a Python program only what harness.window encloses is swept."""
    program = tmp_path / "program.py"
    lines = [f"import sys; sys.path.insert(0, {str(truth)!r})", "import harness, truth", "truth.leaky()"]
    program.write_text("\n".join([*lines, "with harness.window(): truth.frugal()", "truth.leaky()"]))
    code, seen = told("--in", "libtruth", "--", sys.executable, str(program))
    assert (code, seen["tally"], seen["sites"], seen["reasons"]) == (0, {"absorbed": 2}, 1, [])


@pytest.mark.long
def test_a_history_goes_on_where_it_was_ended(truth: Path, tmp_path: Path) -> None:
    """What was refused is not refused again, and the whole is as if it had never been ended."""
    file = tmp_path / "sweep.sqlite"
    asked = ("--mode", "once", "--dense", "--history", str(file), "truth:careful")
    code, first = told("--time", "0.001", *asked, cwd=truth)
    assert (code, first["verdict"]) == (4, "UNKNOWN")
    code, rest = told("--resume", str(file), cwd=truth)
    assert (code, rest["tally"], rest["trials"]) == (0, {"handled": 20}, 20)
    with read(file) as reading:
        kept = list(reading.bodies(Kind.TRIALS, Kept))
    assert [event.number for event, _ in kept] == list(range(1, 21))
    assert told("--resume", str(file), "truth:careful", cwd=truth)[1]["tally"] == rest["tally"]


@pytest.mark.parametrize(
    ("frame", "module"), [("libx.so.1!f", "libx.so.1"), ("libx.so+0x1f", "libx.so"), ("a+0x1b.so+0x2!", "a+0x1b.so")]
)
def test_the_module_of_a_written_frame(frame: str, module: str) -> None:
    """It is what stands before the function, or before the last offset."""
    assert module_of(frame) == module


def reported(history: str) -> int:
    """Exit code of a report of a history."""
    return CliRunner().invoke(program, ["report", history]).exit_code


def test_a_sweep_that_could_not_be_done_is_tried_again(truth: Path, tmp_path: Path) -> None:
    """INFRA is reported as long as there is no other answer, and --resume sweeps once more."""
    kept, missing = str(tmp_path / "sweep.sqlite"), tmp_path / "there"
    lines = [f"import sys; sys.path.insert(0, {str(truth)!r})", "import truth"]
    (tmp_path / "later.py").write_text("\n".join([*lines, f"def call(): open({str(missing)!r}); truth.careful()"]))
    assert told("--mode", "once", "--in", "libtruth", "--history", kept, "later:call", cwd=tmp_path)[0] == 3
    assert reported(kept) == 3
    missing.touch()
    assert told("--resume", kept, cwd=tmp_path)[1]["verdict"] == "PASS"
    assert reported(kept) == 0


@pytest.mark.slow
def test_a_sweep_that_was_decided_is_judged_by_the_terms_of_now(truth: Path, tmp_path: Path) -> None:
    """--strict, --baseline and --accept beside --resume are not passed over, and nothing is refused again."""
    kept, book = (str(tmp_path / name) for name in ("sweep.sqlite", "known.toml"))
    assert told("--mode", "once", "--history", kept, "truth:jumping", cwd=truth)[0] == 1
    assert told("--resume", kept, cwd=truth)[0] == 1
    accepted = told("--resume", kept, "--baseline", book, "--accept", "all", "--because", "since 1.0", cwd=truth)
    assert (accepted[0], accepted[1]["findings"][0]["accepted"]) == (0, "since 1.0")
    assert told("--resume", kept, "--baseline", book, cwd=truth)[0] == 0
    with read(Path(kept)) as reading:
        assert len(list(reading.events(Kind.OPENED))) == 1


def test_terms_change_what_a_report_says() -> None:
    """Judged once more by other terms, its findings fail or not, its doubts stay, and what was INFRA stays so."""
    (finding,) = sweep("jumping").findings
    doubtful = msgspec.structs.replace(sweep("jumping"), reasons=("1 of 1 findings fail", "it was interrupted"))
    excused = judged(doubtful, lambda one: "known" if one.key == finding.key else "", strict=False)
    assert (excused.verdict, excused.reasons) == ("UNKNOWN", ("it was interrupted",))
    again = judged(excused, lambda _: "", strict=False)
    assert (again.verdict, again.reasons) == ("FAIL", doubtful.reasons)
    broken = infra("x", InfraError("no gdb"))
    assert judged(broken, lambda _: "", strict=True) is broken


def test_reports_go_to_files(truth: Path, tmp_path: Path) -> None:
    """JUnit has a case for each finding and one for the sweep; HTML and Markdown have the stacks."""
    files = {name: tmp_path / f"sweep.{name}" for name in ("junit", "html", "markdown")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert command("--mode", "once", *options, "truth:jumping", cwd=truth).returncode == 1
    suite = ET.parse(files["junit"]).getroot()  # noqa: S314 -- our own file
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    for name in ("html", "markdown"):
        text = files[name].read_text()
        assert "libtruth.so!jumping" in text
        assert "malloc does fail" in text


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(truth: Path, number: signal.Signals) -> None:
    """Ctrl-C tells what was seen so far; after it, and after SIGKILL, no process is there any more."""
    line = [sys.executable, "-m", "harness", "sweep", "--json", "--deadline", "600", "truth:hanging"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=truth) as running:
        try:
            below = psutil.Process(running.pid)
            wait_until(lambda: [one for one in below.children(recursive=True) if is_swept(one)][1:])
            started = below.children(recursive=True)
            running.send_signal(number)
            out, _ = running.communicate(timeout=60)
        finally:
            running.kill()  # or a test that fails waits for it
    assert psutil.wait_procs(started, timeout=30)[1] == []
    if number is signal.SIGINT:
        assert running.returncode == 130
        assert json.loads(out)["interrupted"] is True


def is_swept(process: psutil.Process) -> bool:
    """Whether it is the server of a sweep or a trial; one that has just ended is neither."""
    try:
        return any("swept.py" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def wait_until(seen: Callable[[], object]) -> None:
    """Look until there is something."""
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end
