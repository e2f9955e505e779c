"""A user's own suite under `pytest --crash-guard`: real crashes, each in a pytest of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import hypothesis
import pytest
from hypothesis.internal.conjecture.data import ConjectureData

from harness.cli.many import crashed_tests
from harness.engine.durable import PYTEST, steps
from harness.evidence import EndedBy
from harness.exceptions import InvalidInputError
from harness.journal import History, job_of, read
from harness.pytest_guard.death import native
from harness.pytest_guard.shrinking import isolated_examples, why_not

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.slow

CRASH = """
import ctypes, os, signal, threading, time
import pytest

def crash():
    ctypes.string_at(8)
"""
Run = Callable[..., pytest.RunResult]


def outcomes(done: pytest.RunResult) -> dict[str, int]:
    """Count outcomes; an editable install of ours adds a warning that is none of the suite's."""
    return {name: count for name, count in done.parseoutcomes().items() if name not in {"warning", "warnings"}}


@pytest.fixture
def guarded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write a module of tests, and run it under the guard."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(text: str, *words: str, guard: str = "--crash-guard") -> pytest.RunResult:
        pytester.makepyfile(test_user=CRASH + text)
        return pytester.runpytest_subprocess(*([guard] if guard else []), *words)

    return run


@pytest.mark.long
def test_a_crash_is_one_failure_and_the_rest_runs(guarded: Run) -> None:
    """Before and after it tests pass; the failure names signal, address, thread, Python line and what was printed."""
    done = guarded("""
def test_before(): pass
def test_dies():
    print("from Python")
    library = ctypes.CDLL(None)
    library.puts(b"from C")
    crash()
def test_after(): pass
""")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines([
        "*NativeCrash: SIGSEGV SEGV_MAPERR null in *",
        "*SEGV_MAPERR at 0x8 in * (null), in thread *, the main thread",
        "*test_user.py:* in crash",
        "*test_user.py:* in test_dies",
        "*Captured stdout call*",
        "from Python",
        "from C",
        "FAILED test_user.py::test_dies - NativeCrash: SIGSEGV SEGV_MAPERR null in *",
    ])  # fmt: skip
    done.stdout.no_fnmatch_line("*/_pytest/python.py*")


@pytest.mark.long
def test_each_way_to_die_is_blamed_on_its_test_and_phase(guarded: Run) -> None:
    """Signals, exits, threads; in setup, call and teardown. An exit with status 0 is no success."""
    done = guarded(
        """
@pytest.fixture
def dies_before(): crash()
@pytest.fixture
def dies_after():
    yield
    crash()
def test_abort(): os.abort()
def test_kill(): os.kill(os.getpid(), signal.SIGKILL)
def test_exit_0(): os._exit(0)
def test_exit_3(): os._exit(3)
def test_thread():
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
def test_setup(dies_before): pass
def test_teardown(dies_after): pass
class TestClass:
    def test_fine(self): pass
""",
        "-rA",
    )
    done.assert_outcomes(passed=2, failed=5, errors=2)
    done.stdout.fnmatch_lines_random([
        "FAILED *test_abort - NativeCrash: SIGABRT*",
        "FAILED *test_kill - NativeCrash: SIGKILL*",
        "FAILED *test_exit_0 - NativeCrash: the process left with exit status 0",
        "FAILED *test_exit_3 - NativeCrash: the process left with exit status 3",
        "FAILED *test_thread - NativeCrash: SIGSEGV*",
        "ERROR *test_setup - NativeCrash: SIGSEGV*",
        "ERROR *test_teardown - NativeCrash: SIGSEGV*",
        "*not the main thread",
    ])  # fmt: skip


@pytest.mark.long
def test_a_module_that_kills_its_importer_is_a_collection_error(pytester: pytest.Pytester, guarded: Run) -> None:
    """Of that module; the others run."""
    pytester.makepyfile(test_poison=CRASH + "crash()\ndef test_never(): pass")
    done = guarded("def test_fine(): pass", "--continue-on-collection-errors")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*importing this module ended a process: SIGSEGV*", "ERROR test_poison.py"])


@pytest.mark.long
def test_a_crash_at_exit_is_an_error_of_its_own(guarded: Run) -> None:
    """After the last test; --crash-at-exit says what it is worth."""
    text = "import atexit\ndef test_fine(): atexit.register(crash)"
    done = guarded(text)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["ERROR test_user.py::process exit - NativeCrash: SIGSEGV*"])
    warned = guarded(text, "--crash-at-exit=warn")
    warned.assert_outcomes(passed=1)
    warned.stdout.fnmatch_lines(["*PytestWarning: SIGSEGV*in process exit, after test_user.py::test_fine*"])
    guarded(text, "--crash-at-exit=ignore").assert_outcomes(passed=1)


