"""crash-harness classify and decide: JSON lines in, JSON lines out, one answer a line, at once."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import click
import msgspec

from harness.cli.lines import bounded, lines, source
from harness.cli.options.common import dialect_option, seed_option
from harness.cli.output import emit
from harness.dialects.custom import opened
from harness.engine.draw import draw
from harness.evidence import Evidence
from harness.exceptions import InvalidInputError
from harness.reading import read_table
from harness.wire import javascript
from harness.wire.errors import UnexpectedError
from harness.wire.request import Request, RunNotFoundError, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.wire.schema import Schema


def _filter(file: IO[bytes], answer: Callable[[int, bytes], object]) -> int:
    """Answer each line; an invalid one gets {"invalid": …} in its place. Returns the exit code."""
    code = 0
    for number, line in enumerate(lines(file), 1):
        try:
            emit(answer(number, bounded(line)))
        except (ValueError, InvalidInputError) as error:
            reason = str(error) if line.strip() else "an empty line, expected a JSON object"
            emit({"invalid": f"line {number}: {reason}"})
            code = InvalidInputError.exit_code
    return code


@click.command(
    "classify",
    epilog='Example: echo \'{"termination": {"kind": "exited", "status": 139}}\' | crash-harness classify',
)
@click.argument("file", callback=source, default="-")
@dialect_option
@click.pass_context
def classify_lines(context: click.Context, file: IO[bytes], dialect: str) -> None:
    """Classify evidence: {"error", "rule", "cause"} for each line of FILE."""
    with opened(dialect) as chosen:

        def answer(_: int, line: bytes) -> object:
            return chosen.classify(read_table(javascript.read(line, exact=True), Evidence))

        code = _filter(file, answer)
    context.exit(code)


def _request(value: object, schema: Schema) -> Request:
    """Read a request as the dialect's schema lets it through; what is wrong with it is said in our words."""
    try:
        return parse_request(value, schema)
    except msgspec.ValidationError:
        read_table(value, Request)
        raise


@click.command("decide", epilog="Example: crash-harness decide --dialect strict requests.jsonl")
@click.argument("file", callback=source, default="-")
@dialect_option
@seed_option
@click.pass_context
def decide_lines(context: click.Context, file: IO[bytes], dialect: str, seed: int | None) -> None:
    """Decide what becomes of a run: one decision for each line of FILE. A missing "random" is drawn from --seed."""
    with opened(dialect) as chosen:

        def answer(number: int, line: bytes) -> object:
            request = _request(javascript.read(line), chosen.schema)
            if request.random is None:
                request = msgspec.structs.replace(request, random=draw(seed or 0, number, "delay"))
            try:
                return chosen.decide(request)
            except (UnexpectedError, RunNotFoundError) as error:
                return {"raises": str(error)}

        code = _filter(file, answer)
    context.exit(code)
