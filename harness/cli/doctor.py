"""crash-harness doctor: what this machine can do."""

from __future__ import annotations

import click

from harness.cli.options.common import json_option
from harness.cli.output import emit_pretty, write
from harness.exceptions import InfraError
from harness.machine import Capability, capabilities, surroundings, why_not, witnesses
from harness.report.words import counted
from harness.scenarios.campaign import title_of
from harness.scenarios.schema import load_all, shipped
from harness.supervisor import Shot, supervise

PROOF_S = 30.0


def _proof() -> Capability:
    """Make one real crash: nothing else shows that all the parts work together."""
    try:
        evidence = supervise(Shot("null_read"), deadline_s=PROOF_S)
    except InfraError as error:
        return Capability("a real crash", "none", str(error))
    seen = str(evidence)
    sound = seen.startswith("SIGSEGV, SEGV_MAPERR at 0x0")
    return Capability("a real crash", seen, "" if sound else "expected SIGSEGV, SEGV_MAPERR at 0x0")


def _looking() -> list[Capability]:
    """Return who can look at a command here."""
    try:
        return witnesses()
    except InfraError as error:
        return [Capability("observe", "nobody", str(error))]


def _skips() -> dict[str, str]:
    """Return the shipped cases that will be skipped here, with the reason."""
    return {
        title_of(scenario, case): reason
        for scenario in load_all(shipped())
        for case in scenario.case
        if (reason := why_not(case.needs()))
    }


@click.command(epilog="Example: crash-harness doctor --json")
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what this machine can do, what will be skipped, and why."""
    proof = _proof()
    found, skips = [proof, *capabilities(), *surroundings(), *_looking()], _skips()
    if as_json:
        emit_pretty({"capabilities": found, "skips": skips})
    else:
        for one in found:
            write(f"{one.name:24} {one.value}{f'  MISSING: {one.missing}' if one.missing else ''}")
        write(f"{'will be skipped':24} {counted(len(skips), 'case')}")
        for title, reason in skips.items():
            write(f"  {title}: {reason}")
    context.exit(InfraError.exit_code if proof.missing else 0)
