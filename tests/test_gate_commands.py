"""The gate as a user meets it: record and check over real crashes, and what it says when something is wrong."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import psutil
import pytest
from click.testing import CliRunner, Result

from harness import supervisor
from harness.cli.program import program
from harness.dialects import find
from harness.dialects.guarded import Guarded
from harness.dialects.protocol import Classification, Derived
from harness.engine.loop import Run
from harness.evidence import Evidence, Exited
from harness.exceptions import HarnessError, InfraError, JudgeError
from harness.gate import check as gate_check
from harness.gate import live as gate_live
from harness.gate.baseline import Acceptance
from harness.gate.check import CaseFinding, check, check_tables
from harness.gate.file import load
from harness.gate.fresh import FreshSeeds
from harness.gate.live import CaseRunner, Interrupted, Unit, pairs_of
from harness.gate.record import Wanted
from harness.gate.record import record as record_baseline
from harness.gate.tables import ask_all
from harness.scenarios import live as trial
from harness.scenarios.campaign import Campaign, run_all
from harness.scenarios.schema import load as load_scenario
from harness.scenarios.schema import shipped
from harness.scenarios.select import select
from harness.scenarios.verdict import Verdict
from harness.wire.codes import Code, CodeRow
from harness.wire.errors import UnexpectedError, internal
from harness.wire.request import Decision, Request

SCENARIO = """\
claim = "A race is retried."
cause = "race"
evidence = "real"
layout_independent = true

[[case]]
name = "dosed"
victim = { fault = "torn_publish", tier = "dosed", dose = 0.5, seed = 5 }
policy = { max_attempts = 2, retry = { maxAttempts = 2 } }

[[case.expect]]
dialects = ["upstream-4.4"]
attempts = [{ ended = "exited 0" }]
status = "COMPLETED_SUCCESSFULLY"

[[case.expect]]
dialects = ["upstream-4.5", "strict"]
attempts = [
    { ended = "SIGSEGV", code = "TASK_PROCESS_SIGSEGV", branch = "policy" },
    { ended = "SIGSEGV", code = "TASK_PROCESS_SIGSEGV", branch = "run-max-attempts" },
]
status = "CRASHED"
"""
VICTIM = 'victim = { fault = "torn_publish", tier = "dosed", dose = 0.5, seed = 5 }'
HANGING = SCENARIO.replace(VICTIM, 'victim = { fault = "hang" }\nlimits = { timeout_s = 600 }')
MORE = SCENARIO[SCENARIO.index("[[case]]") :].replace('"dosed"', '"also"', 1)


@pytest.fixture
def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario of the test's own, in the current directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "race.toml"
    path.write_text(SCENARIO)
    return path


def gate(*words: str) -> Result:
    """Run a gate command in this process; errors of the harness become its exit codes, as on the command line."""
    done = CliRunner().invoke(program, ["gate", *words])
    if isinstance(done.exception, HarnessError):
        done.exit_code = done.exception.exit_code
    elif done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def record(*words: str) -> Result:
    """Record the race with six seeds."""
    return gate("record", "race.toml", "-o", "b.toml", "--seeds", "6", *words)


def verdicts(*words: str) -> dict[str, str]:
    """Verdicts of a check, by id."""
    done = gate("check", "b.toml", "--json", *words)
    document = json.loads(done.stdout)
    return {one["id"]: one["verdict"] for one in document["findings"]}


def reasons(done: Result) -> str:
    """What a check says, as one text."""
    return " ".join(done.output.split())


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_what_was_recorded_passes() -> None:
    """And recorded again it is the same file, byte for byte."""
    assert record().exit_code == 0
    assert gate("check", "b.toml", "--junit", "gate.xml").exit_code == 0
    suite = ET.parse("gate.xml").getroot()  # noqa: S314 -- our own file
    assert [case.get("name") for case in suite][-2:] == ["tables", "race[dosed]"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (str(len(suite)), "0", "0")
    assert verdicts() == {"tables": "PASS", "race[dosed]": "PASS"}
    before = Path("b.toml").read_bytes()
    assert record().exit_code == 0
    assert Path("b.toml").read_bytes() == before
    entry = load(Path("b.toml")).case[0]
    assert (entry.count, entry.seed, entry.provenance.n) == (6, 5, 6)


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_what_this_machine_can_neither_record_nor_run_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline that was recorded here is green here; where it could be recorded, a case without an entry fails."""
    with monkeypatch.context() as here:
        here.setattr("harness.gate.record.why_not", lambda _: "not here")
        record()
    assert verdicts("race.toml") == {"tables": "PASS", "race[dosed]": "FAIL"}
    monkeypatch.setattr("harness.gate.check.why_not", lambda _: "not here")
    assert verdicts("race.toml") == {"tables": "PASS", "race[dosed]": "SKIP"}


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_the_version_before_the_fix_fails() -> None:
    """The known-bad control: the gate must catch it, in the tables and in the runs."""
    record()
    done = gate("check", "b.toml", "--dialect", "upstream-4.4")
    assert done.exit_code == 1
    assert verdicts("--dialect", "upstream-4.4") == {"tables": "FAIL", "race[dosed]": "FAIL"}
    assert "the same seed reproduces it" in done.output


