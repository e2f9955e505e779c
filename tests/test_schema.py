"""What has come with newer versions of upstream (§17), and JSON as V8 has it: values in, values out."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dialects import BUILT_IN, find
from harness.wire import javascript
from harness.wire.codes import Code
from harness.wire.errors import Cause, Kind, TaskError, internal, parse_error, title_of
from harness.wire.policy import parse_options
from harness.wire.request import Branch, Request, RunSettings, parse_request
from harness.wire.schema import Schema
from harness.wire.stored import sanitize, well_formed

OLD, NEW = Schema(), Schema(safe_integers=True, causes=True)
THROWN = {"type": "BUILT_IN_ERROR", "name": "Error", "message": "boom", "stackTrace": ""}
CAUSED = THROWN | {"causes": [{"name": "TypeError", "message": "first", "surprise": 1}, {"message": "second"}]}
CAUSES = (Cause("first", "TypeError"), Cause("second"))
FRAMES = [f"    at f{number}" for number in range(30)]


def error(*causes: Cause) -> TaskError:
    """A thrown error with causes."""
    return TaskError(Kind.BUILT_IN, name="Error", message="boom", stack_trace="", causes=causes)


# --- causes ---


def test_causes_are_parsed_where_the_version_knows_them() -> None:
    """Older versions drop them, sound or not; newer ones drop what they don't know of a cause."""
    assert parse_error(CAUSED, NEW).causes == CAUSES
    assert not parse_error(CAUSED, OLD).causes
    assert not parse_error(THROWN | {"causes": [{"name": "x"}]}, OLD).causes


@pytest.mark.parametrize("causes", [[{"name": "x"}], [3], {}, None, [{"message": "m", "name": None}]], ids=str)
def test_a_cause_needs_a_message(causes: object) -> None:
    """And texts for what else it has."""
    with pytest.raises(ValueError, match=r"task error: .*causes"):
        parse_error(THROWN | {"causes": causes}, NEW)


@pytest.mark.parametrize(
    "kind", [{"type": "STRING_ERROR", "raw": "x"}, {"type": "INTERNAL_ERROR", "code": "POD_EVICTED"}]
)
def test_only_a_thrown_error_has_causes(kind: dict[str, Any]) -> None:
    """Elsewhere they are one more unknown member."""
    assert not parse_error(kind | {"causes": [{"name": "x"}]}, NEW).causes


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_dialect_decides_with_the_causes_that_it_knows(name: str) -> None:
    """They are in the error that people see, or nowhere; and they decide nothing."""
    dialect = find(name)
    request = parse_request({"error": CAUSED, "attempt": 1, "run": {"maxAttempts": 3}}, dialect.schema)
    decision, direct = dialect.decide(request), dialect.decide(Request(error(*CAUSES), 1, RunSettings(3)))
    for seen in (decision.enhanced, direct.enhanced):
        assert isinstance(seen, TaskError)
        assert bool(seen.causes) == dialect.schema.causes == (name in {"upstream-4.8", "strict"})
    assert decision.branch == direct.branch == Branch.NO_LOOKUP


def test_causes_are_bounded_for_storage() -> None:
    """Five of them, ten frames each, names of 256 units; what is empty is absent."""
    stored = sanitize(error(*[Cause("c", "n" * 300, "\n".join(["Error", *FRAMES]))] * 9), NEW)
    assert isinstance(stored.causes, tuple)
    kept = stored.causes[0]
    assert len(stored.causes) == 5
    assert kept.name == "n" * 256
    assert str(kept.stack_trace).split("\n") == [
        *("Error", *FRAMES[:5]),
        *("    ... 20 frames omitted ...", *FRAMES[-5:]),
    ]
    assert sanitize(error(Cause("m\0", "", "\0")), NEW).causes == (Cause("m"),)
    assert not sanitize(error(), NEW).causes
    assert not sanitize(error(*CAUSES), OLD).causes


