"""The golden table of a version of the published upstream package: its own answers, row by row.

    python tests/differential.py --table 4.8.3      # writes tests/data/truth-4.8.3.json.gz

What is asked is what the table of 4.5.0 asks, and what has come since: causes, and integers that are not safe.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

from harness.machine import published_folder

DATA = Path(__file__).parent / "data"
SCRIPT = Path(__file__).parent.parent / "harness" / "conformance" / "engines" / "upstream.mjs"
ASKED = "4.5.0"
ERROR = {"type": "BUILT_IN_ERROR", "name": "Error", "message": "boom", "stackTrace": "Error: boom"}
FRAMES = [f"    at f{number} (a.js:{number}:1)" for number in range(12)]
CAUSE = {"name": "TypeError", "message": "first", "stackTrace": "TypeError: first\n    at f (a.js:1:1)"}
CAUSES: list[Any] = [
    *([CAUSE] * count for count in (0, 1, 2, 5, 6, 9)),
    *([{key: CAUSE[key] for key in CAUSE if key != absent}] for absent in ("name", "stackTrace")),
    *([CAUSE | {key: ""}] for key in CAUSE),
    *([CAUSE | {key: "a\0b"}] for key in CAUSE),
    *([CAUSE | {"name": {"$repeat": ["n", count]}}] for count in (255, 256, 257)),
    *([CAUSE | {"message": {"$repeat": ["m", count]}}] for count in (1000, 1001)),
    *([CAUSE | {"stackTrace": {"$repeat": ["s", count]}}] for count in (1024, 1025)),
    *([CAUSE | {"stackTrace": "\n".join(["Error: x", *FRAMES[:count]])}] for count in (9, 10, 11, 12)),
    [CAUSE | {"name": {"$repeat": ["\U0001f4a5", 129]}}],
]
WILD: list[Any] = [{"name": "x"}, "x", 3, None, [CAUSE | {"surprise": 1}]]
WILD += [[one] for one in ({"name": "x"}, "x", None, CAUSE | {"name": None})]
LIMITS = [sign * (2**53 + more) for sign in (1, -1) for more in (-1, 0, 1, 2)]
BEYOND: list[Any] = [*LIMITS, 10**20, {"$num": "Infinity"}, {"$num": "-Infinity"}]
INTEGERS = ("maxAttempts", "minTimeoutInMs", "maxTimeoutInMs", "factor")


def added() -> dict[str, dict[str, Any]]:
    """What is asked beyond the older table, in its shape but for the answers."""
    caused = [ERROR | {"causes": causes} for causes in CAUSES]
    deadlock = ERROR | {"name": "TriggerApiError", "message": "Deadlock detected: x", "causes": [CAUSE]}
    elsewhere = [{"type": "STRING_ERROR", "raw": "x", "causes": [CAUSE]}, {"type": "NOPE", "causes": [CAUSE]}]
    wild = [ERROR | {"causes": causes} for causes in WILD]
    options = [{name: value} for name in INTEGERS for value in BEYOND]
    asked = {
        "causes/parseTaskRunError": ("parseTaskRunError", [*caused, *wild, *elsewhere]),
        "causes/sanitizeError": ("sanitizeError", caused),
        "causes/taskRunErrorEnhancer": ("taskRunErrorEnhancer", [*caused, deadlock]),
        "safe/parseRetryOptions": ("parseRetryOptions", options),
        "safe/parseRetryOptionsNullish": ("parseRetryOptionsNullish", options),
    }
    return {name: {"fn": fn, "rows": [{"args": [one]} for one in values]} for name, (fn, values) in asked.items()}


def read(version: str) -> dict[str, Any]:
    """Read a table."""
    with gzip.open(DATA / f"truth-{version}.json.gz") as file:
        table: dict[str, Any] = json.load(file)
    return table


def ask(version: str) -> dict[str, Any]:
    """Have the package answer all rows."""
    sections: dict[str, Any] = read(ASKED)["sections"] | added()
    questions = [
        {"fn": one["fn"], "args": row["args"], "random": one.get("request", {}).get("random", 0)}
        for one in sections.values()
        for row in one["rows"]
    ]
    codes, *answers = _answers(version, [{"fn": "codes", "args": [], "random": 0}, *questions])
    told = iter(answers)
    for one in sections.values():
        one["rows"] = [{"args": row["args"], **next(told)} for row in one["rows"]]
    return {"core": version, "codes": codes["value"], "sections": sections, "rows": len(answers)}


def _answers(version: str, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    command = ["node", str(SCRIPT), str(published_folder(version)), "table"]
    text = "".join(json.dumps(one) + "\n" for one in questions)
    ran = subprocess.run(command, input=text, capture_output=True, check=True, text=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def write(version: str) -> Path:
    """Write the table of a version; the same answers make the same file."""
    path = DATA / f"truth-{version}.json.gz"
    text = json.dumps(ask(version), separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path