@pytest.mark.long
def test_an_expected_crash_passes(guarded: Run) -> None:
    """A mark xfail takes a crash as it takes an exception, `expect` demands one."""
    done = guarded("""
import harness
@pytest.mark.xfail
def test_any(): crash()
@pytest.mark.xfail(raises=harness.NativeCrash)
def test_named(): crash()
@pytest.mark.xfail(raises=ValueError)
def test_other(): crash()
@pytest.mark.crash(expect="SIGSEGV")
def test_expected(): crash()
@pytest.mark.crash(expect="SIGABRT")
def test_other_signal(): crash()
@pytest.mark.crash(expect="SIGSEGV")
def test_lives(): pass
""")
    done.assert_outcomes(xfailed=2, failed=3, passed=1)
    done.stdout.fnmatch_lines(["FAILED *test_lives - SIGSEGV was expected, and the process lives"])


FLAKY = """
def test_flaky(tmp_path_factory):
    count = tmp_path_factory.getbasetemp() / "count"
    lives = int(count.read_text()) if count.exists() else 0
    count.write_text(str(lives + 1))
    if lives < 2:
        crash()
def test_exception():
    assert 0
def test_always():
    crash()
"""


@pytest.mark.long
def test_crashes_are_retried_and_stay_visible(pytester: pytest.Pytester, guarded: Run) -> None:
    """A test that passes at last is FLAKY in the terminal and in JUnit; exceptions are not retried."""
    done = guarded(FLAKY, "--crash-retries=2", "--junitxml=out.xml")
    assert outcomes(done) == {"passed": 1, "failed": 2, "rerun": 4}
    done.stdout.fnmatch_lines(["FLAKY test_user.py::test_flaky", "*attempt 1*SIGSEGV*", "*attempt 2*"])
    tree = ET.parse(pytester.path / "out.xml")  # noqa: S314 -- our own
    counts = {case.get("name"): [child.tag for child in case] for case in tree.iter("testcase")}
    assert counts["test_flaky"] == ["flakyFailure"] * 2
    assert sorted(counts["test_always"]) == ["failure", "rerunFailure", "rerunFailure"]
    assert guarded(FLAKY, "--crash-retries=2", "--crash-flaky=fail").parseoutcomes()["failed"] == 3


@pytest.mark.long
def test_a_dialect_and_a_policy_decide(pytester: pytest.Pytester, guarded: Run) -> None:
    """The dialect from before upstream's fix never retries a SIGSEGV; a policy file says how often."""
    assert "rerun" not in guarded(FLAKY, "--crash-retries=2", "--crash-dialect=upstream-4.4").parseoutcomes()
    (pytester.path / "policy.toml").write_text("max_attempts = 2\n[retry]\nmaxAttempts = 2\n")
    assert guarded(FLAKY, "--crash-policy=policy.toml").parseoutcomes()["rerun"] == 2


@pytest.mark.long
def test_a_hang_is_ended_from_outside(guarded: Run) -> None:
    """However deep in C; the stack says where, and it is never retried."""
    done = guarded(
        """
def test_hangs(): ctypes.CDLL(None).pause()
def test_fine(): pass
""",
        "--crash-deadline=1",
        "--crash-retries=3",
    )
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*NativeCrash: took longer than 1 s", "*test_user.py:* in test_hangs"])


@pytest.mark.long
def test_a_time_out_is_retried_where_that_is_asked_for(pytester: pytest.Pytester, guarded: Run) -> None:
    """By --crash-retry-on=deadline, and by no number of retries alone; a history has the time-out as its evidence."""
    text = """
def test_hangs(tmp_path_factory):
    mark = tmp_path_factory.getbasetemp() / "mark"
    if not mark.exists():
        mark.touch()
        ctypes.CDLL(None).pause()
"""
    asked = ("--crash-deadline=1", "--crash-retries=1")
    done = guarded(text, *asked, "--crash-retry-on=deadline,exceptions", "--crash-history=h.db")
    assert outcomes(done) == {"passed": 1, "rerun": 1}
    with read(pytester.path / "h.db") as reading:
        (first, second) = (step.attempt.evidence for step in steps(reading, "test_user.py::test_hangs") if step.attempt)
    assert (first.ended_by, first.deadline_s, second.ended_by) == (EndedBy.DEADLINE, 1, EndedBy.SELF)
    assert outcomes(guarded(text, *asked, "--crash-retry-on=exceptions")) == {"failed": 1}


