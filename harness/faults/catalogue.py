"""The fault catalogue, as the extension itself tells it. It is asked in a child: this process never loads it."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InfraError, InvalidInputError, expected, near, shown
from harness.supervisor import launch

if TYPE_CHECKING:
    from collections.abc import Mapping

ASKING_S = 30
MACHINES = frozenset({"x86_64", "aarch64", "glibc", "musl"})


class Parameter(msgspec.Struct, frozen=True):
    """One dial of a fault: an integer in [low, high], `initial` when not given."""

    name: str
    unit: str
    initial: int
    low: int
    high: int


class Variant(msgspec.Struct, frozen=True):
    """What is expected instead where all words of `where` hold: an architecture, a C library."""

    where: tuple[str, ...]
    expects: tuple[str, ...]


class Row(msgspec.Struct, frozen=True):
    """One row of the catalogue. `tiers` and `needs` are lists of words.

    `expects` lists alternatives for this machine; `usual` those of the row, which `variants` replace elsewhere.
    """

    name: str
    family: str
    mechanism: str
    kind: str
    tiers: tuple[str, ...]
    needs: tuple[str, ...]
    expects: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    usual: tuple[str, ...]
    variants: tuple[Variant, ...] = ()


def machine_words() -> frozenset[str]:
    """What a row may call this machine: its architecture, and glibc or musl."""
    return frozenset({platform.machine(), "glibc" if platform.libc_ver()[0] == "glibc" else "musl"})


def read_expects(text: str, here: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Variant, ...]]:
    """Read the text of a row: "A | B; aarch64: C; musl x86_64: D" is usually A or B, and D on musl and x86_64.

    Returns what is expected on this machine, what is usual, and the variants. `here` holds the words that are true of
    this machine; of the variants whose words all are, the first one counts. Raises InvalidInputError for a variant
    that names no machine.
    """
    first, *rest = text.split("; ")
    variants = tuple(map(_read_variant, rest))
    usual = tuple(first.split(" | "))
    return next((one.expects for one in variants if here.issuperset(one.where)), usual), usual, variants


def _read_variant(text: str) -> Variant:
    where, colon, expects = text.partition(": ")
    if not colon or not where or not MACHINES.issuperset(where.split()):
        raise InvalidInputError(f"expects: {text!r} does not begin with words of: {' '.join(sorted(MACHINES))}")
    return Variant(tuple(where.split()), tuple(expects.split(" | ")))


class _Printed(msgspec.Struct):
    name: str
    family: str
    mechanism: str
    kind: str
    tiers: str
    needs: str
    expects: str
    parameters: tuple[Parameter, ...]

    def row(self) -> Row:
        expects, usual, variants = read_expects(self.expects, machine_words())
        lists = (tuple(self.tiers.split()), tuple(self.needs.split()), expects)
        return Row(self.name, self.family, self.mechanism, self.kind, *lists, self.parameters, usual, variants)


class _Told(msgspec.Struct):
    rows: list[_Printed]
    unmet: str


@cache
def _ask() -> _Told:
    command = launch.command_line("--catalogue")
    try:
        asked = subprocess.run(command, capture_output=True, timeout=ASKING_S, check=False)  # noqa: S603 -- our own file
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfraError(f"the fault extension can't be asked: {error}") from error
    if asked.returncode != 0:
        last = asked.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise InfraError(f"the fault extension can't be loaded: {last[0]}")
    return msgspec.json.decode(asked.stdout, type=_Told)


@cache
def catalogue() -> Mapping[str, Row]:
    """All faults by name, in the catalogue's order. Raises InfraError when the extension can't be loaded."""
    return {row.name: row.row() for row in _ask().rows}


def unmet_needs() -> frozenset[str]:
    """Needs that the extension, as it was built, can't meet. Raises InfraError when it can't be loaded."""
    return frozenset(_ask().unmet.split())


def find(name: str, where: str = "fault") -> Row:
    """Return the fault called `name`. Raises InvalidInputError, with the nearest name, when there is none."""
    faults = catalogue()
    if name in faults:
        return faults[name]
    hint = near(name, faults) or "; 'crash-harness faults' lists them"
    raise InvalidInputError(f"{where}: there is no fault {shown(name)}{hint}")


def check_parameters(fault: Row, given: Mapping[str, int], where: str = "fault.parameters") -> None:
    """Raise InvalidInputError for a parameter that the fault has not, or that is outside its range."""
    dials = {dial.name: dial for dial in fault.parameters}
    for name, value in given.items():
        if name not in dials:
            known = f"{', '.join(dials) or 'none'}{near(name, dials)}"
            raise InvalidInputError(f"{where}.{name}: {fault.name} has no such parameter; it has: {known}")
        dial = dials[name]
        if isinstance(value, bool) or not isinstance(value, int) or not dial.low <= value <= dial.high:
            raise expected(f"{where}.{name}", f"{dial.low} to {dial.high} {dial.unit}", value)
