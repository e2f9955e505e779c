"""The command line as a user meets it: real processes, exit codes, one-line errors."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psutil
import pytest

from harness.exceptions import InfraError
from harness.machine import why_not
from harness.supervisor import supervise

FIX = {"native-addon-race", "jit-gc", "near-oom", "bad-host", "deterministic-bug"}


def crash_harness(*words: str, text: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, check=False)


def answers(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """JSON lines of stdout."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def results(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Results of `run --json`."""
    found = json.loads(done.stdout)["results"]
    assert isinstance(found, list)
    return found


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["upstream-4.5", "strict"])
def test_every_shipped_scenario_passes(dialect: str) -> None:
    """All PASS, or SKIP with a reason that doctor repeats."""
    done = crash_harness("run", "--json", "--dialect", dialect)
    skips = json.loads(crash_harness("doctor", "--json").stdout)["skips"]
    assert done.returncode == 0, done.stderr
    for result in results(done):
        title = f"{result['scenario']}[{result['case']}]"
        assert result["verdict"] == ("SKIP" if title in skips else "PASS"), result["reasons"]
        assert list(result["reasons"]) == ([skips[title]] if title in skips else [])


@pytest.mark.long
@pytest.mark.slow
def test_the_version_before_the_fix_fails_what_the_fix_was_made_for() -> None:
    """upstream-4.4 fails those scenarios and no other: that is the harness proving its point."""
    done = crash_harness("run", "--json", "--dialect", "upstream-4.4")
    assert done.returncode == 1
    assert {one["scenario"] for one in results(done) if one["verdict"] == "FAIL"} == FIX
    assert "status: expected COMPLETED_SUCCESSFULLY, observed CRASHED" in done.stderr
    assert "native-addon-race.toml --case torn-publish --dialect upstream-4.4 --seed 5" in done.stderr


def test_run_prints_a_line_a_case_and_a_summary() -> None:
    """Without a terminal: a line a result with its seconds, no table where all is well, and the counts."""
    done = crash_harness("run", "controls")
    assert done.returncode == 0
    assert re.search(
        r"^PASS   controls\[never\]  \d+\.\d\d s  exited 0: COMPLETED_SUCCESSFULLY$", done.stdout, re.MULTILINE
    )
    assert "verdict" not in done.stdout
    assert re.search(r"^2 cases: 2 PASS; \d+\.\d s of attempts$", done.stdout, re.MULTILINE)


def test_the_table_of_all_cases_and_the_slowest_are_there_on_request() -> None:
    """-v prints all of them, --slowest those that lived longest."""
    done = crash_harness("run", "controls", "-v", "--slowest", "1")
    heading = next(line for line in done.stdout.splitlines() if line.startswith("verdict"))
    assert heading.split() == ["verdict", "case", "ended", "status", "seconds", "expected"]
    slowest = done.stdout.partition("\nslowest\n")[2].splitlines()
    assert re.fullmatch(r" +\d+\.\d\d s  controls\[\S+\]", slowest[0])
    assert slowest[1] == ""


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [("run", "controls", "no-policy", "-v"), ("faults",), ("dialects",), ("dialects", "upstream-4.4"), ("engines",)],
    ids=" ".join,
)
def test_a_row_is_a_row_at_80_columns(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is wider than a narrow terminal, and none of its rows takes two lines."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    narrow = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", crash_harness(*words).stdout)
    monkeypatch.delenv("FORCE_COLOR")
    wide = crash_harness(*words).stdout
    rows = [row for row in re.split("[\r\n]+", narrow) if row.strip() and not row.startswith("running ")]
    assert [row for row in rows if len(row) > 80] == []
    assert len(rows) == len([row for row in wide.splitlines() if row.strip()])


@pytest.mark.long
def test_cases_are_chosen_by_a_part_of_their_title() -> None:
    """-k takes what holds the text, and refuses one that nothing holds."""
    done = crash_harness("run", "--list", "-k", "race[torn", "--json")
    assert [(one["scenario"], one["cases"]) for one in json.loads(done.stdout)] == [
        ("native-addon-race", ["torn-publish"])
    ]
    done = crash_harness("run", "-k", "no-such-title")
    assert done.returncode == 2
    assert "-k: no title of a case, as --list prints them, holds 'no-such-title'" in done.stderr