@pytest.mark.long
def test_a_confirmed_crash_names_who_makes_it(guarded: Run) -> None:
    """Alone; or only after others, and then after which of them; or only now and then."""
    done = guarded(
        """
STATE = []
def test_0(): pass
def test_1(): pass
def test_2(): STATE.append(2)
def test_3(): pass
def test_4(): STATE.append(4)
def test_5(): pass
def test_victim(): crash() if sum(STATE) == 6 else None
def test_6(): pass
def test_alone(): crash()
def test_once(tmp_path_factory):
    mark = tmp_path_factory.getbasetemp() / "mark"
    if not mark.exists():
        mark.touch()
        crash()
""",
        "--crash-confirm",
    )
    done.assert_outcomes(passed=7, failed=3)
    done.stdout.fnmatch_lines([
        "*it passed alone, and crashes only after others: test_user.py::test_2, test_user.py::test_4",
        "*it crashes alone too",
        "*it crashes alone: nothing had run before it in its process",
    ])  # fmt: skip


@pytest.mark.long
def test_a_crash_that_another_test_may_have_made_is_confirmed_unasked(guarded: Run) -> None:
    """A thread of an earlier test is; never if that is asked for."""
    text = """
def test_starts():
    threading.Timer(0.3, crash).start()
def test_runs():
    time.sleep(1)
"""
    done = guarded(text)
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*crashes only after others: test_user.py::test_starts*"])
    never = guarded(text, "--crash-confirm=never")
    never.assert_outcomes(passed=1, failed=1)
    never.stdout.no_fnmatch_line("*only after others*")


@pytest.mark.long
def test_a_memory_limit_grows_with_the_retry(guarded: Run) -> None:
    """What is out of memory is tried again with the next size, twice as much."""
    done = guarded(
        """
def test_hungry():
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    ctypes.memset(library.malloc(ctypes.c_size_t(400 << 20)), 1, 400 << 20)
""",
        "--crash-memory=300MiB",
        "--crash-retries=1",
    )
    assert outcomes(done) == {"passed": 1, "rerun": 1}


@pytest.mark.long
def test_it_works_inside_xdist_workers(guarded: Run) -> None:
    """No worker dies, nothing is lost, and what is flaky is told where results are shown."""
    text = FLAKY + "".join(f"def test_{number}(): crash() if {number} % 3 == 0 else None\n" for number in range(9))
    for dist in ("load", "loadscope", "loadgroup"):
        done = guarded(text, "-n2", f"--dist={dist}", "--crash-retries=2")
        counts = done.parseoutcomes()
        assert (counts["passed"], counts["failed"]) == (7, 5)
        done.stdout.fnmatch_lines(["FLAKY test_user.py::test_flaky"])
        done.stdout.no_fnmatch_line("*worker*crashed*")


@pytest.mark.long
def test_a_mark_alone_guards_its_test(guarded: Run) -> None:
    """Without the flag; the others run in pytest's own process."""
    done = guarded(
        """
PARENT = os.getppid()
@pytest.mark.crash(scope="session")
def test_dies(): crash()
@pytest.mark.crash(retries=1, scope="test")
def test_other(): crash()
def test_fine(): assert os.getppid() == PARENT
""",
        guard="",
    )
    assert outcomes(done) == {"passed": 1, "failed": 2, "rerun": 1}


OWN = """
@pytest.mark.crash{words}
def test_own(request):
    assert not hasattr(request.config, "workerinput")
"""


@pytest.mark.parametrize(
    ("words", "registered"),
    [("", ""), ("('on Mondays')", ""), ("(reason='x')", ""), ("(scope='test')", "crash: our own, of car accidents")],
)
def test_a_mark_of_the_projects_own_turns_nothing_on(guarded: Run, words: str, registered: str) -> None:
    """Nor does a bare one, which may be the project's: without the flag, only words of ours do."""
    asked = ("-o", f"markers={registered}") if registered else ()
    guarded(OWN.format(words=words), *asked, guard="").assert_outcomes(passed=1)


@pytest.mark.long
def test_a_mark_of_the_projects_own_is_no_mistake(guarded: Run) -> None:
    """Under the guard it is left alone, where the project has registered it; one that reads as ours is heard."""
    text = """
@pytest.mark.crash("on Mondays")
def test_own(): pass
@pytest.mark.crash(expect="SIGSEGV")
def test_ours(): crash()
"""
    guarded(text, "-o", "markers=crash: our own").assert_outcomes(passed=2)


@pytest.mark.long
def test_marked_guards_every_marked_test(guarded: Run) -> None:
    """By the flag or the ini key, bare marks too; the others run in pytest's own process."""
    text = """
@pytest.mark.crash
def test_dies(): crash()
def test_fine(request): assert not hasattr(request.config, "workerinput")
"""
    guarded(text, guard="--crash-guard=marked").assert_outcomes(passed=1, failed=1)
    guarded(text, "-o", "crash_guard=marked", guard="").assert_outcomes(passed=1, failed=1)


