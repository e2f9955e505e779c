"""Child-side script: calls a judge that is a Python function of the user's. It reads and writes JSON lines.

    python -P judge.py PATH MODULE NAME

PATH is the path to import by, as JSON. A question is `{"kind", "question"}`, and `{}` asks only whether the function is
there. Answers: `{"value": …}`, `{"thrown": "…"}`, `{"refused": "…"}` where it can't be imported. What the function
prints goes to stderr, and stdin is empty to it: neither gets between question and answer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import msgspec


def find(module: str, name: str) -> Any:
    """Import the function. Raises whatever that raises, and TypeError for what can't be called."""
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    if not callable(function):
        raise TypeError("it can't be called")
    return function


def answer(function: Any, line: bytes) -> bytes:
    """Answer one question; whatever is thrown is an answer too."""
    asked = json.loads(line)  # unlike msgspec it takes half a surrogate pair
    try:
        value = function(asked["kind"], asked["question"]) if asked else None
        return msgspec.json.encode({"value": value})
    except BaseException as error:  # noqa: BLE001 -- SystemExit is one of them
        return _says("thrown", error)


def _says(what: str, error: BaseException) -> bytes:
    return json.dumps({what: f"{type(error).__name__}: {error}".removesuffix(": ")}).encode()


def main(arguments: list[str]) -> int:
    """Answer until there are no more questions."""
    path, module, name = arguments
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.path[:] = json.loads(path)
    refused, function = b"", None
    try:
        function = find(module, name)
    except BaseException as error:  # noqa: BLE001 -- as above
        refused = _says("refused", error)
    for line in questions:
        answers.write((refused or answer(function, line)) + b"\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
