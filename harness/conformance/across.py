"""What is decided between cells: causes that must differ or agree, and one crash in several guises."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from harness.conformance.causes import failed, last_of, read
from harness.conformance.protocol import Cap
from harness.conformance.record import Reason
from harness.conformance.view import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.conformance.view import View

    Views = Mapping[str, View]

HANGS: Final = ("hang/max3", "hang/none")
TOLD_APART: Final = ("exc", "segv", "abrt", "kill", "term", "exit139", "exit0")
GUISES: Final = ("segv", "handled", "sh139")
DECIDED_BY: Final = {
    "P9": (*(f"{kind}/none" for kind in TOLD_APART), *HANGS, "mixed"),
    "P10": ("oom/none", "kill/none"),
    "P14": ("hang/max3", "nhang/max3", "hang/none", "nhang/none"),
    "P20": (*(f"{guise}/max3" for guise in GUISES), "abrt/max3"),
}
"""The cells that each needs."""


def _told_apart(views: Views) -> Iterator[tuple[str, Reason | None]]:
    told = {kind: last_of(views, f"{kind}/none") for kind in TOLD_APART}
    told["timeout"] = last_of(views, "hang/max3") or last_of(views, "hang/none")
    if sum(cause is not None for cause in told.values()) < 2:  # noqa: PLR2004 -- one cause alone differs from nothing
        return
    kinds = defaultdict(list)
    for kind, cause in told.items():
        if cause is not None:
            kinds[cause].append(kind)
    for cause, alike in kinds.items():
        text = f"one cause for {' and '.join(alike)}: {short(cause)!r}"
        yield (
            f"{alike[0]}/none" if alike[0] != "timeout" else "hang/max3",
            Reason("P9", text) if len(alike) > 1 else None,
        )


def _mixed(views: Views) -> Iterator[tuple[str, Reason | None]]:
    """Say where a job that fails in three ways is told otherwise than a job that fails in one of them."""
    mixed = failed(views, "mixed")
    if mixed is None:
        return
    view, last = mixed
    faults = [view.cell.fault(start.n) for start in view.starts("X")]
    alone = [failed(views, f"{fault}/none") for fault in faults]
    if not alone or None in alone:
        return
    wanted = [read(one, (claim.history or (claim.cause,))[0], 1) for one, claim in filter(None, alone)]
    history = [read(view, cause, number + 1) for number, cause in enumerate(last.history or ())]
    if history and history != wanted:
        yield "mixed", Reason("P9", f"causes {history}, alone {wanted}")
    elif last_of(views, "mixed") != last_of(views, f"{faults[-1]}/none"):
        yield "mixed", Reason("P9", f"the last cause is {short(last.cause)!r}, alone {wanted[-1]!r}")
    else:
        yield "mixed", None


def _told_from_kill(views: Views) -> Iterator[tuple[str, Reason | None]]:
    oom, kill = last_of(views, "oom/none"), last_of(views, "kill/none")
    if oom is not None and kill is not None:
        yield "oom/none", Reason("P10", f"an OOM is told as kill -9 is: {short(kill)!r}") if oom == kill else None


def _one_timeout(views: Views) -> Iterator[tuple[str, Reason | None]]:
    for policy in ("max3", "none"):
        one, other = last_of(views, f"hang/{policy}"), last_of(views, f"nhang/{policy}")
        if one is not None and other is not None:
            text = f"two causes for one time limit: {short(one)!r} and {short(other)!r}"
            yield f"nhang/{policy}", Reason("P14", text) if one != other else None


def _guises(views: Views) -> Iterator[tuple[str, Reason | None]]:
    table = next(iter(views.values())).declared.table if views else {}
    kinds = [*GUISES, *(["abrt"] if table.get("abrt") == table.get("segv") else [])]
    starts = {kind: len(views[f"{kind}/max3"].starts("X")) for kind in kinds if f"{kind}/max3" in views}
    if len(starts) > 1:
        differ = len(set(starts.values())) > 1
        yield "segv/max3", Reason("P20", f"starts {starts}") if differ else None


ACROSS: Final = {
    "P9": (Cap.CAUSE, (_told_apart, _mixed)),
    "P10": (Cap.CAUSE, (_told_from_kill,)),
    "P14": (Cap.TIMEOUT, (_one_timeout,)),
    "P20": (Cap.RETRY, (_guises,)),
}


def judge(views: Views) -> dict[str, list[tuple[str, Reason | None]]]:
    """By property: the cell that decided, and the reason against it or None. Cells that prove nothing are left out."""
    found: dict[str, list[tuple[str, Reason | None]]] = {}
    if not views:
        return found
    declared = next(iter(views.values())).declared
    for name, (need, rules) in ACROSS.items():
        if not declared.can(need) or (name == "P14" and not declared.can(Cap.CAUSE)):
            continue
        decided = [one for rule in rules for one in rule(views)]
        if decided:
            found[name] = decided
    return found
