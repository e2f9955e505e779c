"""What is tried: one variant or two, and what the words of the command line make of them."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.dialects import parted, spelled
from harness.engine.policy import Policy
from harness.evidence import Host, Start  # noqa: TC001 -- msgspec reads the annotations of records
from harness.exceptions import InvalidInputError, unknown
from harness.experiments.advice import TARGET
from harness.experiments.stopping import Stopping  # noqa: TC001 -- as above
from harness.experiments.tally import BLOCK, GROUP
from harness.faults.catalogue import find
from harness.journal import as_text
from harness.machine import why_not
from harness.scenarios.campaign import processors, title_of
from harness.scenarios.schema import Case, PolicySpec, Scenario, check_victim
from harness.supervisor import Limits
from harness.supervisor.confinement import Wanted  # noqa: TC001 -- msgspec reads the annotations of records
from harness.supervisor.observe import Observe  # noqa: TC001 -- as above
from harness.supervisor.schedule import why_not as why_no_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Variant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is tried: a case's victim, or a command.

    `timeout_s`, `limits`, `directory` (where it works), `env` (what its environment has beside ours), `backtrace` and
    `observe` are a command's. `policy` is the one that it is judged under, where that is not the case's own. `schedule`
    is the seed of delays where the victim synchronises; None leaves it alone.
    """

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
    directory: str | None = None
    env: dict[str, str] = {}
    backtrace: bool = False
    observe: Observe = "auto"
    policy: PolicySpec | None = None
    schedule: int | None = None

    @property
    def judged_under(self) -> Policy:
        """The policy in force; without any, the first failure is final."""
        spec = self.policy or (self.case.policy if self.case else None)
        return spec.checked() if spec else Policy()

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

    def work(self, done: Mapping[str, int], *, in_blocks: bool = False) -> Iterator[list[tuple[Variant, range]]]:
        """Give out what is not done yet, in pieces that one runner fires: groups of each variant, the first in turn.

        A piece is one group of each variant. It is a block where trials are forked from one process, so that no process
        has trials of two blocks, and where blocks are asked for.
        """
        size = BLOCK if in_blocks or any(one.case and one.start == "warm" for one in self.variants) else 1
        for _, piece in groupby(self._order(done), key=lambda group: (group[1][0] - 1) // (GROUP * size)):
            yield list(piece)

    def _order(self, done: Mapping[str, int]) -> Iterator[tuple[Variant, range]]:
        """Groups that are not done yet, one of each variant, the first of them in turn, until there are no more."""
        for index in count(min(done.values())):
            numbers, turn = self.stopping.numbers(index), index % len(self.variants)
            if not numbers:
                return
            for variant in (*self.variants[turn:], *self.variants[:turn]):
                if index >= done[variant.name]:
                    yield variant, numbers


class Place(msgspec.Struct, frozen=True):
    """What the options say of where a command works: its folder, and members of its environment."""

    name: str | None = None
    directory: str | None = None
    env: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether any of these options was given."""
        return bool(self.name or self.directory or self.env)

    def at(self, variant: Variant, which: str) -> Variant:
        """Put the variant there; `which` is how its options begin. Raises InvalidInputError where it can't be there."""
        if variant.case and (self.directory or self.env):
            raise InvalidInputError(f"--{which}cwd, --{which}env: a scenario's victim has no place of its own")
        members = dict[str, Any](env=variant.env | dict(_pair(one, which) for one in self.env))
        if self.directory:
            members["directory"] = _folder(self.directory, which)
        return msgspec.structs.replace(variant, name=self.name or variant.name, **members)

    def words(self) -> list[str]:
        """Say what these options change: the name of a variant that was given none."""
        return [*([f"cwd={self.directory}"] if self.directory else []), *self.env]


def _pair(text: str, which: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise InvalidInputError(f"--{which}env: expected NAME=VALUE, not {text!r}")
    return name, value


def _folder(path: str, which: str) -> str:
    if not Path(path).is_dir():
        raise InvalidInputError(f"--{which}cwd: {path}: there is no such folder")
    return os.path.realpath(path)


class VariantOptions(msgspec.Struct, frozen=True):
    """What the options say of a variant; `place` of the first one, `vs_place` of the second."""

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
    policy: PolicySpec | None = None
    backtrace: bool = False
    observe: Observe = "auto"
    place: Place = Place()
    vs_place: Place = Place()
    schedule: int | None = None


def _case_variant(name: str, scenario: Scenario, case: Case, asked: VariantOptions) -> Variant:
    if reason := why_not(case.needs()):
        raise InvalidInputError(f"{title_of(scenario, case)}: {reason}")
    seed = asked.seed if asked.seed is not None else case.victim.seed or 0
    start: Start = asked.start or ("warm" if scenario.layout_independent else "fresh")
    if asked.backtrace:
        raise InvalidInputError("--backtrace: a command has one; of a scenario's fault it is known where it crashes")
    if asked.observe != "auto":
        raise InvalidInputError("--observe: of a command; a scenario's fault carries its record itself")
    made = Variant(name, asked.dialect, seed, case, host=asked.host, start=start, policy=asked.policy)
    held = case.limits.containment if asked.containment == "auto" else asked.containment
    return _reached(msgspec.structs.replace(made, containment=held, schedule=asked.schedule))


def _command_variant(name: str, command: tuple[str, ...], asked: VariantOptions) -> Variant:
    if asked.start == "warm":
        raise InvalidInputError("--start warm: a command is always started afresh")
    made = Variant(
        name,
        asked.dialect,
        asked.seed or 0,
        None,
        command,
        limits=asked.limits,
        timeout_s=asked.timeout_s,
        containment=asked.containment,
        directory=os.getcwd(),  # noqa: PTH109 -- what a later --resume or replay needs is a text
        backtrace=asked.backtrace,
        observe=asked.observe,
        policy=asked.policy,
        schedule=asked.schedule,
    )
    return _reached(made)


def _reached(variant: Variant) -> Variant:
    """Raise InvalidInputError for a schedule of what no library can be brought into."""
    if variant.schedule is None:
        return variant
    if variant.case and variant.host == "native":
        raise InvalidInputError("schedule: the native host is a static program; expected the host python")
    if variant.command and (reason := why_no_schedule(variant.command[0], os.environ | variant.env)):
        raise InvalidInputError(f"schedule: {reason}")
    return variant


OF_VARIANT = ("seed", "host", "start", "schedule")
OF_NUMBERS = ("seed", "schedule")
OF_VICTIM = ("fault", "tier", "dose")


def varied(first: Variant, change: str) -> Variant:
    """Return a second variant: KEY=VALUE pairs with commas between, or another command."""
    if first.case is None:
        return _another_command(first, change)
    seed = {"seed": first.seed + 1}  # other draws: independent of the first variant's
    members: dict[str, Any] = msgspec.to_builtins(first) | seed
    victim = members["case"]["victim"]
    for pair in change.split(","):
        key, sign, value = pair.partition("=")
        if not sign:
            raise InvalidInputError(f"--vs: expected KEY=VALUE, not {pair!r}")
        if key == "dialect":
            members[key] = spelled(*parted(value, "--vs: dialect"))
        elif key in OF_VARIANT:
            members[key] = int(value) if key in OF_NUMBERS else value
        elif key in OF_VICTIM:
            victim[key] = float(value) if key == "dose" else value
        elif key not in (dials := [dial.name for dial in find(victim["fault"]).parameters]):
            raise unknown("--vs", key, ("dialect", *OF_VARIANT, *OF_VICTIM, *dials))
        else:
            victim.setdefault("parameters", {})[key] = int(value) if re.fullmatch(r"-?\d+", value) else value
    made = msgspec.convert(members, Variant)
    if made.case:
        check_victim(made.case, "--vs")
    return _reached(made)


def _another_command(first: Variant, change: str) -> Variant:
    if schedule := re.fullmatch(r"schedule=(\d{1,18})", change):
        return _reached(msgspec.structs.replace(first, schedule=int(schedule[1])))
    words = tuple(shlex.split(change))
    if not words:
        raise InvalidInputError("--vs: expected schedule=SEED or another command, and it is empty")
    if len(words) == 1 and re.fullmatch(r"[a-z_]+=[^/]*", words[0]):
        raise InvalidInputError(f"--vs: {change}: beside a command, expected schedule=SEED or another command")
    return msgspec.structs.replace(first, command=words)


def _second(first: Variant, change: str | None, place: Place) -> Variant:
    """Change the first variant; where no command is given for the second, it is the same one elsewhere."""
    try:
        made = varied(first, change) if change else first
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidInputError(f"--vs: {error}") from error
    named = f"{first.name} with {', '.join(filter(None, [change, *place.words()]))}"
    return place.at(msgspec.structs.replace(made, name=as_text(named)), "vs-")


def plan(
    scenarios: list[Scenario],
    commands: Sequence[tuple[str, ...]],
    asked: VariantOptions,
    vs: str | None,
    stopping: Stopping,
) -> list[Experiment]:
    """Make an experiment of each case and of each command."""
    pairs = [(scenario, case) for scenario in scenarios for case in scenario.case]
    firsts = [_case_variant(title_of(*pair), *pair, asked) for pair in pairs]
    firsts += [_command_variant(as_text(shlex.join(command)), command, asked) for command in commands]
    if len(firsts) > 1 and (asked.place.name or asked.vs_place.name):
        raise InvalidInputError(f"--name, --vs-name: there are {len(firsts)} to be named")
    made = []
    for first in (asked.place.at(one, "") for one in firsts):
        variants = (first, _second(first, vs, asked.vs_place)) if vs or asked.vs_place else (first,)
        quiet = len(variants) > 1 or any(variant.is_wild for variant in variants)
        jobs = asked.jobs or (1 if quiet else processors())
        made.append(Experiment(first.name, variants, stopping, jobs, asked.target, asked.expect_below))
    if twice := [name for name, count in Counter(one.title for one in made).items() if count > 1]:
        raise InvalidInputError(f"{twice[0]}: it is asked for twice")
    return made