@pytest.mark.long
def test_guard_false_runs_in_pytests_own_process(guarded: Run) -> None:
    """Its process is the one that imported the module."""
    done = guarded("""
import sys
@pytest.mark.crash(guard=False)
def test_here(request): assert not hasattr(request.config, "workerinput")
def test_there(request): assert hasattr(request.config, "workerinput")
""")
    done.assert_outcomes(passed=2)


SCOPES = """
import pytest, os
@pytest.fixture(scope="session", autouse=True)
def once(tmp_path_factory):
    log = tmp_path_factory.getbasetemp() / ".." / "log"
    with log.open("a") as file:
        file.write(f"{os.getpid()} up\\n")
    yield
    with log.open("a") as file:
        file.write("down\\n")
"""


@pytest.mark.long
@pytest.mark.parametrize(("scope", "processes"), [("session", 1), ("module", 2), ("test", 4)])
def test_a_scope_is_where_a_fresh_process_begins(pytester: pytest.Pytester, scope: str, processes: int) -> None:
    """Session fixtures are set up once in each, and torn down."""
    pytester.makeconftest(SCOPES)
    for name in ("test_one", "test_two"):
        pytester.makepyfile(**{name: "def test_a(): pass\ndef test_b(): pass"})
    base = pytester.path / "base" / "inner"
    base.parent.mkdir()
    pytester.runpytest_subprocess(f"--crash-guard={scope}", f"--basetemp={base}").assert_outcomes(passed=4)
    log = (base.parent / "log").read_text().splitlines()
    assert [log.count("down"), len(log)] == [processes, 2 * processes]


FORKED = """
@pytest.fixture(scope="module")
def shared(once):
    print("set up once")
    with open("log", "a") as file: file.write("module up\\n")
    yield
    with open("log", "a") as file: file.write("module down\\n")
@pytest.fixture
def dies_after():
    yield
    crash()
@pytest.fixture(scope="session")
def own():
    yield
    with open("log", "a") as file: file.write("own down\\n")
@pytest.fixture(scope="module")
def broken(): raise ValueError("not to be set up")
class TestClass:
    @classmethod
    def setup_class(cls): cls.state = 1
    def test_a(self, shared): self.__class__.state = 2
    def test_b(self, shared):
        assert self.state == 1
        library = ctypes.CDLL(None)
        library.puts(b"from C")
        crash()
    def test_c(self, shared): pass
def test_exit_0(): os._exit(0)
def test_teardown(dies_after): pass
def test_broken(broken): pass
def test_hangs(): ctypes.CDLL(None).pause()
def test_fails(shared): assert 0
def test_first_user(request): request.getfixturevalue("own")
def test_its_end_fails(request):
    request.session.addfinalizer(lambda: 1 / 0)
    request.getfixturevalue("own")
def test_forks():
    if os.fork(): os.wait()
"""


@pytest.mark.long
def test_a_fork_for_each_test_shares_the_wider_fixtures(pytester: pytest.Pytester, guarded: Run) -> None:
    """They are set up once in spite of crashes, and torn down; what a test changes in memory no other sees.

    A shared fixture that only a running test asks for ends with the fork of that test.
    """
    pytester.makeconftest(SCOPES)
    base = pytester.path / "base" / "inner"
    base.parent.mkdir()
    done = guarded(FORKED, f"--basetemp={base}", "--crash-deadline=3", guard="--crash-guard=fork")
    done.assert_outcomes(passed=6, failed=4, errors=3)
    done.stdout.fnmatch_lines([
        "*ERROR at teardown of test_teardown*",
        "*ERROR at setup of test_broken*",
        "E   ValueError: not to be set up",
        "*ERROR at teardown of test_its_end_fails*",
        "E   ZeroDivisionError: *",
        "*TestClass.test_b*",
        "*NativeCrash: SIGSEGV SEGV_MAPERR null in *",
        "*the main thread",
        "*test_user.py:* in test_b",
        "from C",
        "*left with exit status 0",
        "*took longer than 3 s",
        "*test_user.py:* in test_hangs",
    ])  # fmt: skip
    assert (pytester.path / "log").read_text().splitlines() == ["module up", "own down", "own down", "module down"]
    log = (base.parent / "log").read_text().splitlines()
    assert [log.count("down"), len(log)] == [1, 2]


CLASS_SCOPED = """
@pytest.fixture(scope="class")
def own(request):
    with open("log", "a") as file: file.write(f"{request.cls and request.cls.__name__} up\\n")
    yield
    with open("log", "a") as file: file.write(f"{request.cls and request.cls.__name__} down\\n")
def test_alone(own): pass
class TestOne:
    def test_a(self, own): pass
    def test_b(self, own): pass
"""


