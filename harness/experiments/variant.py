"""What is tried: one variant or two, and what the words of the command line make of them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from harness.dialects import parted, spelled
from harness.evidence import Host, Start  # noqa: TC001 -- msgspec reads the annotations of records
from harness.exceptions import InvalidInputError
from harness.experiments.advice import TARGET
from harness.experiments.stopping import Stopping  # noqa: TC001 -- as above
from harness.journal import as_text
from harness.machine import why_not
from harness.scenarios.campaign import processors, title_of
from harness.scenarios.schema import Case, Scenario, check_victim
from harness.supervisor import Limits
from harness.supervisor.ladder import Wanted  # noqa: TC001 -- msgspec reads the annotations of records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Variant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is tried: a case's victim, or a command. `timeout_s` and `limits` are a command's; a case has its own."""

    name: str
    dialect: str
    seed: int
    case: Case | None = None
    command: tuple[str, ...] = ()
    host: Host = "python"
    start: Start = "fresh"
    limits: Limits = Limits()
    timeout_s: float | None = None
    containment: Wanted = "auto"

    @property
    def is_wild(self) -> bool:
        """Whether the machine's load is part of what is measured."""
        return self.case is None or self.case.victim.tier == "wild"


class Experiment(msgspec.Struct, frozen=True):
    """One or two variants and when to stop. `target` is what may be left of P(all attempts fail) in the advice.

    `expect_below` is the failure rate that the first variant is to stay below, where a verdict was asked for.
    """

    title: str
    variants: tuple[Variant, ...]
    stopping: Stopping
    jobs: int = 1
    target: float = TARGET
    expect_below: float | None = None

    def order(self, done: Mapping[str, int]) -> Iterator[tuple[Variant, int]]:
        """Groups without end that are not done yet: one of each variant, the first of them in turn."""
        for index in count(min(done.values())):
            turn = index % len(self.variants)
            for variant in (*self.variants[turn:], *self.variants[:turn]):
                if index >= done[variant.name]:
                    yield variant, index


class VariantOptions(msgspec.Struct, frozen=True):
    """What the options say of a variant."""

    dialect: str
    seed: int | None
    host: Host
    start: Start | None
    limits: Limits
    timeout_s: float | None
    jobs: int | None
    target: float = TARGET
    expect_below: float | None = None
    containment: Wanted = "auto"


def _case_variant(name: str, scenario: Scenario, case: Case, asked: VariantOptions) -> Variant:
    if reason := why_not(case.needs()):
        raise InvalidInputError(f"{title_of(scenario, case)}: {reason}")
    seed = asked.seed if asked.seed is not None else case.victim.seed or 0
    start: Start = asked.start or ("warm" if scenario.layout_independent else "fresh")
    held = case.limits.containment if asked.containment == "auto" else asked.containment
    return Variant(name, asked.dialect, seed, case, host=asked.host, start=start, containment=held)


def _command_variant(name: str, command: tuple[str, ...], asked: VariantOptions) -> Variant:
    if asked.start == "warm":
        raise InvalidInputError("--start warm: a command is always started afresh")
    made = Variant(name, asked.dialect, asked.seed or 0, None, command, containment=asked.containment)
    return msgspec.structs.replace(made, limits=asked.limits, timeout_s=asked.timeout_s)


OF_VARIANT = ("seed", "host", "start")
OF_VICTIM = ("fault", "tier", "dose")


def varied(first: Variant, change: str) -> Variant:
    """Return a second variant: KEY=VALUE pairs with commas between, or another command."""
    name = f"{first.name} with {change}"
    if first.case is None:
        return msgspec.structs.replace(first, name=name, command=tuple(shlex.split(change)))
    seed = {"seed": first.seed + 1}  # other draws: independent of the first variant's
    members: dict[str, Any] = msgspec.to_builtins(first) | seed | {"name": name}
    victim = members["case"]["victim"]
    for pair in change.split(","):
        key, sign, value = pair.partition("=")
        if not sign:
            raise InvalidInputError(f"--vs: expected KEY=VALUE, not {pair!r}")
        if key == "dialect":
            members[key] = spelled(*parted(value, "--vs: dialect"))
        elif key in OF_VARIANT:
            members[key] = int(value) if key == "seed" else value
        elif key in OF_VICTIM:
            victim[key] = float(value) if key == "dose" else value
        else:
            victim.setdefault("parameters", {})[key] = int(value) if re.fullmatch(r"-?\d+", value) else value
    made = msgspec.convert(members, Variant)
    if made.case:
        check_victim(made.case, "--vs")
    return made


def _second(first: Variant, change: str) -> Variant:
    try:
        return varied(first, change)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidInputError(f"--vs: {error}") from error


def plan(
    scenarios: list[Scenario], command: tuple[str, ...], asked: VariantOptions, vs: str | None, stopping: Stopping
) -> list[Experiment]:
    """Make an experiment of each case, or of the command."""
    pairs = [(scenario, case) for scenario in scenarios for case in scenario.case]
    firsts = [_case_variant(title_of(*pair), *pair, asked) for pair in pairs]
    if command:
        firsts = [_command_variant(as_text(shlex.join(command)), command, asked)]
    made = []
    for first in firsts:
        variants = (first, _second(first, vs)) if vs else (first,)
        quiet = len(variants) > 1 or any(variant.is_wild for variant in variants)
        jobs = asked.jobs or (1 if quiet else processors())
        made.append(Experiment(first.name, variants, stopping, jobs, asked.target, asked.expect_below))
    if twice := [name for name, count in Counter(one.title for one in made).items() if count > 1]:
        raise InvalidInputError(f"{twice[0]}: it is asked for twice")
    return made