@pytest.mark.long
def test_what_is_piped_in_and_not_handed_on_is_said() -> None:
    """A command gets nothing of what we are fed, and a line says so, unless it has it, or there is nothing."""
    note = "note: what was piped into exec did not reach COMMAND"
    assert note in crash_harness("exec", "--", "cat", text="hi").stderr
    assert note not in crash_harness("exec", "--stdin", "inherit", "--", "cat", text="hi").stderr
    assert note not in crash_harness("exec", "--", "cat").stderr


@pytest.mark.long
def test_the_cap_of_attempts_is_said_where_it_ends_a_run() -> None:
    """A policy may name more attempts than any run gets."""
    done = crash_harness("exec", "--max-attempts", "400", "--observe", "off", "--", "false")
    assert "CRASHED after 250 attempts (upstream-4.8): no run gets more than 250 attempts" in done.stderr


def test_a_program_in_the_place_of_a_scenario_is_told_where_it_belongs(tmp_path: Path) -> None:
    """Who forgets the two dashes is told about them."""
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    done = crash_harness("experiment", str(program))
    assert done.returncode == 2
    assert f"a command goes behind '--': crash-harness experiment -- {program}" in done.stderr


def test_fail_fast_begins_nothing_after_a_failure(tmp_path: Path) -> None:
    """One case fails, those after it are not begun, and are errors in JUnit; the failed one has its trail there."""
    junit = tmp_path / "run.xml"
    words = ("--dialect", "upstream-4.4", "--jobs", "1", "--fail-fast", "--junit", str(junit))
    done = crash_harness("run", "deterministic-bug", "native-addon-race", *words)
    assert done.returncode == 1
    assert "1 case: 1 FAIL; 8 of 9 not decided" in done.stdout
    assert f"wrote {junit}" in done.stderr
    suite = ET.parse(junit).getroot()  # noqa: S314 -- our own file
    assert (suite.get("tests"), suite.get("failures")) == ("9", "1")
    failed = next(case for case in suite if case.find("failure") is not None)
    told = failed.findtext("system-out") or ""
    assert "attempt 1 forced: SIGSEGV" in told
    assert "replay: crash-harness run" in told


