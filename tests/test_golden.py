"""Every answer of the published upstream package, row by row."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import golden_table
import msgspec
import pytest
from msgspec import UNSET

from harness.dialects import find
from harness.machine import PUBLISHED
from harness.wire.codes import Code
from harness.wire.errors import TaskError, UnexpectedError, error_of_exit, parse_error
from harness.wire.policy import DEFAULTS, RetryPolicy, next_delay_ms, parse_options, parse_policy
from harness.wire.stored import sanitize
from harness.wire.truncation import MAX_FRAMES, truncate_message, truncate_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.dialects.builtin import BuiltIn
    from harness.wire.schema import Schema

VERSIONS = {version: find(name) for version, name in PUBLISHED.items()}
ROWS = {"4.4.6": 8_567, "4.5.0": 8_567, "4.8.3": 8_745}
SHOWN = 3
POLICY_MEMBERS = {field.encode_name: field.name for field in msgspec.structs.fields(RetryPolicy)}


_table = cache(golden_table.read)


# Reading a table.


def _decode(value: Any) -> Any:
    """Undo the file's encodings: a marked object stands for what JSON can't hold or would spell at length."""
    if isinstance(value, list):
        return [_decode(member) for member in value]
    return _decode_object(value) if isinstance(value, dict) else value


def _decode_object(value: dict[str, Any]) -> Any:
    match value:
        case {"$undefined": 1}:
            return UNSET
        case {"$num": name}:
            return float(name)
        case {"$repeat": [text, count]}:
            return text * count
        case {"$concat": parts}:
            return "".join(_decode(parts))
    return {key: _decode(member) for key, member in value.items()}


def _known(value: Any) -> Any:
    """Drop absent members: on the wire, undefined and absent are one. A tuple is a list there."""
    if isinstance(value, list | tuple):
        return [_known(member) for member in value]
    if isinstance(value, dict):
        return {key: _known(member) for key, member in value.items() if member is not UNSET}
    return value


def _error(members: dict[str, Any]) -> TaskError:
    return msgspec.convert(_known(members), TaskError)


def _policy(options: dict[str, Any]) -> RetryPolicy:
    """Number(null) is 0 and Number(undefined) is NaN; an undefined `randomize` is false."""
    number = {None: 0, UNSET: math.nan}
    members = {key: number.get(member, member) for key, member in options.items()}
    if "randomize" in members:
        members["randomize"] = members["randomize"] is True
    return RetryPolicy(**{POLICY_MEMBERS[key]: member for key, member in members.items()})


# Our answer to a row, in the shape of the table.


def _plain(value: Any) -> Any:
    return value if value is UNSET else msgspec.to_builtins(value)


def _parsed(parse: Callable[[object, Schema], object], schema: Schema, value: Any) -> dict[str, Any]:
    """No policy comes back as it was asked, null or undefined; which of them, the caller does not care."""
    try:
        parsed = parse(_known(value), schema)
    except ValueError:
        return {"success": False}
    return {"success": True, "data": value if parsed is None else _plain(parsed)}


def _exit(dialect: BuiltIn, end: dict[str, Any]) -> dict[str, Any]:
    error = error_of_exit(end["code"], end["signal"], end.get("stderr"), end["dockerMode"])
    enhanced = dialect.enhance(error)
    return {
        "internal": _plain(error),
        "oom": dialect.is_oom(error),
        "enhanced_code": enhanced.code,
        "retriable": dialect.is_retriable(enhanced),
        "lookup": dialect.is_looked_up(enhanced),
    }


def _internal_error(end: dict[str, Any], docker_mode: bool) -> Any:
    return _plain(error_of_exit(end["code"], end["signal"], end.get("stderr"), docker_mode))


def _sanitized(dialect: BuiltIn, members: dict[str, Any]) -> Any:
    """Upstream answers undefined for an unknown type, where we raise."""
    try:
        return _plain(sanitize(_error(members), dialect.schema))
    except UnexpectedError:
        return UNSET


def _delay(random: float, options: dict[str, Any], attempt: int) -> Any:
    delay = next_delay_ms(_policy(options), attempt, random)
    return UNSET if delay is None else delay


def _answers(dialect: BuiltIn, random: float) -> dict[str, Callable[..., Any]]:
    return {
        "calculateNextRetryDelay": partial(_delay, random),
        "classifyExit": partial(_exit, dialect),
        "defaultRetryOptions": lambda: _plain(DEFAULTS),
        "internalErrorFromUnexpectedExit": _internal_error,
        "isOOMRunError": lambda members: dialect.is_oom(_error(members)),
        "parseRetryOptions": partial(_parsed, parse_options, dialect.schema),
        "parseRetryOptionsNullish": partial(_parsed, parse_policy, dialect.schema),
        "parseTaskRunError": partial(_parsed, parse_error, dialect.schema),
        "sanitizeError": partial(_sanitized, dialect),
        "shouldLookupRetrySettings": lambda members: dialect.is_looked_up(_error(members)),
        "shouldRetryError": lambda members: dialect.is_retriable(_error(members)),
        "taskRunErrorEnhancer": lambda members: _plain(dialect.enhance(_error(members))),
        "truncateMessage": truncate_message,
        "truncateStack": lambda stack: truncate_stack(stack, MAX_FRAMES),
    }


# The comparison.


def _text(value: Any) -> str:
    """Spell a value as the text that the file's hashes are made of."""
    return json.dumps(_known(value), sort_keys=True)