@pytest.mark.long
def test_a_fixture_of_a_class_is_a_functions_own_outside_of_one(pytester: pytest.Pytester, guarded: Run) -> None:
    """As in plain pytest: what a function has had of it is not what the class behind it has."""
    guarded(CLASS_SCOPED, guard="--crash-guard=fork").assert_outcomes(passed=3)
    log = (pytester.path / "log").read_text().splitlines()
    assert log == ["None up", "None down", "TestOne up", "TestOne down"]


@pytest.mark.long
def test_after_a_crash_fixtures_are_set_up_again(pytester: pytest.Pytester, guarded: Run) -> None:
    """Once for the rest, and not once a test."""
    pytester.makeconftest(SCOPES)
    base = pytester.path / "base" / "inner"
    base.parent.mkdir()
    done = guarded(
        "def test_a(): pass\ndef test_b(): crash()\ndef test_c(): pass\ndef test_d(): pass", f"--basetemp={base}"
    )
    done.assert_outcomes(passed=3, failed=1)
    log = (base.parent / "log").read_text().splitlines()
    assert [log.count("down"), len(log)] == [1, 3]


@pytest.mark.long
def test_a_test_may_have_its_process_replaced(guarded: Run) -> None:
    """By request.config.crash_guard.discard(); without the guard that does nothing."""
    text = """
STATE = []
def test_poisons(request):
    STATE.append(1)
    request.config.crash_guard.discard("sticky error")
def test_clean(): assert STATE == EXPECTED
"""
    guarded("EXPECTED = []" + text).assert_outcomes(passed=2)
    guarded("EXPECTED = [1]" + text, guard="").assert_outcomes(passed=2)


@pytest.mark.long
def test_options_that_choose_and_stop_work(guarded: Run) -> None:
    """-x, --maxfail, --lf, -k, node ids; a path after the bare flag is a path."""
    text = "def test_a(): crash()\ndef test_b(): pass\ndef test_c(): crash()\ndef test_d(): pass"
    guarded(text, "test_user.py", "-x").assert_outcomes(failed=1)
    guarded(text, "--maxfail=2").assert_outcomes(failed=2, passed=1)
    cache = ("-p", "cacheprovider")
    guarded(text, *cache).assert_outcomes(failed=2, passed=2)
    guarded(text, *cache, "--lf").assert_outcomes(failed=2)
    guarded(text, "-k", "test_b or test_c").assert_outcomes(failed=1, passed=1, deselected=2)
    guarded(text, "test_user.py::test_d").assert_outcomes(passed=1)


@pytest.mark.long
def test_a_session_that_a_test_ends_has_ended(guarded: Run) -> None:
    """pytest.exit(), Ctrl-C in a test, session.shouldstop."""
    done = guarded("def test_a(): pytest.exit('enough', 7)\ndef test_b(): pass")
    assert done.ret == 7
    done.stdout.fnmatch_lines(["*enough*"])
    assert guarded("def test_a(): raise KeyboardInterrupt\ndef test_b(): pass").ret == pytest.ExitCode.INTERRUPTED
    stopped = guarded("def test_a(request): request.session.shouldstop = 'so'\ndef test_b(): pass")
    stopped.assert_outcomes(passed=1)
    stopped.stdout.fnmatch_lines(["*Interrupted: so*"])


@pytest.mark.long
@pytest.mark.parametrize("option", ["--pdb", "--trace", "--collect-only"])
def test_what_needs_the_terminal_turns_it_off(guarded: Run, option: str) -> None:
    """With one line that says why."""
    done = guarded("def test_a(): pass", option)
    done.stdout.fnmatch_lines(["crash-guard is off: *"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--crash-guard=sesion",), "*--crash-guard*sesion*"),
        (("--crash-guard", "--crash-retries=-1"), "*crash_retries: expected a whole number of retries*"),
        (("--crash-guard", "--crash-memory=lots"), "*crash_memory: 'lots' is no size*"),
        (("--crash-guard", "--crash-deadline=soon"), "*crash_deadline: expected a number of seconds*"),
        (("--crash-guard", "--crash-flaky=maybe"), "*crash_flaky: expected one of pass, fail*"),
        (("--crash-guard", "--crash-policy=no.toml"), "*no.toml: No such file*"),
        (("-o", "crash_guard=modul"), "*crash_guard: *did you mean 'module'*"),
    ],
)
def test_a_wrong_option_is_one_line(guarded: Run, words: tuple[str, ...], told: str) -> None:
    """Before anything runs."""
    done = guarded("def test_a(): pass", *words, guard="")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([told])


@pytest.mark.long
@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ("scop='test'", "*there is no 'scop'*did you mean 'scope'*"),
        ("deadline=-1", "*deadline=*"),
        ("'test'", "*takes words*"),
        ("expect='segv'", "*the name of a signal*"),
    ],
)
def test_a_wrong_mark_names_its_test(guarded: Run, mark: str, told: str) -> None:
    """Before anything runs."""
    done = guarded(f"@pytest.mark.crash({mark})\ndef test_a(): pass")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*test_a*{told}"])


