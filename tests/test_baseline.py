"""A baseline's records, their file, and the verdict table: values only."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dialects import find
from harness.engine.loop import Engine, Life, Run
from harness.engine.policy import Policy
from harness.evidence import EndedBy, Evidence, Exited, Signaled, Witness
from harness.exceptions import InvalidInputError
from harness.gate.baseline import Acceptance, AttemptKind, Baseline, Entry, Provenance, sealed
from harness.gate.comparing import changed_conditions, changed_tables, conclude, deviations
from harness.gate.file import load, save, text
from harness.gate.making import entry_of as make_entry
from harness.gate.making import keep_unchanged, wild_entry_of
from harness.gate.observing import Seen, conditions, see
from harness.gate.tables import ask_all
from harness.gate.tomlwriter import document
from harness.scenarios.schema import Case, shipped
from harness.scenarios.schema import load as load_scenario
from harness.scenarios.verdict import Verdict

SOURCE = Provenance(0, 0, "c0ffee", dirty=False, environment="ab")
FORCED, SAFE = Life(Evidence(Signaled("SIGSEGV")), injected="forced"), Life(Evidence(Exited(0)), injected="safe")


def case_of(dose: float) -> Case:
    """The shipped race, with another dose."""
    case = load_scenario(shipped() / "native-addon-race.toml").case[0]
    return msgspec.structs.replace(case, victim=msgspec.structs.replace(case.victim, dose=dose))


def wild_case() -> Case:
    """The same race on a real schedule."""
    return load_scenario(shipped() / "native-addon-race.toml").case[-1]


def lived(*lives: Life, dialect: str = "upstream-4.5") -> Run:
    """A run of these lives, as many as the policy lets it have."""
    engine = Engine(Policy(5, {"maxAttempts": 5}), find(dialect), lambda: 0.5)
    return engine.run(lambda number, _: lives[number - 1])


def seen(*lives: Life) -> Seen:
    """The same, in a baseline's words."""
    return see(lived(*lives))


def entry_of(dose: float = 0.5) -> Entry:
    """An entry of four seeds from 5."""
    runs = [seen(FORCED, SAFE), seen(SAFE), seen(SAFE), seen(FORCED, FORCED, SAFE)]
    return make_entry("race[dosed]", case_of(dose), "upstream-4.5", dict(enumerate(runs, 5)), SOURCE)


def wild_entry() -> Entry:
    """An entry of a wild case in which no crash was seen."""
    case = wild_case()
    return wild_entry_of(make_entry("race[wild]", case, "upstream-4.5", {0: seen(SAFE)}, SOURCE), case.expect[0])


def baseline(*entries: Entry) -> Baseline:
    """A whole file."""
    return sealed(Baseline(2, "upstream-4.5", (), entries, (), ask_all(find("upstream-4.5"))))


def test_an_entry_has_what_was_seen_and_what_was_meant() -> None:
    """Counts, ends by frequency, design, runs by what they show; never a bare rate."""
    entry = entry_of()
    assert (entry.attempts, entry.crashes, entry.seed, entry.count) == (7, 3, 5, 4)
    assert entry.expected == ("exited 0", "SIGSEGV")
    assert (entry.p0, entry.p1, entry.alpha, entry.beta) == (0.5, (0.35, 0.65), 0.01, 0.05)
    assert entry.cap == 3 * 174
    assert (entry.provenance.n, entry.provenance.x, entry.provenance.commit) == (4, 2, "c0ffee")
    assert [lived.seeds for lived in entry.runs] == [(5,), (6, 7), (8,)]
    assert entry.conditions["victim.fault"] == "torn_publish"


@pytest.mark.parametrize(("dose", "p1"), [(0.1, (0.01, 0.25)), (0.95, (0.8, 0.99)), (1.0, ()), (0.0, ())])
def test_rates_to_be_noticed_are_clipped(dose: float, p1: tuple[float, ...]) -> None:
    """They stay where a test can tell; a dose of 0 or 1 is exact and needs none."""
    assert entry_of(dose).p1 == p1


def test_the_same_runs_deviate_nowhere() -> None:
    """Seed by seed."""
    entry = entry_of()
    assert [deviations(entry, seed, one) for seed, one in ((5, seen(FORCED, SAFE)), (6, seen(SAFE)))] == [[], []]


def other_rule(one: Seen) -> Seen:
    """The same run, called the same by another rule."""
    return msgspec.structs.replace(
        one, outcomes=tuple(msgspec.structs.replace(outcome, rule="other") for outcome in one.outcomes)
    )