@pytest.mark.long
@pytest.mark.slow
def test_a_failing_run_is_recorded_only_with_a_reason(race: Path) -> None:
    """The reason is in the file, and stays there while the case fails in the same way."""
    race.write_text(SCENARIO.replace('status = "CRASHED"', 'status = "TIMED_OUT"'))
    done = record()
    assert (done.exit_code, Path("b.toml").exists()) == (1, False)
    assert "status: expected TIMED_OUT, observed CRASHED" in done.output
    assert record("--accept", "race[dosed]", "--because", "ticket 7").exit_code == 0
    first = load(Path("b.toml")).case[0].accepted
    assert first
    assert (first.because, len(first.failure)) == ("ticket 7", 1)
    assert record().exit_code == 0
    assert load(Path("b.toml")).case[0].accepted == first
    assert verdicts()["race[dosed]"] == "PASS"
    race.write_text(race.read_text().replace("TIMED_OUT", "CANCELED"))
    assert record().exit_code == 1, "another failure: the acceptance was of the one before"
    race.write_text(race.read_text().replace("CANCELED", "TIMED_OUT"))
    race.write_text(race.read_text().replace("dose = 0.5", "dose = 0.3"))
    assert record().exit_code == 1, "it fails in another way: the old reason does not cover that"


@pytest.mark.usefixtures("race")
@pytest.mark.parametrize(
    "words",
    [
        ("--accept", "race[dosed]"),
        ("--because", "x"),
        ("--accept", "race[dosed]", "--because", " "),
        ("--accept", "race[none]", "--because", "x"),
    ],
)
def test_acceptance_needs_a_case_and_a_reason(words: tuple[str, ...]) -> None:
    """Anything else is wrong use, before anything is run."""
    assert record(*words).exit_code == 2
    assert not Path("b.toml").exists()


@pytest.mark.long
@pytest.mark.slow
def test_missing_stale_and_changed_cases_fail(race: Path) -> None:
    """Whatever the baseline can't speak for is a FAIL, never skipped in silence."""
    record()
    race.write_text(SCENARIO + "\n" + MORE)
    assert verdicts() == {"tables": "PASS", "race[also]": "FAIL", "race[dosed]": "PASS"}
    race.write_text(SCENARIO.replace('"dosed"', '"renamed"', 1))
    assert verdicts() == {"tables": "PASS", "race[dosed]": "FAIL", "race[renamed]": "FAIL"}
    assert "stale" in gate("check", "b.toml").output
    race.write_text(SCENARIO.replace("dose = 0.5", "dose = 0.4"))
    assert "victim.dose: recorded with 0.5, now 0.4" in gate("check", "b.toml").output


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_recording_a_part_keeps_the_rest() -> None:
    """The entries of scenarios that were not asked for stay in the file, and the words of both are remembered."""
    assert gate("record", "controls", "-o", "b.toml").exit_code == 0
    assert record().exit_code == 0
    whole = load(Path("b.toml"))
    assert [one.id for one in whole.case] == ["controls[did-not-fire]", "controls[never]", "race[dosed]"]
    assert whole.scenarios == ("controls", "race.toml")
    assert set(verdicts().values()) == {"PASS"}