def _expected(row: dict[str, Any]) -> Any:
    if "error" in row:
        return {"error": row["error"]["message"]}
    value = _decode(row["value"])
    if isinstance(value, dict) and "issues" in value:
        return {"success": False}
    return value


def _is_hash(value: Any) -> bool:
    return isinstance(value, dict) and "$sha256" in value


def _agree(expected: Any, answer: Any) -> bool:
    if _is_hash(expected):
        text = _text(answer)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return bool({"$sha256": digest, "$json_chars": len(text)} == expected)
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(answer, float) and math.isnan(answer)
    return type(answer) is type(expected) and bool(_known(answer) == _known(expected))


def _ask(answer: Callable[..., Any], row: dict[str, Any]) -> Any:
    try:
        return answer(*_decode(row["args"]))
    except UnexpectedError as error:
        return {"error": str(error)}


def _mismatches(version: str, name: str) -> list[str]:
    section = _table(version)["sections"][name]
    random = section.get("request", {}).get("random", 0)
    answer = _answers(VERSIONS[version], random)[section["fn"]]
    pairs = ((row, _expected(row), _ask(answer, row)) for row in section["rows"])
    return [
        f"{str(row['args'])[:300]}\n  expected {str(expected)[:300]}\n  got      {str(got)[:300]}"
        for row, expected, got in pairs
        if not _agree(expected, got)
    ]


SECTIONS = [(version, name) for version in VERSIONS for name in _table(version)["sections"]]


@pytest.mark.parametrize(("version", "name"), SECTIONS)
def test_every_row_of_a_section_is_answered_as_upstream_does(version: str, name: str) -> None:
    """Our answer to each row is the published package's."""
    wrong = _mismatches(version, name)
    assert not wrong, "\n".join([f"{len(wrong)} rows differ", *wrong[:SHOWN]])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sections_hold_every_row_the_file_counts(version: str) -> None:
    """No row is left out: the sections above add up to the file's own count."""
    table = _table(version)
    checked = sum(len(table["sections"][name]["rows"]) for of, name in SECTIONS if of == version)
    assert checked == table["rows"] == ROWS[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_codes_are_upstreams_in_upstreams_order(version: str) -> None:
    """The enumeration of codes is that of the package, in its order."""
    assert [code.value for code in Code] == _table(version)["codes"]


@pytest.mark.parametrize("version", VERSIONS)
def test_upstream_has_no_answer_to_one_sanitize_row(version: str) -> None:
    """Our raising `sanitize` stands for undefined in exactly one row, the one of an unknown type."""
    sections = _table(version)["sections"].values()
    rows = [row for section in sections if section["fn"] == "sanitizeError" for row in section["rows"]]
    assert [row["args"] for row in rows if _expected(row) is UNSET] == [[{"type": "NOPE"}]]