@pytest.mark.parametrize(
    "strange",
    [
        seen(SAFE),
        seen(FORCED, FORCED, SAFE),
        seen(Life(Evidence(Signaled("SIGBUS")), injected="forced"), SAFE),
        see(lived(FORCED, dialect="upstream-4.4")),
        other_rule(seen(FORCED, SAFE)),
    ],
    ids=["fewer attempts", "more attempts", "another end", "another decision", "another rule"],
)
def test_a_mismatch_fails_and_says_whether_the_seed_reproduces_it(strange: Seen) -> None:
    """FAIL either way: never passed because it went away."""
    entry = entry_of()
    reasons = deviations(entry, 5, strange)
    assert len(reasons) == 1 + (strange.shows == seen(FORCED, SAFE).shows)
    same = conclude(entry, reasons, strange, strange)
    assert (same.verdict, same.reasons[0].endswith("the same seed reproduces it")) == (Verdict.FAIL, True)
    gone = conclude(entry, reasons, strange, seen(FORCED, SAFE, SAFE))
    assert gone.verdict is Verdict.FAIL
    if strange != seen(FORCED, SAFE):
        assert "nondeterministic" in conclude(entry, reasons, strange, seen(FORCED, SAFE)).reasons[0]


def test_trouble_while_it_is_lived_again_is_infra() -> None:
    """Then nothing was proved."""
    judgement = conclude(entry_of(), ["x"], seen(SAFE), Seen("", (), 0, "no memory"))
    assert (judgement.verdict, judgement.reasons) == (Verdict.INFRA, ("x; again: no memory",))


def test_a_deadline_that_is_not_meant_is_trouble() -> None:
    """So is a fault that did not fire; where they are expected, they are ends like others."""
    late = lived(Life(Evidence(Signaled("SIGKILL"), ended_by=EndedBy.DEADLINE, deadline_s=2.0)))
    unfired = lived(Life(Evidence(Exited(0), witness=Witness.DID_NOT_FIRE)))
    assert see(late, ("SIGSEGV",)).trouble == "attempt 1: it was at its deadline of 2 s"
    assert see(late, ("SIGKILL by the deadline",)).trouble == ""
    assert see(unfired, ("SIGSEGV",)).trouble == "attempt 1: the fault did not fire: nothing was proved"
    assert see(unfired, ("did not fire",)).trouble == ""


def test_a_wild_run_is_compared_by_its_classification() -> None:
    """How many attempts crash is not; an end, or a code for it, that is not the baseline's is."""
    entry = wild_entry()
    assert (entry.p0, entry.p1, entry.runs, entry.expected) == (None, (), (), ("SIGSEGV", "exited 0"))
    wild = Life(Evidence(Signaled("SIGSEGV")), injected="wild")
    for run in (seen(SAFE), seen(wild, SAFE), seen(wild, wild, wild, SAFE)):
        assert deviations(entry, 0, run) == []
    assert deviations(entry, 0, seen(Life(Evidence(Signaled("SIGBUS"))), SAFE))
    strange = msgspec.structs.replace(seen(wild, SAFE).outcomes[0], code="OTHER")
    assert deviations(entry, 0, Seen("", (strange,), 1))


def test_a_rule_that_was_seen_once_is_compared() -> None:
    """A wild end whose rule is known must be called by it; recording again does not forget the rule."""
    wild = Life(Evidence(Signaled("SIGSEGV")), injected="wild")
    case = wild_case()
    full = wild_entry_of(make_entry("race[wild]", case, "upstream-4.5", {0: seen(wild, SAFE)}, SOURCE), case.expect[0])
    assert deviations(full, 0, other_rule(seen(wild, SAFE)))
    assert keep_unchanged(full, wild_entry()) is full
    assert keep_unchanged(wild_entry(), full) == full


def test_what_has_not_changed_keeps_its_provenance() -> None:
    """A file changes where something has changed: not because it was recorded on another commit."""
    old, elsewhere = entry_of(), Provenance(4, 2, "beef", dirty=True, environment="cd")
    assert keep_unchanged(old, msgspec.structs.replace(old, provenance=elsewhere)) is old
    changed = msgspec.structs.replace(old, provenance=elsewhere, attempts=8)
    assert keep_unchanged(old, changed) is changed
    assert keep_unchanged(None, old) is old


def test_conditions_that_changed_are_named() -> None:
    """Nothing is compared under another dose, limit or policy."""
    assert changed_conditions(entry_of(0.5), case_of(0.5)) == []
    assert changed_conditions(entry_of(0.5), case_of(0.4)) == [
        "victim.dose: recorded with 0.5, now 0.4: record it again"
    ]
    assert "expect" not in str(conditions(case_of(0.5)))