def test_a_foreign_seed_replays_and_is_judged_attempt_by_attempt() -> None:
    """The same seed gives the same run; a seed that is not the file's own asserts no count."""
    words = ("run", "near-oom", "--case", "pressure-passes", "--json", "--seed", "2")
    first, second = crash_harness(*words), crash_harness(*words)
    assert first.returncode == 0, first.stderr
    assert results(first)[0]["observed"] == results(second)[0]["observed"]
    assert [one["ended"] for one in results(first)[0]["observed"]] == ["SIGSEGV"] * 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exec", "--max-attempts", "9" * 60, "--", "true"], "a whole number of attempts, 1 or more"),
        (["experiment", "--trials", "1", "--vs", "strat=fresh", "controls"], "not 'strat'; did you mean 'start'?"),
        (["experiment", "--trials", "1", "--vs", "strat=fresh", "--", "true"], "expected schedule=SEED or another"),
        (["engines", "check", "--cell", "\udcff", "--", "false"], "expected text in UTF-8"),
        (
            ["run", "no-such-scenario"],
            "'no-such-scenario': No such file or directory, and no shipped scenario; those are abort",
        ),
        (["run", "controls", "--case", "nothing"], "no case is called 'nothing'"),
        (["run", "--dialect", "upstream-9"], "not 'upstream-9'"),
        (["faults", "nul_read"], "did you mean 'null_read'"),
        (["exec"], "Missing argument 'COMMAND...'"),
        (["exec", "--memory", "lots", "--", "true"], "'lots' is no size"),
        (["exec", "--memory", "0", "--", "true"], "limits.memory_bytes: expected a whole number of bytes above 0"),
        (["exec", "--retry-config", "{", "--", "true"], "--retry-config"),
        (["exec", "--retry-config", '{"maxAttempts": "3"}', "--", "true"], "maxAttempts"),
        (["exec", "--timeout", "-1", "--", "true"], "--timeout"),
        (
            ["exec", "--timeout", "nan", "--", "true"],
            "timeout_s: expected a number of seconds above 0 and at most 1000000000, not nan",
        ),
        (["exec", "--timeout", "1e300", "--", "true"], "timeout_s: expected a number of seconds above 0"),
        (["exec", "--memory", "9999999999GiB", "--", "true"], "below 2**63"),
        (
            ["exec", "--max-attempts", "-1", "--", "true"],
            "policy.max_attempts: expected a whole number of attempts, 1 or more, not -1",
        ),
        (["classify", "/no/such/file"], "No such file"),
        (["conquer"], "No such command 'conquer'"),
        (["sweep", "--mode", "onse", "os:getpid"], "--mode: expected one of once, from-then-on, both, not 'onse'; did"),
        (["sweep", "--moode", "once", "os:getpid"], "no option '--moode'; did you mean '--mode'?"),
        (["sweep", "--depth", "x", "os:getpid"], "--depth: 'x' is not a whole number"),
        (["sweep", "--setup", "os:getpid", "--", "true"], "a command: --setup is of a function: leave it out"),
        (["sweep", "--errors", "EIO", "os:getpid"], "without --refuse files: --errors has no part in it"),
        (["sweep", "--owner", "x", "os:getpid"], "without --accept: --owner has no part in it"),
        (["experiment", "--host", "native", "--", "true"], "a command: --host is of a scenario's fault"),
        (["experiment", "--memory", "1GiB", "controls"], "SCENARIO: --memory is of a command"),
        (["exec", "--memory-by", "cgroup", "--", "true"], "--memory-by: expected --memory beside it"),
        (["exec", "--stdin", "nul", "--", "true"], "--stdin: expected one of null, inherit, not 'nul'; did you mean"),
    ],
)
def test_wrong_use_is_exit_2_and_one_line(words: list[str], message: str) -> None:
    """It says what was wrong, and nothing else."""
    done = crash_harness(*words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("crash-harness: ")
    assert message in line


def test_doctor_proves_it_with_a_real_crash() -> None:
    """What this machine can do, by name."""
    done = crash_harness("doctor", "--json")
    assert done.returncode == 0
    found = {one["name"]: one["value"] for one in json.loads(done.stdout)["capabilities"]}
    assert found["a real crash"].startswith("SIGSEGV, SEGV_MAPERR at 0x0 in _native")
    assert "memory_cgroup" in found


@pytest.mark.long
def test_faults_lists_and_describes() -> None:
    """The table, one row's page, and both as JSON."""
    assert "null_read" in crash_harness("faults").stdout
    assert "parameter offset: 0 to 4095 bytes, 0 if not given" in crash_harness("faults", "null_read").stdout
    assert json.loads(crash_harness("faults", "null_read", "--json").stdout)["family"] == "deref"


def executed(*words: str) -> dict[str, Any]:
    """The object of `exec --json`."""
    answer = json.loads(crash_harness("exec", "--json", *words).stdout)
    assert isinstance(answer, dict)
    return answer


def test_exec_retries_a_crashing_command() -> None:
    """A command of the user's, by a policy of the user's."""
    answer = executed("--max-attempts", "3", "--", "sh", "-c", "echo oops >&2; kill -SEGV $$")
    assert answer["status"] == "CRASHED"
    assert [one["number"] for one in answer["attempts"]] == [1, 2, 3]
    first = answer["attempts"][0]
    assert first["evidence"]["termination"] == {"kind": "signaled", "signal": "SIGSEGV"}
    assert first["evidence"]["stderr"] == "oops\n"
    assert first["evidence"]["duration_s"] > 0
    assert first["error"]["message"] == "Process exited with code -1 after signal SIGSEGV."
    assert first["decision"]["branch"] == "policy"
    assert set(first) >= {"number", "evidence", "error", "rule", "cause", "decision"}


def test_exec_passes_output_on_and_keeps_json_apart() -> None:
    """The command's stdout is on stdout for people, and never under --json."""
    plain = crash_harness("exec", "--", "echo", "hello")
    assert (plain.returncode, plain.stdout) == (0, "hello\n")
    as_json = crash_harness("exec", "--json", "--", "echo", "hello")
    assert json.loads(as_json.stdout)["status"] == "COMPLETED_SUCCESSFULLY"
    assert "hello" in as_json.stderr


def test_exec_without_a_policy_fails_at_once() -> None:
    """One attempt, exit 1."""
    done = crash_harness("exec", "--json", "--", "sh", "-c", "exit 3")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["attempts"]) == 1