@pytest.mark.long
def test_ids_that_differ_between_processes_are_told(guarded: Run) -> None:
    """As an error of each such test, with what to do."""
    done = guarded(
        """
@pytest.mark.parametrize("a", [object()], ids=lambda one: str(time.time_ns()))
def test_a(a): pass
def test_b(): pass
"""
    )
    done.assert_outcomes(errors=1, passed=1)
    done.stdout.fnmatch_lines(["*did not collect this test*ids=*"])


@pytest.mark.long
def test_a_guard_that_can_not_start_says_so_once(pytester: pytest.Pytester, guarded: Run) -> None:
    """Exit status 3, and no error a test."""
    pytester.makeconftest(
        """
        def pytest_configure(config):
            if "crash_guard" in getattr(config, "workerinput", {}):
                config.workerinput["of_a_controller"]
        """
    )
    done = guarded("def test_a(): pass\ndef test_b(): pass")
    assert done.ret == 3
    done.stdout.fnmatch_lines([
        "*crash-guard: no guarded process comes up*",
        "*a plugin asks for workerinput[[]'of_a_controller'], which*-p no:*",
        "*KeyError: 'of_a_controller'*",
    ])  # fmt: skip
    under_xdist = guarded("def test_a(): pass", "-n1")
    assert under_xdist.ret == 3
    under_xdist.stderr.fnmatch_lines(["*crash-guard: no guarded process comes up*", "*KeyError: 'of_a_controller'*"])


@pytest.mark.slow
def test_a_suite_that_ignores_its_children_loses_no_crash(guarded: Run, pytester: pytest.Pytester) -> None:
    """A fork for each test is waited for all the same, and SIGCHLD is as the suite has it in its tests."""
    pytester.makeconftest("import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    text = "import signal\ndef test_it(): assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN\n"
    done = guarded(text + "def test_dies(): crash()", guard="--crash-guard=fork")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["FAILED test_user.py::test_dies - NativeCrash: SIGSEGV *"])


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["session", "fork"])
def test_a_call_that_a_test_isolates_crashes_as_it_does_without_us(guarded: Run, scope: str) -> None:
    """Its process is a fork of a process that is guarded, or of a fork of one."""
    text = (
        "import harness, pytest\ndef test_it():\n    with pytest.raises(harness.NativeCrash): harness.isolated(crash)()"
    )
    guarded(text, "--crash-deadline=60", guard=f"--crash-guard={scope}").assert_outcomes(passed=1)


@pytest.mark.long
def test_nothing_of_a_lost_fork_is_heard(guarded: Run) -> None:
    """A test that forks and lets the copy run on has one result."""
    done = guarded("def test_a():\n    if os.fork(): os.wait()\ndef test_b(): pass", "--crash-deadline=60")
    done.assert_outcomes(passed=2)


@pytest.mark.long
def test_closing_all_descriptors_is_one_failure(guarded: Run) -> None:
    """The harness's own way out is among them."""
    done = guarded("def test_a(): os.closerange(3, 4096)\ndef test_b(): pass")
    done.assert_outcomes(failed=1, passed=1)


@pytest.mark.long
def test_a_failed_doctest_is_told_as_ever(pytester: pytest.Pytester) -> None:
    """All that pytest shows of it, the summary included, is the same without the guard and with it."""
    pytester.makefile(".txt", test_doc=">>> 1 + 1\n3\n")
    told = []
    for words in ((), ("--crash-guard",)):
        shown = pytester.runpytest_subprocess(*words).outlines
        failures = next(number for number, line in enumerate(shown) if "= FAILURES =" in line)
        told.append([line for line in shown[failures:] if "warning" not in line.lower() and " in " not in line])
    assert told[0] == told[1]
    assert "FAILED test_doc.txt::test_doc.txt" in told[1]


@pytest.mark.long
def test_failed_subtests_are_told_as_ever(guarded: Run) -> None:
    """Of the fixture, where they fail their test, and of unittest, where they don't; each counts for --maxfail."""
    text = """
import unittest
class TestOld(unittest.TestCase):
    def test_old(self):
        for number in range(3):
            with self.subTest(number=number): self.assertNotEqual(number, 1)
def test_new(subtests):
    for number in range(3):
        with subtests.test(number=number): assert number != 1
def test_after(): pass
"""
    for words in ((), ("--maxfail=2",)):
        plain, under = guarded(text, *words, guard=""), guarded(text, *words)
        assert outcomes(under) == outcomes(plain)