def test_changed_tables_are_named_row_by_row() -> None:
    """4.4 against 4.5: the two rows that the fix was about come first."""
    old, new = (ask_all(one) for one in (find("upstream-4.5"), find("upstream-4.4")))
    assert changed_tables(old, old) == []
    reasons = changed_tables(old, new)
    assert reasons[0].startswith("TASK_PROCESS_SIGSEGV: recorded retriable=True")
    assert reasons[1].startswith("TASK_MIDDLEWARE_ERROR: recorded")


# --- the file ---


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    """Written and read: the same records; written again: the same bytes."""
    path, whole = tmp_path / "baseline.toml", baseline(entry_of(), wild_entry())
    save(path, whole)
    assert load(path) == whole
    assert text(load(path)) == path.read_text()
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_reason_comes_back(tmp_path: Path) -> None:
    """With whatever is in it."""
    accepted = Acceptance('it\'s "known"\n\x7f\\ ☃', ("status: another",), "an owner", "2030-01-31")
    save(tmp_path / "b.toml", baseline(msgspec.structs.replace(entry_of(), accepted=accepted)))
    assert load(tmp_path / "b.toml").case[0].accepted == accepted


def edited(old: str, new: str, tmp_path: Path) -> str:
    """The error of a file in which a person changed something."""
    path = tmp_path / "b.toml"
    whole = text(baseline(entry_of()))
    assert old in whole
    path.write_text(whole.replace(old, new, 1))
    with pytest.raises(InvalidInputError) as caught:
        load(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version = 2", "version = 1", "version"),
        ("count = 4", "count = 4\nsurprise = 1", "case[0]"),
        ("count = 4", "count = 5", "case[0].runs: expected a run of each of 5 seeds from 5"),
        ("seeds = [5]", "seeds = [9]", "case[0].runs: expected a run of each of 4 seeds from 5"),
        ("policy small-1x > exited 0", "policy small-2x > exited 0", "case[0].digest: it is not that of"),
        ("looked_up = false", "looked_up = true", "digest: it is not that of the file's other members"),
        ("p1 = [", "p1 = [0.99, ", "digest: it is not that of the file's other members"),
        ('tier = "dosed"', 'tier = "dozed"', "case[0].tier"),
        ("version = 2", "version = ", "Invalid value (at line"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(old: str, new: str, reason: str, tmp_path: Path) -> None:
    """Closed schema, known version, digests that are those of the rows."""
    assert reason in edited(old, new, tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is wrong use."""
    with pytest.raises(InvalidInputError, match="No such file"):
        load(tmp_path / "none.toml")


def test_a_file_that_can_not_be_written_is_left_alone(tmp_path: Path) -> None:
    """The old one stays, nothing lies about."""
    with pytest.raises(InvalidInputError, match=r"b\.toml: "):
        save(tmp_path / "none" / "b.toml", baseline())
    blocked = tmp_path / "b.toml"
    blocked.mkdir()
    (blocked / "kept").touch()
    with pytest.raises(InvalidInputError, match=r"b\.toml: "):
        save(blocked, baseline())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.toml"]


names = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.one_of(names, st.integers(-(2**60), 2**60), st.booleans(), st.floats(allow_nan=False))
flat = st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=4)
rows = st.lists(flat, min_size=1, max_size=3)
nested = st.dictionaries(names, st.one_of(scalars, flat, rows, st.dictionaries(names, rows, max_size=2)), max_size=4)


@pytest.mark.long
@pytest.mark.slow
@given(nested, st.lists(nested, max_size=2))
def test_tomllib_reads_what_was_written(table: dict[str, Any], sections: list[dict[str, Any]]) -> None:
    """Any table of strings, numbers, lists, rows and sections."""
    whole = {**table, "sections": sections}
    assert tomllib.loads(document(whole, "a\nremark")) == whole


def test_rows_are_lines() -> None:
    """What changes in a row changes one line."""
    assert document({"a": 1, "rows": [{"x": 1.5, "y": True}, {"x": "z"}]}) == (
        'a = 1\nrows = [\n    { x = 1.5, y = true },\n    { x = "z" },\n]\n'
    )


def test_outcomes_are_ordered() -> None:
    """So that a file does not change with the order of threads."""
    entry = entry_of()
    assert list(entry.outcomes) == sorted(entry.outcomes)
    assert isinstance(entry.outcomes[0], AttemptKind)