def test_exec_takes_upstreams_retry_config() -> None:
    """--retry-config alone allows as many attempts as it says itself."""
    answer = executed("--retry-config", '{"maxAttempts": 2, "randomize": false}', "--", "false")
    assert [one["decision"].get("settings", {}).get("delay") for one in answer["attempts"]] == [1000, None]


def test_exec_gives_a_larger_machine_more_memory() -> None:
    """--memory is that of --machine; the OOM path leads to one with more, in proportion."""
    if reason := why_not(("memory_cgroup",)):
        pytest.skip(reason)
    config = '{"maxAttempts": 3, "outOfMemory": {"machine": "medium-1x"}}'
    hog = (sys.executable, "-S", "-c", "b'x' * (100 << 20)")
    answer = executed("--memory", "48MiB", "--memory-by", "cgroup", "--retry-config", config, "--", *hog)
    assert answer["status"] == "COMPLETED_SUCCESSFULLY"
    assert [one["evidence"]["memory"]["limit_bytes"] >> 20 for one in answer["attempts"]] == [48, 192]
    assert [one["evidence"]["memory"]["oom_kills"] for one in answer["attempts"]] == [1, 0]


def test_exec_keeps_the_timeout() -> None:
    """The deadline is upstream's max duration."""
    answer = executed("--timeout", "0.2", "--", "sleep", "60")
    assert answer["status"] == "TIMED_OUT"
    assert answer["attempts"][0]["evidence"]["ended_by"] == "deadline"


def test_exec_of_what_cannot_be_executed_is_infra() -> None:
    """Exit 3, one line."""
    done = crash_harness("exec", "--max-attempts", "3", "--", "/no/such/program")
    assert done.returncode == 3
    assert done.stderr == "crash-harness: /no/such/program: can't be executed: No such file or directory\n"


def test_classify_answers_line_by_line() -> None:
    """The least evidence is accepted; a bad line gets its answer in place, and exit 2 at the end."""
    whole = {
        "termination": {"kind": "exited", "status": 139},
        "stderr": "x",
        "ended_by": "self",
        "memory": {"limit_bytes": 1, "peak_rss_bytes": 1, "oom_kills": 0},
        "fault": {"signal": "SIGSEGV", "code": "SEGV_MAPERR", "address": 0, "thread": 1},
    }
    lines = [
        '{"termination": {"kind": "signaled", "signal": "SIGSEGV"}}',
        '{"termination": {"kind": "exited", "status": 256}}',
        "not json",
        "",
        '{"termination": {"kind": "exited", "status": 139}, "colour": "red"}',
        json.dumps(whole),
    ]
    done = crash_harness("classify", "--dialect", "strict", text="\n".join(lines))
    found = answers(done)
    assert done.returncode == 2
    assert found[0]["error"]["code"] == "TASK_PROCESS_SIGSEGV"
    assert found[0]["rule"] == "sigsegv"
    assert "line 2: termination.status: expected a whole number of at most 255, not 256" in found[1]["invalid"]
    assert "line 3" in found[2]["invalid"]
    assert "line 4: an empty line, expected a JSON object" in found[3]["invalid"]
    assert "colour" in found[4]["invalid"]
    assert found[5]["cause"] == "exit_139_as_a_shell_reports_SIGSEGV"


@pytest.mark.long
def test_what_exec_prints_classify_reads() -> None:
    """Evidence goes round, with and without what the black box saw."""
    for black_box, cause in (("on", "signal_was_sent"), ("off", "abort")):
        options = ("--memory", "64MiB", "--black-box", black_box)
        evidence = executed(*options, "--", "sh", "-c", "kill -ABRT $$")["attempts"][0]["evidence"]
        found = answers(crash_harness("classify", "--dialect", "strict", text=json.dumps(evidence)))
        assert found[0]["cause"] == cause


SEGV_ERROR = {
    "type": "INTERNAL_ERROR",
    "code": "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE",
    "message": "Process exited with code -1 after signal SIGSEGV.",
}


