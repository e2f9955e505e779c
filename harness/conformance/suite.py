"""The suite's own side: starts the conductor below a guard, hears its news, and leaves nothing behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from harness.conformance import check, scratch, stage
from harness.conformance.cells import Cell
from harness.conformance.conductor import Engine, News, Orders
from harness.conformance.settle import Settled
from harness.evidence import EndedBy, Exited
from harness.exceptions import InfraError, InvalidInputError
from harness.faults.catalogue import find
from harness.supervisor import Command, memory_cgroup, supervise
from harness.supervisor.launch import runner_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.conformance.check import Asked, Check
    from harness.conformance.protocol import Declaration
    from harness.supervisor import Stop

HERE: Final = Path(__file__).parent
KIT: Final = {
    "chpayload.py": HERE / "payload" / "chpayload.py",
    "chpayload.cjs": HERE / "payload" / "chpayload.cjs",
    "chadapter.py": HERE / "adapter.py",
}
SHOTS: Final = {
    "segv": "null_write",
    "abrt": "abort",
    "kill": "killed",
    "term": "terminated",
    "exit139": "shell_status",
}
"""The payload's faults that the native host fires in its place."""
A_CPU: Final = 4
"""Cells at once for each processor: they sleep most of the time."""
TIME_S: Final = 3600
"""Seconds that a check may take, if nothing else was asked for."""
UNMET: Final = ("memory_cgroup", "namespace", "empty_hugetlb")


def jobs() -> int:
    """How many cells are lived at once."""
    return A_CPU * len(os.sched_getaffinity(0))


def kind_of(fault: str) -> str:
    """How a fault of the catalogue ends, as a class of the table. Raises InvalidInputError where that is no end.

    ABRT is abrt, KILL kill, TERM term, any other signal segv, and status n exitN.
    """
    row = find(fault, "--fault")
    unmet = [need for need in row.needs if need in UNMET]
    if unmet:
        raise InvalidInputError(f"--fault: {fault} needs {unmet[0]}, which an engine's worker does not give")
    kinds = {_kind(words) for words in row.expects}
    if row.kind in ("hang", "silent", "control") or None in kinds:
        raise InvalidInputError(f"--fault: {fault} does not end its process ({row.kind}): expected one that does")
    if len(kinds) > 1:
        raise InvalidInputError(f"--fault: {fault} ends in more than one way: {', '.join(row.expects)}")
    return str(kinds.pop())


def _kind(expected: str) -> str | None:
    words = expected.split()
    if words[0] == "exited":
        return f"exit{words[1]}"
    if not words[0].startswith("SIG"):
        return None
    return {"SIGABRT": "abrt", "SIGKILL": "kill", "SIGTERM": "term"}.get(words[0], "segv")


def base(asked: Iterable[Asked], kit: str) -> stage.Order:
    """Return what every cell needs. Raises InfraError where the native host was not built."""
    place = memory_cgroup()
    by_name = {fault: fault for one in asked for fault in one.shots}
    shots: dict[str, tuple[str, ...]] = {fault: (name, "forced") for fault, name in {**SHOTS, **by_name}.items()}
    return stage.Order(
        command=(),
        cell=Cell("", ("ok",)),
        kit=kit,
        python=stage.interpreter(),
        runner=runner_path(),
        shots=shots,
        cgroup_version=place.version,
        cgroup_parent=place.parent,
        cgroup_why=place.reason if not place.version else "",
    )


def _kit(folder: Path) -> str:
    """Copy the payload and the kit for adapters into the folder of the check."""
    kit = folder / "kit"
    kit.mkdir()
    for name, target in KIT.items():
        (kit / name).symlink_to(target)
    return str(kit)


class Heard:
    """What the conductor has told of each engine."""

    def __init__(self, observe: Callable[[News], object] | None) -> None:
        self._observe, self._rest = observe, b""
        self.declared: dict[str, Declaration] = {}
        self.settled: dict[str, list[Settled]] = {}
        self.infra: dict[str, str] = {}

    def take(self, number: int, chunk: bytes) -> None:
        """Read whole lines of its stdout; its stderr is kept by the supervisor."""
        if number != 1:
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            try:
                news = msgspec.json.decode(line, type=News)
            except msgspec.MsgspecError as error:
                said = line[:200].decode(errors="replace")
                raise InfraError(f"the conductor said {said!r}, which is no news: {error}") from error
            self._note(news)

    def _note(self, news: News) -> None:
        if news.declared:
            self.declared[news.engine] = news.declared
        if news.settled:
            self.settled.setdefault(news.engine, []).append(news.settled)
        if news.infra:
            self.infra[news.engine] = news.infra
        if self._observe:
            self._observe(news)


def check_all(
    engines: Iterable[Engine],
    *,
    known: Mapping[str, str] | None = None,
    observe: Callable[[News], object] | None = None,
    stop: Stop | None = None,
    at_once: int | None = None,
    time_s: float = TIME_S,
) -> dict[str, Check]:
    """Check engines, all their cells side by side; `observe` hears of each cell as it is settled.

    After `time_s` seconds everything is ended; a cell that was not settled by then is INFRA.

    Raises InfraError where the conductor itself could not do its work. An engine that can't be started is no such
    case: its check is INFRA.
    """
    given, heard = tuple(engines), Heard(observe)
    with scratch.folder() as folder:
        made = base([one.asked for one in given], _kit(folder))
        orders = Orders(given, made, str(folder), scratch.tag_of(folder), at_once or jobs())
        (folder / "orders").write_bytes(msgspec.json.encode(orders))
        words = (sys.executable, "-P", "-m", "harness.conformance.conductor", str(folder / "orders"))
        evidence = supervise(Command(words), deadline_s=time_s, relay=heard.take, stop=stop, observe="off")
    over = f"the check's time of {time_s:g} s was over" if evidence.ended_by is EndedBy.DEADLINE else ""
    if evidence.termination != Exited(0) and not over:
        last = evidence.stderr.strip().splitlines()[-1:] or ["no last words"]
        raise InfraError(f"the conductor {evidence.termination}: {last[0]}")
    return {one.name: _conclude(one, heard, known or {}, made.cgroup_why, over) for one in given}


def _conclude(engine: Engine, heard: Heard, known: Mapping[str, str], why_no_oom: str, over: str) -> Check:
    """Sum up what was heard of an engine. `over`: why cells that were not heard of are INFRA, if there are any."""
    name = engine.name
    if name in heard.infra or name not in heard.declared:
        return check.failed(name, heard.infra.get(name, over or "it was not heard of"))
    declared, settled = heard.declared[name], heard.settled.get(name, [])
    lived = {one.name for one in settled}
    cut = [cell for cell in check.choose(declared, engine.asked, why_no_oom) if over and cell.name not in lived]
    settled = [*settled, *(Settled(cell, "INFRA", over, 0, {}, None) for cell in cut)]
    return check.conclude(name, declared, settled, engine.asked, known=dict(known), why_no_oom=why_no_oom)
