"""crash-harness replay: one trial of a history again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.cli.options.common import dialect_option, dialect_or, json_option
from harness.cli.output import emit_pretty, write
from harness.dialects.custom import opened_all
from harness.exceptions import InvalidInputError
from harness.experiments.firing import GroupRunner
from harness.experiments.kept import experiments_of
from harness.experiments.kept import trial as find_trial
from harness.journal import read
from harness.scenarios.verdict import Verdict, exit_code

if TYPE_CHECKING:
    from harness.experiments.tally import Trial
    from harness.experiments.variant import Variant
    from harness.journal import Reading

COMPARED = ("injected", "ended", "code", "cause", "branch", "si_code")


def _variant(reading: Reading, name: str | None) -> Variant:
    variants = {variant.name: variant for one in experiments_of(reading) for variant in one.variants}
    if name is None and len(variants) == 1:
        return next(iter(variants.values()))
    if name not in variants:
        raise InvalidInputError(f"--variant: expected one of {', '.join(map(repr, variants))}")
    return variants[name]


def differences(then: Trial, now: Trial) -> list[str]:
    """What came out otherwise."""
    pairs = [(name, getattr(then, name), getattr(now, name)) for name in COMPARED]
    return [f"{name}: {old or 'none'} then, {new or 'none'} now" for name, old, new in pairs if old != new]


@click.command(epilog="Example: crash-harness replay flaky.sqlite --trial 17")
@click.argument("history", type=click.Path(path_type=Path))
@click.option("--trial", type=click.IntRange(1), required=True, help="Its number, counted from 1.")
@click.option("--variant", help="Which, where the history has several.")
@json_option
@dialect_option
@click.pass_context
def replay(
    context: click.Context,
    history: Path,
    trial: int,
    variant: str | None,
    as_json: bool,
    dialect: str,
) -> None:
    """Run one trial of HISTORY again, as it was, and say whether it comes out the same.

    It is judged under its own dialect, unless --dialect or --classifier names another.

    Exit code 0 when it does; 1 when it does not and the outcome is decided by the seed; 4 when it is left to chance.
    """
    with read(history) as reading:
        chosen = _variant(reading, variant)
        then = find_trial(reading, chosen.name, trial)
    if then is None:
        raise InvalidInputError(f"{history}: {chosen.name} has no trial {trial}")
    asked = msgspec.structs.replace(chosen, dialect=dialect_or(context, dialect, chosen.dialect))
    now = _again(asked, trial)
    changed = differences(then, now)
    verdict = Verdict.PASS if not changed else Verdict.UNKNOWN if chosen.is_wild else Verdict.FAIL
    if as_json:
        emit_pretty({"verdict": verdict, "differences": changed, "then": then, "now": now})
    seen = ", ".join(filter(None, (now.ended, now.cause, now.code)))
    write(f"{verdict} {chosen.name} trial {trial}: {seen}", err=as_json)
    for line in changed:
        write(f"  {line}", err=as_json)
    context.exit(exit_code([verdict]))


def _again(variant: Variant, number: int) -> Trial:
    with opened_all([variant.dialect]) as dialects, closing(GroupRunner(None, dialects)) as runner:
        (again,) = runner.fire(variant, [number])
    return again