def test_decide_speaks_upstreams_records() -> None:
    """Retry settings, enhanced error and branch; what upstream throws is answered."""
    run = {"maxAttempts": 3, "lockedRetryConfig": {"maxAttempts": 3}, "machinePreset": "small-1x"}
    lines = [
        {"error": SEGV_ERROR, "attempt": 1, "run": run, "now": 1000, "random": 0.5},
        {"error": {"type": "INTERNAL_ERROR", "code": "NOVEL"}, "attempt": 1, "run": run},
        {"error": SEGV_ERROR, "attempt": 1},
        {"error": 7},
    ]
    done = crash_harness("decide", text="\n".join(map(json.dumps, lines)))
    found = answers(done)
    assert done.returncode == 2
    assert found[0]["outcome"] == "retry"
    assert found[0]["settings"] == {"timestamp": 2500, "delay": 1500}
    assert found[0]["enhanced"]["code"] == "TASK_PROCESS_SIGSEGV"
    assert found[1] == {"raises": "Unexpected object: NOVEL"}
    assert found[2] == {"raises": "Run not found"}
    assert "error: expected" in found[3]["invalid"]
    old = crash_harness("decide", "--dialect", "upstream-4.4", text=json.dumps(lines[0]))
    assert answers(old)[0]["branch"] == "not-retriable"


def test_the_filters_read_json_as_v8_does() -> None:
    """Half a pair comes back as it went, 1.0 is an attempt, 1e999 is infinite, and one deep line is refused alone."""
    policy = '"run": {"maxAttempts": 3.0, "lockedRetryConfig": {"maxAttempts": 9, "factor": %s}}'
    lines = [
        '{"error": {"type": "STRING_ERROR", "raw": "\\ud800"}, "attempt": 1.0, "run": {"maxAttempts": 3}}',
        f'{{"error": {json.dumps(SEGV_ERROR)}, "attempt": 1.0, {policy % "2"}}}',
        f'{{"error": {json.dumps(SEGV_ERROR)}, "attempt": 1, {policy % "1e999"}}}',
        f'{{"error": {json.dumps(SEGV_ERROR)}, "now": {"[" * 100_000}',
        json.dumps({"error": SEGV_ERROR | {"type": "BUILT_IN_ERROR", "causes": [{"name": "x"}]}}),
    ]
    done = crash_harness("decide", text="\n".join(lines))
    found = answers(done)
    assert found[0]["enhanced"] == {"type": "STRING_ERROR", "raw": "\ud800"}
    assert [one.get("branch") for one in found[1:3]] == ["policy", "no-policy"]
    assert found[3] == {"invalid": "line 4: it is nested too deep"}
    assert "error.causes[0].message: expected" in found[4]["invalid"]
    assert done.returncode == 2


def test_exec_says_why_the_queue_gave_up() -> None:
    """The status, the attempts, and the engine's own error, in words and as JSON; a policy that is none is refused."""
    words = ("exec", "--json", "--dialect", "upstream-4.4", "--max-attempts", "15", "--", "sh", "-c", "exit 3")
    done = crash_harness(*words)
    told = json.loads(done.stdout)
    assert (told["status"], len(told["attempts"])) == ("SYSTEM_FAILURE", 12)
    assert told["error"]["code"] == "TASK_RUN_DEQUEUED_MAX_RETRIES"
    assert "after 12 attempts (upstream-4.4): upstream-4.4 says: TASK_RUN_DEQUEUED_MAX_RETRIES" in done.stderr
    slip = crash_harness("exec", "--retry-config", '{"minTimeoutInMs": 9007199254740994}', "--", "true")
    assert (slip.returncode, slip.stderr.count("\n")) == (2, 1)
    assert "policy.retry.minTimeoutInMs" in slip.stderr