@pytest.mark.long
@pytest.mark.slow
def test_an_acceptance_is_reviewed(race: Path) -> None:
    """After its day it fails, and says whose it is; before it, it passes."""
    race.write_text(SCENARIO.replace('status = "CRASHED"', 'status = "TIMED_OUT"'))
    excuse = ("--accept", "race[dosed]", "--because", "ticket 7", "--owner", "Ada")
    assert record(*excuse, "--review", "2999-12-31").exit_code == 0
    assert verdicts()["race[dosed]"] == "PASS"
    assert record(*excuse, "--review", "2001-02-03").exit_code == 0
    assert "to be reviewed by Ada by 2001-02-03" in reasons(gate("check", "b.toml"))
    assert record(*excuse, "--review", "soon").exit_code == 2


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_what_must_run_is_not_skipped_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """--no-skip and --must-run turn a SKIP red."""
    assert record().exit_code == 0
    monkeypatch.setattr(gate_check, "why_not", lambda _: "not here")
    assert verdicts()["race[dosed]"] == "SKIP"
    assert verdicts("--no-skip")["race[dosed]"] == "FAIL"
    assert verdicts("--must-run", "race[dosed]")["race[dosed]"] == "FAIL"
    assert gate("check", "b.toml", "--must-run", "nothing").exit_code == 2


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_changed_answers_are_told_when_recorded() -> None:
    """The next record under another dialect lists what is answered otherwise."""
    assert record().exit_code == 0
    done = gate("record", "controls", "-o", "b.toml", "--dialect", "upstream-4.4", "--json")
    changed = json.loads(done.stdout)["changed"]
    assert any(line.startswith("TASK_PROCESS_SIGSEGV: recorded retriable=True") for line in changed)


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_a_part_can_be_checked() -> None:
    """With a scenario named, the others in the file are not stale."""
    assert gate("record", "race.toml", "controls", "-o", "b.toml", "--seeds", "6").exit_code == 0
    assert verdicts("controls[never]") == {"tables": "PASS", "controls[never]": "PASS"}
    assert set(verdicts("controls")) == {"tables", "controls[never]", "controls[did-not-fire]"}


def broken_classifier(change: Callable[[int, Run], Run]) -> Callable[..., Run]:
    """Live cases, and change what came of the n-th."""
    count = 0

    def live(*arguments: Any, **options: Any) -> Run:
        nonlocal count
        count += 1
        return change(count, trial.run_case(*arguments, **options))

    return live