def test_a_deadlock_keeps_its_causes_but_for_an_empty_list() -> None:
    """Which every other error keeps too: upstream builds this one anew."""
    newest, deadlock = find("upstream-4.8"), {"name": "TriggerApiError", "message": "Deadlock detected: x"}
    for causes, kept in ((CAUSES, CAUSES), ((), msgspec.UNSET)):
        raw = error(*causes)
        assert newest.enhance(msgspec.structs.replace(raw, causes=causes, **deadlock)).causes == kept
        assert newest.enhance(msgspec.structs.replace(raw, causes=causes)).causes == causes


def test_an_error_is_called_by_its_causes_too() -> None:
    """As it is shown in a decision trail; a half of a pair in one of them is mended before it is encoded."""
    assert title_of(error(*CAUSES)) == "Error: boom, caused by TypeError: first, caused by an error: second"
    assert title_of(internal(Code.POD_EVICTED)) == "POD_EVICTED"
    assert well_formed(error(Cause("\ud800"))).causes == (Cause("\ufffd"),)


# --- safe integers ---


@pytest.mark.parametrize("member", ["maxAttempts", "minTimeoutInMs", "maxTimeoutInMs"])
@pytest.mark.parametrize(
    ("value", "is_safe"), [(2**53 - 1, True), (1 - 2**53, True), (2**53, False), (-(2**53), False)]
)
def test_an_integer_must_be_safe(member: str, value: int, is_safe: bool) -> None:
    """Within 2^53 - 1, either way; older versions take any."""
    assert parse_options({member: value}, OLD)
    if is_safe:
        assert parse_options({member: value}, NEW)
        return
    with pytest.raises(ValueError, match=rf"within 2\^53 - 1 - at `\$\.{member}`"):
        parse_options({member: value}, NEW)


def test_a_factor_must_be_finite() -> None:
    """It need not be safe: it is no integer."""
    assert parse_options({"factor": 2**60}, NEW)
    assert parse_options({"factor": float("inf")}, OLD)
    with pytest.raises(ValueError, match="factor"):
        parse_options({"factor": float("inf")}, NEW)


def test_the_time_of_a_retry_is_a_double() -> None:
    """Beyond 2^53 a sum loses its last bit, as it does upstream."""
    run = RunSettings(5, {"maxAttempts": 5, "minTimeoutInMs": 1000, "randomize": False})
    for name in ("upstream-4.5", "upstream-4.8"):
        decision = find(name).decide(Request(internal(Code.TASK_PROCESS_SIGTERM), 1, run, now=2**53 - 1))
        assert decision.settings
        assert decision.settings.timestamp == 2**53 + 1000


# --- JSON as V8 has it ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0", 1),
        ("1e3", 1000),
        ("1e999", float("inf")),
        ("-" + "9" * 400, float("-inf")),
        ("9007199254740993", 9007199254740992),
        (r'"\ud800"', "\ud800"),
        (r'"\ud83d\udca5"', "\U0001f4a5"),
        ("[0.5]", [0.5]),
    ],
)
def test_what_v8_takes_is_read(text: str, value: object) -> None:
    """Halves of pairs, and every number as the double that it stands for."""
    assert javascript.read(text.encode()) == value


def test_evidence_keeps_its_digits() -> None:
    """An address is no double."""
    assert javascript.read(b"18446744073709551615", exact=True) == 2**64 - 1
    assert javascript.read(b"9" * 400, exact=True) == float("inf")


@pytest.mark.parametrize("line", [b"NaN", b"[-Infinity]", b"", b"\xff", b'"\x01"', b"[" * 100_000, b"{} {}", b"'x'"])
def test_what_v8_refuses_is_refused(line: bytes) -> None:
    """With a ValueError, however deep."""
    with pytest.raises(ValueError, match=r"malformed|deep|not UTF-8"):
        javascript.read(line)


TEXTS = st.text(st.characters(exclude_categories=()))


@pytest.mark.long
@given(st.recursive(st.none() | st.booleans() | TEXTS, lambda one: st.lists(one) | st.dictionaries(TEXTS, one)))
def test_what_is_written_is_read_back(value: object) -> None:
    """Any text, halves of pairs included; two of them that meet are a pair."""
    assert javascript.read(javascript.write(value)) == json.loads(json.dumps(value))
    assert javascript.read(javascript.write_indented(value)) == json.loads(json.dumps(value))
