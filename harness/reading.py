"""Reads TOML files and JSON that somebody wrote into records. Schemas are closed; an error is one line.

The line says where (file and key), what was expected, what was given instead, and which name was near. Data that can't
be decoded at all (nested too deeply, integers of a thousand digits, bytes that are not UTF-8) is such an error too.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import inspect

from harness.exceptions import InvalidInputError, near, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Shape = TypeVar("Shape")

MOST_LISTED = 12
MOST_BYTES = 8 << 20
AT = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
MISSING_KEY = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
PATTERN = re.compile(r"Expected `str` matching regex .*", re.DOTALL)
WRONG = re.compile(r"Expected (.*?)(?:, got (.*))?", re.DOTALL)
ALTERNATIVES = re.compile(r"\^\(([A-Z_|]+)\)\$")
WORDS = (
    (r"^Number out of range$", "a number of 64 bits"),
    (r"`([^`]*)`", r"\1"),
    (r" \| null\b", ""),
    (r"\barray\b", "a list"),
    (r"\bobject\b", "a table"),
    (r"\bfloat\b", "a number"),
    (r"\bint\b", "a whole number"),
    (r"\bstr\b", "text"),
    (r"\bbool\b", "true or false"),
    (r" \| ", " or "),
    (r" of length >= ", " with at least "),
    (r" >= ", " of at least "),
    (r" <= ", " of at most "),
    (r" > ", " above "),
    (r" < ", " below "),
    (r"\.0\b", ""),
)
STEP = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def read_file(path: Path, *, pipes: bool = False) -> str:
    """Read a text file that a user named; with `pipes` also a pipe, as a shell's <(…) gives one.

    Raises InvalidInputError for what can't be read, is not UTF-8, or is too long, as a device without end is.
    """
    try:
        if path.is_fifo() and not pipes:  # to open one waits for whoever writes to it
            raise InvalidInputError(f"{path}: it is a pipe, expected a file")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(f"{path}: {error.strerror}") from error
    if len(text) > MOST_BYTES:
        raise InvalidInputError(f"{path}: it has more than {MOST_BYTES >> 20} MiB")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: it is not UTF-8") from error


def read_toml(path: Path, shape: type[Shape], more: Mapping[str, object] | None = None) -> Shape:
    """Read a TOML file as a `shape`, with `more` members that are not the file's. Raises InvalidInputError."""
    try:
        table = tomllib.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: {_no_document(error, 'TOML')}") from error
    return read_table({**table, **(more or {})}, shape, f"{path}: ")


def read_table(table: object, shape: type[Shape], where: str = "") -> Shape:
    """Read what was decoded already as a `shape`. Raises InvalidInputError, which begins with `where`."""
    try:
        return msgspec.convert(table, shape)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"{where}{explain(str(error), shape, table)}") from error
    except InvalidInputError as error:  # a record that checks itself doesn't know where it stands
        raise InvalidInputError(f"{where}{error}") from error
    except RecursionError as error:
        raise InvalidInputError(f"{where}{_no_document(error, 'data')}") from error


def _no_document(error: Exception, language: str) -> str:
    """Say why a text could not be decoded."""
    if isinstance(error, RecursionError):
        return f"no {language} that can be read: it is nested too deeply"
    if "integer string conversion" in str(error):
        return f"no {language} that can be read: it has an integer of more digits than any number here"
    return f"no {language}: {error}"


def explain(message: str, shape: Any, data: object) -> str:
    """Put msgspec's message about `data`, which is not of that `shape`, into words of ours, and add what was near."""
    found = AT.fullmatch(message)
    what, path = (found[1], found[2] or "") if found else (message, "")
    places, given = list(_walk([inspect.type_info(shape)], path)), _value(data, path)
    instead = "" if given is msgspec.UNSET else f", not {shown(given)}"
    path = path.replace("[...]", "")
    if key := UNKNOWN_KEY.fullmatch(what):
        known = list(_keys(places))
        return f"{_joined(path, key[1])}: there is no such key{_hint(key[1], known)}"
    if key := MISSING_KEY.fullmatch(what):
        return f"{_joined(path, key[1])}: expected, and it is not there"
    if known := list(_values(places)):
        return f"{path}: expected one of {_listed(known)}{instead}{near(given, known)}"
    wrong = WRONG.fullmatch(what)
    wanted = _description(places) if PATTERN.fullmatch(what) else _in_words(wrong[1] if wrong else what)
    return f"{path or 'it'}: expected {wanted}{instead}"


def _in_words(wanted: str) -> str:
    """Say "a number above 0" for "`float` > 0.0"."""
    for pattern, words in WORDS:
        wanted = re.sub(pattern, words, wanted)
    return wanted


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _hint(given: object, known: list[str]) -> str:
    """Name the nearest; where none is near, list them."""
    return near(given, known) or (f"; expected one of {_listed(known)}" if known else "")


def _listed(known: list[str]) -> str:
    return ", ".join(known[:MOST_LISTED]) + (", …" if len(known) > MOST_LISTED else "")


def _value(data: Any, path: str) -> object:
    """Return what stands at a path of msgspec's, as far as the path says it."""
    for key, index in STEP.findall(path):
        try:
            data = data[key] if key else data[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    return data


def _walk(types: Iterable[inspect.Type], path: str) -> Iterator[inspect.Type]:
    """Return the types that may stand at a path, all members of a union."""
    places = list(_members(types))
    for key, _ in STEP.findall(path):
        below = [one for place in places for one in _below(place, key)]
        places = list(_members(below))
    return iter(places)


def _members(types: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    for one in types:
        plain = _plain(one)
        if isinstance(plain, inspect.UnionType):
            yield from _members(plain.types)
        else:
            yield one


def _plain(one: inspect.Type) -> inspect.Type:
    return one.type if isinstance(one, inspect.Metadata) else one


def _below(place: inspect.Type, key: str) -> Iterator[inspect.Type]:
    """Return the types one step below a type: under `key` in a record, or of the elements where `key` is empty."""
    place = _plain(place)
    if isinstance(place, inspect.StructType):
        yield from (field.type for field in place.fields if field.encode_name == key)
        if key == place.tag_field:
            yield inspect.LiteralType((place.tag,))
    elif isinstance(place, inspect.DictType):
        yield place.value_type
    elif isinstance(place, inspect.ListType | inspect.VarTupleType | inspect.SetType) and not key:
        yield place.item_type
    elif isinstance(place, inspect.TupleType) and not key:
        yield from place.item_types


def _keys(places: Iterable[inspect.Type]) -> Iterator[str]:
    for place in map(_plain, places):
        if isinstance(place, inspect.StructType):
            yield from (field.encode_name for field in place.fields)


def _values(places: Iterable[inspect.Type]) -> Iterator[str]:
    for place in map(_plain, places):
        if isinstance(place, inspect.EnumType):
            yield from (str(one.value) for one in place.cls)
        elif isinstance(place, inspect.LiteralType):
            yield from map(str, place.values)
        elif isinstance(place, inspect.StrType) and (words := ALTERNATIVES.fullmatch(place.pattern or "")):
            yield from words[1].split("|")


def _description(places: Iterable[inspect.Type]) -> str:
    """What a text must look like: in the words of its own description, else as its pattern."""
    for place in places:
        plain = _plain(place)
        if isinstance(plain, inspect.StrType) and plain.pattern:
            schema = (place.extra_json_schema or {}) if isinstance(place, inspect.Metadata) else {}
            return str(schema.get("description", f"text like {plain.pattern}"))
    return "another text"
