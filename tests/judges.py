"""Judges of a user's, sound and hostile, as functions. Each is called with a kind and a question."""

import ctypes
import os
import sys
import threading
from typing import Any


def ask(kind: str, question: dict[str, Any]) -> Any:
    """Answer as strict does."""
    import msgspec  # noqa: PLC0415 -- the others need nothing

    from harness.dialects import find  # noqa: PLC0415 -- as above
    from harness.evidence import Evidence  # noqa: PLC0415 -- as above
    from harness.wire.request import Request  # noqa: PLC0415 -- as above

    strict = find("strict")
    if kind == "classify":
        return strict.classify(msgspec.convert(question, Evidence))
    return strict.decide(msgspec.convert(question, Request))


def throw(kind: str, _: object) -> Any:
    """Throw."""
    raise ZeroDivisionError(kind)


def babble(*_: object) -> Any:
    """Answer what is no classification."""
    return {"error": 7}


def unspeakable(*_: object) -> Any:
    """Answer what is no JSON."""
    return object()


def no_run(*_: object) -> Any:
    """Raise as upstream does."""
    return {"raises": "Run not found"}


def leave(*_: object) -> Any:
    """End the process as if all were well."""
    sys.exit(0)


def vanish(*_: object) -> Any:
    """End it without a word."""
    os._exit(0)


def crash(*_: object) -> Any:
    """Read the null page."""
    return ctypes.string_at(0)


def hang(*_: object) -> Any:
    """Wait for what never comes."""
    threading.Event().wait()


def intrude(*_: object) -> Any:
    """Write to the descriptor of the answers."""
    for fd in range(3, 9):
        try:
            os.write(fd, b"nonsense\n")
        except OSError:
            continue
    os._exit(0)


def half_a_pair(*_: object) -> Any:
    """Answer a text that UTF-8 has no bytes for."""
    return {"error": None, "rule": "\ud800", "cause": ""}


def unknown_code(*_: object) -> Any:
    """Answer an error that the schema refuses."""
    return {"error": {"type": "INTERNAL_ERROR", "code": "NO_SUCH_CODE"}, "rule": "", "cause": ""}


def chat(*_: object) -> Any:
    """Print, and try to read the next question."""
    print("thinking", flush=True)  # noqa: T201 -- that is the point
    return {"error": None, "rule": "", "cause": sys.stdin.read() or "nothing on stdin"}