@pytest.mark.slow
def test_ctrl_c_kills_every_victim_and_prints_what_was_decided(tmp_path: Path) -> None:
    """Exit 130; what was decided is there, what was not is counted, and no process is left."""
    text = (Path(__file__).parent.parent / "scenarios" / "hang.toml").read_text()
    (tmp_path / "slow.toml").write_text(text.replace("timeout_s = 0.5", "timeout_s = 600"))
    quick = Path(__file__).parent.parent / "scenarios" / "controls.toml"
    command = [sys.executable, "-m", "harness", "run", "--jobs", "2", str(quick), str(tmp_path / "slow.toml")]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert started.stdout is not None
    seen = [started.stdout.readline(), started.stdout.readline()]
    below = _victims(started.pid)
    os.kill(started.pid, signal.SIGINT)
    rest, _ = started.communicate(timeout=30)
    assert started.returncode == 130
    assert all("controls" in line for line in seen)
    assert "2 cases: 2 PASS; 1 of 3 not decided" in rest
    assert "Traceback" not in rest
    assert below
    assert not [process for process in below if process.is_running()]


def _victims(pid: int) -> list[psutil.Process]:
    """Wait until guard and victim are there."""
    limit = time.monotonic() + 30
    while len(found := psutil.Process(pid).children(recursive=True)) < 2:
        assert time.monotonic() < limit
    return found


def test_a_closed_pipe_is_quiet() -> None:
    """`crash-harness faults | head -1` ends without a traceback."""
    command = f"{sys.executable} -m harness faults | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_a_case_is_chosen_as_it_is_printed() -> None:
    """What a line of `run` shows can be given back to it; --list shows all."""
    assert "controls[never]" in crash_harness("run", "--list").stdout
    refused = crash_harness("run", "--list", "--fail-fast", "controls")
    assert (refused.returncode, refused.stderr) == (
        2,
        "crash-harness: --list: --fail-fast has no part in it: leave it out\n",
    )
    done = crash_harness("run", "controls[never]", "abort[double-free]")
    assert done.returncode == 0
    assert "2 cases: 2 PASS" in done.stdout


@pytest.mark.long
def test_the_catalogue_is_listed_too() -> None:
    """--list names the shots of --catalogue; what has no part in them is refused."""
    assert "null_read forced: SIGSEGV" in crash_harness("run", "--catalogue", "--list").stdout
    listed = json.loads(crash_harness("run", "--catalogue", "--list", "--json").stdout)
    assert {"fault", "tier", "expected"} == set(listed[0])
    done = crash_harness("run", "--catalogue", "--dialect", "strict")
    assert (done.returncode, done.stderr) == (
        2,
        "crash-harness: --catalogue: --dialect has no part in it: leave it out\n",
    )


@pytest.mark.parametrize("words", [["faults"], ["run", "controls"], ["run", "controls", "--json"], ["doctor"]])
def test_no_room_for_the_output_is_infra(words: list[str]) -> None:
    """A full disk behind stdout: one line, exit 3, and never the code of a FAIL."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["exec", "--", "true"],
        ["exec", "--json", "--", "sh", "-c", "exit 1"],
    ],
)
def test_no_room_for_words_is_infra_too(words: list[str]) -> None:
    """A full disk behind stderr: exit 3, whatever the verdict would have been."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, timeout=60, check=False)
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: os.mkfifo(path, 0o755), "Permission denied"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_text("exit 0\n"), "Permission denied"),
        (lambda path: (path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(200)), path.chmod(0o755)), "Exec format error"),
        (lambda path: (path.write_bytes(b"MZ\0\0"), path.chmod(0o755)), "Exec format error"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda _: None, "No such file or directory"),
    ],
    ids=["fifo", "directory", "without a right", "of another machine", "no program", "loop", "absent"],
)
def test_what_can_not_be_executed_is_infra_at_once(make: Callable[[Path], object], reason: str, tmp_path: Path) -> None:
    """One line that names it; nothing is opened that would wait, and no shell guesses at it."""
    program = tmp_path / "program"
    make(program)
    with pytest.raises(InfraError, match=f"^{re.escape(str(program))}: can't be executed: {reason}$"):
        supervise([str(program)], deadline_s=20)


def test_closed_streams_are_survived() -> None:
    """`exec` without a stdout, and a filter without a stdin."""
    script = f"{sys.executable} -m harness exec -- echo x >&-; {sys.executable} -m harness classify <&-"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "stdin is closed" in done.stderr


def test_our_lines_begin_where_lines_begin() -> None:
    """A command's output without a newline does not run into the report."""
    done = crash_harness("exec", "--json", "--", "printf", "x")
    assert done.stderr.startswith("x\nattempt 1")