def shortened(run: Run) -> Run:
    """The same run, with another status."""
    return msgspec.structs.replace(run, status="TIMED_OUT")


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_what_does_not_reproduce_is_a_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """One odd run that the same seed does not repeat is marked nondeterministic, and never passed by itself."""
    record()
    odd = broken_classifier(lambda number, run: shortened(run) if number == 3 else run)
    monkeypatch.setattr(gate_live, "run_case", odd)
    done = gate("check", "b.toml", "--jobs", "1")
    assert done.exit_code == 1
    assert "seed 7: expected" in reasons(done)
    assert "nondeterministic: the same seed again" in reasons(done)


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_a_seed_that_does_not_reproduce_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with a reason."""
    odd = broken_classifier(lambda number, run: shortened(run) if number == 9 else run)
    monkeypatch.setattr(gate_live, "run_case", odd)
    done = record("--jobs", "1", "--accept", "race[dosed]", "--because", "x")
    assert (done.exit_code, Path("b.toml").exists()) == (1, False)
    assert "nondeterministic" in done.output


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_what_the_harness_could_not_do_is_infra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3, in checks and in records: nothing was proved."""
    record()

    def fail(*_: object, **__: object) -> Run:
        raise InfraError("no processes left")

    monkeypatch.setattr(gate_live, "run_case", fail)
    done = gate("check", "b.toml")
    assert (done.exit_code, "no processes left" in done.output) == (3, True)
    assert record().exit_code == 3


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["never", "null_read"])
def test_a_wrong_control_is_infra(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A control that crashes, or an always-crash that does not, makes everything else worthless."""
    record()
    other = {"never": "null_read", "null_read": "never"}

    def swapped(shot: Any, **options: Any) -> Evidence:
        fired = other[shot.fault] if shot.fault == fault else shot.fault
        return supervisor.supervise(msgspec.structs.replace(shot, fault=fired), **options)

    monkeypatch.setattr(gate_live, "supervise", swapped)
    done = gate("check", "b.toml")
    assert done.exit_code == 3
    assert f"control {fault}: expected" in done.output
    assert "race[dosed]" not in done.output


@pytest.mark.long
@pytest.mark.slow
def test_ctrl_c_leaves_the_old_file(race: Path) -> None:
    """130, and the file is the one that was there."""
    record()
    before = Path("b.toml").read_bytes()
    race.write_text(HANGING)
    command = [sys.executable, "-m", "harness", "gate", "record", "race.toml", "-o", "b.toml"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_victims(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
    assert Path("b.toml").read_bytes() == before
    assert sorted(one.name for one in Path().iterdir()) == ["b.toml", "race.toml"]


def wait_for_victims(pid: int) -> None:
    """Return when the process has hanging victims: processes below it whose command names the fault."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(psutil.Error):  # a control that has gone meanwhile
            if any("hang" in one.cmdline() for one in psutil.Process(pid).children(recursive=True)):
                return
    raise AssertionError("no victims")


def strike(*_: object) -> Any:
    """Ctrl-C, at this very place."""
    raise KeyboardInterrupt


@pytest.mark.slow
def test_ctrl_c_while_units_are_handed_out(race: Path) -> None:
    """The first hangs already when it comes: it is killed, not waited for."""
    race.write_text(HANGING)
    case = load_scenario(race).case[0]

    def units() -> Iterator[Unit]:
        yield Unit("race[dosed]", case, 0, None)
        strike()

    began = time.monotonic()
    with pytest.raises(Interrupted):
        CaseRunner(find("strict"), 2).live_all(units(), strike)
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_ctrl_c_while_cases_are_handed_out(race: Path) -> None:
    """The same of run."""

    class Done:
        """What is decided already: asked for the second case, it is Ctrl-C."""

        def __contains__(self, title: object) -> bool:
            return title == "race[also]" and strike()

    race.write_text(HANGING + "\n" + MORE)
    began = time.monotonic()
    assert not run_all([load_scenario(race)], Campaign(find("strict")), 2, strike, Done())
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_wrong_use_is_2() -> None:
    """No file, a file that is none, and an option that is none."""
    assert gate("check", "none.toml").exit_code == 2
    Path("b.toml").write_text("x = 1")
    assert gate("check", "b.toml").exit_code == 2
    assert record().exit_code == 2, "a file that is no baseline is not overwritten"
    assert Path("b.toml").read_text() == "x = 1"
    assert gate("record").exit_code == 2


def test_help_has_an_example() -> None:
    """Each command."""
    for command in ("record", "check"):
        assert "Example: crash-harness gate" in gate(command, "--help").output


# --- at night ---


def fired(dose: float) -> CaseFinding:
    """One night of the race under another dose than the baseline's .3."""
    scenario = load_scenario(shipped() / "native-addon-race.toml")
    case = scenario.case[0]

    def dosed(rate: float) -> Any:
        return msgspec.structs.replace(case, victim=msgspec.structs.replace(case.victim, dose=rate))

    runner = CaseRunner(find("upstream-4.5"), 2)
    pairs = {"native-addon-race[torn-publish]": (scenario, dosed(0.3))}
    entry = recorded(pairs, runner)
    return FreshSeeds(runner, 11, lambda _: None).check(entry, (scenario, dosed(dose)))


def recorded(pairs: Any, runner: CaseRunner) -> Any:
    """The entry of a case."""
    made = record_baseline(
        Wanted((), pairs, 20, None, {next(iter(pairs)): Acceptance("a test", ())}), runner, None, lambda _: None
    )
    assert made.baseline is not None
    return made.baseline.case[0]


@pytest.mark.long
@pytest.mark.slow
def test_a_night_passes_and_a_shift_is_found() -> None:
    """.30 is .30; .45 is confirmed to be more, with real crashes."""
    assert fired(0.3).judgement.verdict is Verdict.PASS
    found = fired(0.45)
    assert found.judgement.verdict is Verdict.FAIL
    assert found.judgement.reasons[0].startswith("regressed")


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_a_night_on_the_command_line() -> None:
    """--fresh-seeds adds a finding a dosed case, and --seed replays it."""
    record()
    words = ("check", "b.toml", "--fresh-seeds", "--seed", "3", "--json")
    first, second = (json.loads(gate(*words).stdout)["findings"][-1] for _ in range(2))
    assert first["id"] == "race[dosed] fresh"
    assert (first["verdict"], first["seed"]) == ("PASS", 3)
    assert first == second


# --- another judge ---


class Broken(Derived):
    """A judge that answers as 4.5 does, until it is asked about `about`."""

    def __init__(self, about: str) -> None:
        super().__init__("broken like upstream-4.5", find("upstream-4.5"))
        self._about = about

    def row(self, code: Code) -> CodeRow | None:  # noqa: ARG002 -- whichever
        """Nothing: it has no table."""
        return None

    def classify(self, evidence: Evidence) -> Classification:
        """Break on the evidence that it is about."""
        if str(evidence.termination) == self._about:
            raise JudgeError(f"it died on {self._about}")
        return self.parent.classify(evidence)

    def decide(self, request: Request) -> Decision:
        """Break with an exception of its own on a request that it is about."""
        if request.error.code == self._about:
            raise KeyError(self._about)
        return self.parent.decide(request)


def test_a_judge_that_breaks_is_a_fail() -> None:
    """Whatever it throws, the gate says on what."""
    before = ask_all(find("upstream-4.5"))
    died = check_tables(before, Broken("SIGBUS"))
    assert (died.judgement.verdict, died.judgement.reasons) == (
        Verdict.FAIL,
        ("the classifier broke: it died on SIGBUS",),
    )
    thrown = check_tables(before, Broken("POD_EVICTED"))
    assert thrown.judgement.reasons == ("the classifier broke: POD_EVICTED, looked_up: KeyError: 'POD_EVICTED'",)


def test_a_judge_is_guarded() -> None:
    """What is no answer is an error with the line that did it; what upstream raises is an answer."""
    guarded = Guarded(Broken("POD_EVICTED"))
    evidence = Evidence(Exited(3))
    assert guarded.classify(evidence) == find("upstream-4.5").classify(evidence)
    with pytest.raises(JudgeError, match=r"KeyError: 'POD_EVICTED', on .*\"code\":\"POD_EVICTED\""):
        guarded.decide(Request(internal("POD_EVICTED")))
    with pytest.raises(UnexpectedError):
        guarded.decide(Request(internal("NOPE")))
    with pytest.raises(JudgeError, match=r"expected a Classification, got 'SIGSEGV', on .*\"status\":3"):
        Guarded(Mute("mute", find("upstream-4.5"))).classify(evidence)
    with pytest.raises(JudgeError, match=r"KeyError: 'POD_EVICTED', on .*half a pair: .ud83d"):
        guarded.decide(Request(internal("POD_EVICTED", "half a pair: \ud83d")))


class Mute(Derived):
    """A judge that answers nonsense."""

    def classify(self, _: Evidence) -> Classification:
        """Anything but a classification."""
        return "SIGSEGV"  # type: ignore[return-value]  # that is the point


@pytest.mark.long
@pytest.mark.usefixtures("race")
@pytest.mark.slow
def test_a_judge_that_breaks_on_a_run_fails_that_case() -> None:
    """The others are judged."""
    gate("record", "race.toml", "controls", "-o", "b.toml", "--seeds", "6")
    runner = CaseRunner(Broken("SIGSEGV"), 2)
    findings = check(
        load(Path("b.toml")), pairs_of(select(["race.toml", "controls"], None)), (), runner, lambda _: None
    )
    assert {one.id: one.judgement.verdict for one in findings} == {
        "tables": Verdict.FAIL,
        "controls[did-not-fire]": Verdict.PASS,
        "controls[never]": Verdict.PASS,
        "race[dosed]": Verdict.FAIL,
    }
