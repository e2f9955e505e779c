"""Child-side script: reads a call from descriptor 5, calls the function, writes the result or the exception back.

    python -P function.py

Descriptor 5 is a file of fixed size: length, CRC-32 and a payload. The question is a line of JSON that says what to
call and where to import it from, then the arguments as JSON; the answer is a JSON object with one member: value, thrown
or mistake. What the function prints, and how its process ends, are the function's own. Only the standard library is
imported here, and as little of it as may be before the user's own path is in place.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType
    from typing import Any

CHANNEL_FD = 5
CHANNEL_BYTES = 4 << 20
HEADER_BYTES = 8
ROOM_BYTES = CHANNEL_BYTES - HEADER_BYTES - len(b'{"value":}')
DEEPEST = 200
MOST_TEXT = 1 << 16
MOST_CAUSES, MOST_CAUSE_TEXT = 8, 1 << 13
MAIN = "__harness_main__"
IMPORTING = "harness_is_importing"  # an attribute of sys: True while the job is imported, a text where that went wrong


class Mistake(Exception):  # noqa: N818 -- not an error of the function's
    """A mistake of the caller's, which another attempt can't mend."""


def pack(payload: bytes) -> bytes:
    """Put length and CRC-32 (4 bytes each, little-endian) before the payload."""
    import zlib  # noqa: PLC0415 -- the same code runs in the child, which imports late

    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload


def unpack(data: bytes) -> bytes | None:
    """Return the payload; None for anything that is not whole."""
    import zlib  # noqa: PLC0415 -- as above

    length, checksum = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
    payload = data[HEADER_BYTES : HEADER_BYTES + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def encode(value: object) -> bytes:
    """Encode as JSON in UTF-8. Raises Mistake for what can't travel, whatever the value's own methods raise."""
    import json  # noqa: PLC0415 -- as above

    try:
        payload = json.dumps(value, allow_nan=False, ensure_ascii=False, default=_refuse).encode()
    except UnicodeEncodeError as error:
        raise Mistake(f"a text with a lone surrogate, {error.object[error.start]!a}, can't travel") from None
    except RecursionError:
        raise Mistake(f"nested deeper than {DEEPEST}, which can't travel") from None
    except Exception as error:  # noqa: BLE001 -- a value may be of a class of the user's
        kinds = "dict, list, str, int, float, bool and None"
        raise Mistake(f"{error}; only {kinds} can travel") from None
    if _depth(payload) > DEEPEST:
        raise Mistake(f"nested deeper than {DEEPEST}, which can't travel")
    if len(payload) > ROOM_BYTES:
        raise Mistake(f"{len(payload)} bytes as JSON, of which {ROOM_BYTES} fit")
    return payload


def _refuse(value: object) -> object:
    raise TypeError(f"a value of type {type(value).__qualname__} is nothing that JSON has")


def _depth(payload: bytes) -> int:
    """Count how deep brackets are nested, but for those in texts."""
    import re  # noqa: PLC0415 -- as above

    depth = deepest = 0
    for bracket in re.findall(rb"[\[\]{}]", re.sub(rb'"[^"\\]*(?:\\.[^"\\]*)*"', b"", payload)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(depth, deepest)
    return deepest


def _found(asked: "dict[str, Any]") -> "Callable[..., object]":
    """Import the module, or the script under another name, and find the function in it. Raises Mistake."""
    setattr(sys, IMPORTING, True)
    try:
        found: object = _script(asked["file"], asked["package"]) if asked["file"] else _module(asked["module"])
    except (Exception, SystemExit) as error:
        wrong = getattr(sys, IMPORTING)
        if isinstance(wrong, str):
            raise Mistake(wrong) from None
        if isinstance(error, SystemExit):
            raise Mistake("its file ends the process when it is imported; let that stand below a guard") from None
        raise
    finally:
        delattr(sys, IMPORTING)
    for part in asked["name"].split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise Mistake("it is not there when its file is imported; define it at the top level, above any guard")
    return found


def _module(name: str) -> "ModuleType":
    import importlib  # noqa: PLC0415 -- as above

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise Mistake(f"another process finds no module {error.name!r}") from None
        raise


def _script(file: str, package: "str | None") -> "ModuleType":
    """Import a script as multiprocessing does: its `__main__` guard is false, and its names are in __main__ too."""
    from types import ModuleType  # noqa: PLC0415 -- as above

    module = ModuleType(MAIN)
    module.__file__, module.__package__ = file, package
    sys.modules[MAIN] = sys.modules["__main__"] = module
    with open(file, "rb") as script:  # noqa: PTH123 -- as above
        code = compile(script.read(), file, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 -- the user's own script
    return module


def _finished(awaitable: "Awaitable[object]") -> object:
    import asyncio  # noqa: PLC0415 -- as above

    async def finish() -> object:
        return await awaitable

    return asyncio.run(finish())


def _thrown(error: BaseException) -> "dict[str, object]":
    """The error's own texts, and those of the errors that it was raised from or while handling, the nearest first."""
    texts, causes = _texts(error, MOST_TEXT, chain=True), list[object]()
    seen: BaseException | None = error
    while seen is not None and len(causes) < MOST_CAUSES:
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        if seen is not None:
            causes.append(_texts(seen, MOST_CAUSE_TEXT, chain=False))
    return {"thrown": {**texts, "causes": causes}}


def _texts(error: BaseException, most: int, *, chain: bool) -> "dict[str, str]":
    """Name, message and stack; whatever can't travel of them is escaped, and what is too long is cut."""
    import traceback  # noqa: PLC0415 -- as above

    try:
        message, stack = str(error), "".join(traceback.format_exception(error, chain=chain))
    except Exception as failed:  # noqa: BLE001 -- an exception's own methods may raise
        message, stack = f"a text that can't be had: {type(failed).__name__}", ""
    texts = {"name": type(error).__name__, "message": message[:most], "stack": stack[-most:]}
    return {name: text.encode(errors="backslashreplace").decode() for name, text in texts.items()}


def _answer(asked: "dict[str, Any]", arguments: "dict[str, Any]") -> bytes:
    try:
        value = _found(asked)(*arguments["args"], **arguments["kwargs"])
        if hasattr(type(value), "__await__"):
            value = _finished(value)  # type: ignore[arg-type]  # it has __await__
    except Mistake as mistake:
        return encode({"mistake": str(mistake)})
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is the answer
        return encode(_thrown(error))
    try:
        return b'{"value":' + encode(value) + b"}"
    except Mistake as mistake:
        return encode({"mistake": f"its result: {mistake}"})


def main() -> int:
    """Call the function, and answer."""
    import json  # noqa: PLC0415 -- as above
    import os  # noqa: PLC0415 -- as above

    os.set_inheritable(CHANNEL_FD, False)
    payload = unpack(os.pread(CHANNEL_FD, CHANNEL_BYTES, 0))
    if payload is None:
        sys.stderr.write("no channel on descriptor 5: a job is started by a supervisor only\n")
        return 2
    asked, arguments = map(json.loads, payload.split(b"\n"))
    sys.path[:], sys.argv[:] = asked["path"], asked["argv"]
    os.pwrite(CHANNEL_FD, pack(_answer(asked, arguments)), 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