OWN_HOOKS = """
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if item.name == "test_named":
        report.nodeid = "a name of its own"
        report.holds_itself = {}
        report.holds_itself["itself"] = report.holds_itself
    return report
"""
OWN_RUNNER = """
import pytest
from _pytest.runner import runtestprotocol
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.config.ran_by_conftest = True
    runtestprotocol(item, nextitem=nextitem)
    return True
"""
REPLACED = """
import warnings
from unittest.mock import patch
@pytest.fixture
def replaced():
    with patch("os.getpid", return_value=1), patch("pickle.dumps"), patch("socket.socket.sendall"): yield
def test_replaced(replaced): assert 0
def test_named(): assert 0
def test_subtests(subtests):
    with subtests.test(number=1): assert 0
def test_warns():
    class Own(DeprecationWarning): pass
    warnings.warn(Own("said"))
def test_descriptors(): assert os.dup(0) < 0
"""


@pytest.mark.long
def test_what_tests_and_hooks_put_in_the_way_changes_nothing(pytester: pytest.Pytester, guarded: Run) -> None:
    """Functions that a fixture has replaced, reports of a hook's making, and all that is shown of them."""
    pytester.makeconftest(OWN_HOOKS)
    told = []
    for guard in ("", "--crash-guard"):
        shown = guarded(REPLACED, "-p", "no:randomly", guard=guard).outlines
        told.append([line for line in shown if not any(word in line for word in ("crash-guard", " in ", "0x"))])
    assert told[0] == told[1]
    assert "FAILED a name of its own - assert 0" in told[1]
    assert "SUBFAILED(number=1) test_user.py::test_subtests - assert 0" in told[1]
    assert any("Own: said" in line for line in told[1])


@pytest.mark.long
def test_a_conftest_file_that_runs_tests_does_so_in_a_guarded_process(pytester: pytest.Pytester) -> None:
    """However late it is read: a crash is that test's failure."""
    inner = pytester.mkdir("inner")
    (inner / "conftest.py").write_text(OWN_RUNNER)
    (inner / "test_inner.py").write_text(
        CRASH + "def test_dies(): crash()\ndef test_ran(request): assert request.config.ran_by_conftest"
    )
    pytester.runpytest_subprocess("--crash-guard", ".").assert_outcomes(passed=1, failed=1)


LIKE_GEVENT = """
import socket
pair = socket.socketpair
def socketpair(*more):
    ours, theirs = pair(*more)
    if not more: theirs.setblocking(False)
    return ours, theirs
socket.socketpair = socketpair
"""


@pytest.mark.long
def test_sockets_that_do_not_block_are_none_of_the_guards(pytester: pytest.Pytester, guarded: Run) -> None:
    """A conftest file that has gevent patch the process makes them so, for the guard too."""
    pytester.makeconftest(LIKE_GEVENT)
    guarded("def test_a(): time.sleep(0.1)\ndef test_b(): pass").assert_outcomes(passed=2)


@pytest.mark.long
def test_it_works_without_a_terminal_reporter(guarded: Run) -> None:
    """Nothing is shown then, and the exit status is that of the tests."""
    text = "def test_a(): pass\ndef test_b(): crash()"
    assert guarded(text, "-p", "no:terminal").ret == pytest.ExitCode.TESTS_FAILED
    assert guarded(text, "-p", "no:terminal", "-k", "test_a").ret == pytest.ExitCode.OK


@pytest.mark.long
@pytest.mark.parametrize("words", [("-x",), ("--maxfail=2",), ("--maxfail=3",)])
def test_a_run_that_stops_ends_its_fixtures_with_the_last_test(guarded: Run, words: tuple[str, ...]) -> None:
    """As in plain pytest, so that what fails there is an error of that test."""
    text = """
@pytest.fixture(scope="session")
def shared():
    yield
    raise ValueError("at its end")
def test_a(shared): assert 0
def test_b(shared): assert 0
def test_c(shared): pass
"""
    told = []
    for guard in ("", "--crash-guard"):
        shown = guarded(text, *words, guard=guard).outlines
        told.append([line for line in shown if line.startswith(("FAILED ", "ERROR ", "!"))])
    assert told[0] == told[1]
    assert any("ValueError: at its end" in line for line in told[1])


@pytest.mark.long
def test_temporary_folders_are_where_they_would_be(pytester: pytest.Pytester, guarded: Run) -> None:
    """Below --basetemp, also after a crash."""
    text = "def test_a(tmp_path): crash()\ndef test_b(tmp_path): assert str(tmp_path).endswith('/base/test_b0')"
    guarded(text, "--basetemp=base").assert_outcomes(passed=1, failed=1)
    assert Path(pytester.path / "base" / "test_a0").is_dir()


@pytest.mark.long
def test_hypothesis_shrinks_a_native_crash(guarded: Run) -> None:
    """The crash is found again with each example in a fork, and the smallest is printed; the next test is as ever."""
    done = guarded("""
from hypothesis import given, settings, strategies as st
@settings(max_examples=500, database=None)
@given(st.lists(st.integers(0, 1000)))
def test_sum(numbers):
    if sum(numbers) > 900: crash()
def test_after(): pass
""")
    done.assert_outcomes(failed=1, passed=1)
    done.stdout.fnmatch_lines(
        ["*NativeCrash[[]libc.so*", "*numbers=[[]901],*", "*Native crash*", "*SIGSEGV SEGV_MAPERR null*"]
    )


def test_a_hypothesis_that_can_not_shrink_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure says which is needed and which is there."""
    monkeypatch.delattr(ConjectureData, "start_span")
    with pytest.raises(pytest.skip.Exception) as skipped, isolated_examples(None):
        pytest.fail("not reached")
    told = why_not(SimpleNamespace(longrepr=("file", 1, f"Skipped: {skipped.value}")))
    assert told.startswith("its examples are not shrunk: that takes Hypothesis 6.")
    assert told.endswith(f"this is {hypothesis.__version__}")
    assert why_not(SimpleNamespace(longrepr=("file", 1, "Skipped: the test's own reason"))) == ""


@pytest.mark.long
def test_hypothesis_tells_crashes_apart(guarded: Run) -> None:
    """By their places; what a test draws inside itself is shrunk too."""
    done = guarded("""
from hypothesis import given, settings, strategies as st
@settings(max_examples=500, database=None)
@given(st.integers(), st.data())
def test_two(number, data):
    if number > 1000: crash()
    if number < -50 and data.draw(st.integers(0, 9)) > 3: os.abort()
    assert number != 77
""")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines_random(
        ["*NativeCrash[[]SIGABRT*", "*number=-51,*", "*Draw 1: 4", "*NativeCrash[[]libc.so*", "*number=1001,*"]
    )


@pytest.mark.long
def test_a_state_machine_that_crashes_is_shrunk(guarded: Run) -> None:
    """Its steps are printed."""
    done = guarded("""
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.sum = 0
    @rule(number=st.integers(0, 50))
    def add(self, number):
        self.sum += number
        if self.sum > 60: crash()
    @rule()
    def idle(self): pass
TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, database=None)
""")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([
        "*NativeCrash[[]libc.so*", "*state = Machine()", "*state.add(number=11)", "*state.add(number=50)"
    ])  # fmt: skip
    done.stdout.no_fnmatch_line("*state.idle()*")


@pytest.mark.long
def test_a_history_keeps_every_crash(pytester: pytest.Pytester, guarded: Run) -> None:
    """Of all sessions, under xdist too; `report` reads it."""
    for words in ((), ("-n1",)):
        guarded("def test_a(): crash()\ndef test_b(): pass", "--crash-history=kept.db", "--crash-retries=1", *words)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "report", "kept.db", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=pytester.path,
    )
    runs = json.loads(done.stdout)["runs"]
    assert [one["title"] for one in runs] == ["test_user.py::test_a", "test_user.py::test_a #2"]
    ends = [one["evidence"]["termination"]["signal"] for run in runs for one in run["attempts"]]
    assert ends == ["SIGSEGV"] * 4
    assert crashed_tests(pytester.path / "kept.db") == ["test_user.py::test_a"]


def test_a_history_that_can_not_be_written_is_told_in_one_line(pytester: pytest.Pytester) -> None:
    """The session ends with status 3 before anything runs; here no file may grow beyond half a kilobyte."""
    pytester.makepyfile("def test_a(): pass")
    words = f"{sys.executable} -B -m pytest -p no:cacheprovider --crash-guard --crash-history=kept.db"
    done = pytester.run("sh", "-c", f"ulimit -f 1; {words}")
    assert done.ret == 3
    done.stdout.fnmatch_lines(["*crash-guard: --crash-history: *kept.db: disk I/O error*"])
    done.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_history_of_something_else_has_no_tests(tmp_path: Path) -> None:
    """It is refused by name; so is one without a crash."""
    for kind, told in (("exec", "expected a history of pytest"), (PYTEST, "there is no crash")):
        path = tmp_path / f"{kind}.db"
        History.begin(path, job_of(kind, ()), {}).close()
        with pytest.raises(InvalidInputError, match=told):
            crashed_tests(path)


GDB = """#0  raise () from libc.so
#1  <signal handler called>
#2  boom () at boom.c:3
#3  _PyEval_Vector (…) at ceval.c
#4  main ()"""


def test_native_frames_are_those_of_the_crash() -> None:
    """Not our handler's, nor all of the interpreter's; a reason why there are none stays."""
    assert native(GDB) == ["#2  boom () at boom.c:3", "#3  _PyEval_Vector (…) at ceval.c"]
    assert native("unavailable: gdb is not installed") == ["unavailable: gdb is not installed"]
