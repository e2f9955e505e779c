"""One cell's stage: the adapter, the payload's ledger, the suite's own looks at /proc. It sees, and judges nothing."""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from harness.conformance.cells import Cell  # noqa: TC001 -- msgspec reads the annotations of Order
from harness.conformance.client import REPLY_S, Client
from harness.conformance.ledger import Ledger
from harness.conformance.processes import lives
from harness.conformance.protocol import MACHINES, Cap, Declaration, claims, declaration
from harness.conformance.record import CAP_S, Clock, Life, Reason, Record, Told
from harness.exceptions import InfraError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

TICK_S = 0.05
REST = 4
"""The next tick comes after four times what the last one took."""
OUTLIVE_S = 0.7


class Order(msgspec.Struct, frozen=True):
    """What a cell needs beside itself. `kit`: the folder with the payload; `shots`: faults that the native host fires.

    `raw` is the reply to hello that every cell must give, `declared` what is judged by: the same, with the overrides
    of the engine's file. Both are None for the first hello.
    """

    command: tuple[str, ...]
    cell: Cell
    kit: str
    python: tuple[str, ...]
    runner: str
    shots: dict[str, tuple[str, ...]]
    workers: int = 2
    raw: dict[str, Any] | None = None
    declared: Declaration | None = None
    cgroup_version: int = 0
    cgroup_parent: str = ""
    cgroup_why: str = ""
    env: dict[str, str] = {}


class Stage:
    """What is played on it is told in conduct.py."""

    def __init__(self, order: Order, folder: Path, ports: list[int], run: str, log: BinaryIO) -> None:
        self.order, self.cell, self.run, self._ports = order, order.cell, run, ports
        self.ledger = Ledger(folder / "l", run)
        self._engine = folder / "e"
        self._engine.mkdir()
        (folder / "t").mkdir()
        path = os.pathsep.join(filter(None, [order.kit, os.environ.get("PYTHONPATH")]))
        self._env = {"CH_RUN": run, "CH_LEDGER": str(self.ledger.path), "PYTHONPATH": path}
        self.record = Record(self.cell.name, Clock.begun(time.monotonic()))
        its_own = {"TMPDIR": str(folder / "t"), **order.env, **self._env}
        self.client = Client(order.command, {**os.environ, **its_own}, log)
        self._lives: dict[tuple[int, int, int], Life] = {}

    # --- what is asked of the adapter ---

    def hello(self) -> dict[str, Any]:
        """Ask for the declaration. Raises InfraError for no declaration, or for another than the first."""
        reply = self.client.ask("hello", protocol=1)
        reply.pop("id", None)
        if "error" in reply:
            raise InfraError(f"hello: {reply['error']}")
        declaration(reply)
        if self.order.raw is not None and reply != self.order.raw:
            changed = sorted(key for key in {*reply, *self.order.raw} if reply.get(key) != self.order.raw.get(key))
            raise InfraError(f"hello: another declaration than before: {', '.join(changed)}")
        return reply

    def start(self, declared: Declaration, workers: int) -> None:
        """Have the engine started under the cell's policy."""
        payload = {
            "python": {"path": self.order.kit, "call": "chpayload:run"},
            "argv": [*self.order.python, os.path.join(self.order.kit, "chpayload.py")],  # noqa: PTH118 -- a word
            "node": os.path.join(self.order.kit, "chpayload.cjs"),  # noqa: PTH118 -- a word
        }
        self.ask(
            "start",
            declared.start_s,
            run=self.run,
            folder=str(self._engine),
            workers=workers,
            policy=msgspec.to_builtins(self.cell.policy),
            payload=payload,
            env=self._env,
            ports=self._ports,
            machines=MACHINES if declared.can(Cap.MACHINE) else {},
        )

    def ask(self, do: str, limit_s: float = REPLY_S, **members: Any) -> dict[str, Any]:
        """Ask what must be answered. An error is the adapter's own mistake, INFRA."""
        reply = self.client.ask(do, limit_s, **members)
        if "error" in reply:
            raise InfraError(f"{do}: {str(reply['error'])[:300]}")
        return reply

    def alive(self, limit_s: float = REPLY_S, *, revive: bool = False) -> tuple[bool, list[int]]:
        """Whether the engine lives, and the pids that run or supervise jobs."""
        reply = self.ask("alive", limit_s, revive=revive)
        workers = reply.get("workers", [])
        whole = isinstance(workers, list) and all(isinstance(pid, int) and pid > 0 for pid in workers)
        if not isinstance(reply.get("alive"), bool) or not whole:
            raise InfraError(f"alive: expected alive and workers, not {str(reply)[:200]}")
        return reply["alive"], workers

    def add(self, role: str, plan: dict[str, Any]) -> None:
        """Lay down a job's plan; its id says nothing."""
        self.record.jobs[role] = job = f"j{os.urandom(4).hex()}"
        shots = {fault: words for fault, words in self.order.shots.items() if fault in plan["faults"]}
        self.ledger.plan(job, {**plan, "runner": self.order.runner, "shots": shots})

    def change(self, role: str, more: dict[str, Any]) -> None:
        """Add to a plan that nobody has read yet."""
        job = self.record.jobs[role]
        self.ledger.plan(job, {**self.ledger.planned(job), **more})

    def submit(self, roles: list[str]) -> None:
        """Hand the jobs to the engine. An error is INFRA before a fire, and the engine's failure after it."""
        for role in roles:
            reply = self.client.ask("submit", job=self.record.jobs[role], last=role == roles[-1])
            if "error" not in reply:
                continue
            self.read()
            why = f"submit: {str(reply['error'])[:300]}"
            if not any(line.ev == "fire" for line in self.record.lines):
                raise InfraError(why)
            self.see("P8", why)

    def see(self, name: str, text: str, *, by_clock: bool = False) -> None:
        """Keep a reason, once."""
        reason = Reason(name, text, by_clock)
        if reason not in self.record.seen:
            self.record.seen.append(reason)

    # --- looking ---

    def read(self) -> None:
        """Take in what the payload wrote."""
        self.record.lines += self.ledger.news()

    def tick(self) -> None:
        """One look: first the claims, then the ledger, so that an `ok` without an `end` is false, not early."""
        began = time.monotonic()
        reply = self.client.ask("claim", jobs=list(self.record.jobs.values()))
        heard = time.monotonic()
        self.read()
        self._listen(reply, heard)
        self._watch()
        self.record.clock.look(time.monotonic())
        self.rest(max(TICK_S, REST * (time.monotonic() - began)))

    def rest(self, seconds: float) -> None:
        """Sleep, and note by how much the sleep was too long."""
        began = time.monotonic()
        time.sleep(seconds)
        self.record.clock.late_s += max(0.0, time.monotonic() - began - seconds - CAP_S)

    def _listen(self, reply: dict[str, Any], at: float) -> None:
        for role, claim in claims(reply, self.record.jobs).items():
            told = self.record.told.setdefault(role, [])
            if claim.state == "ok" and not self.record.of(role, "end") and self.record.last(role).state != "ok":
                self.see("P6", f"{role} was called ok before any end line")
            if not told or told[-1].claim != claim:
                told.append(Told(at, claim))

    def _watch(self) -> None:
        for line in self.record.lines:
            life = self._lives.get(line.process)
            if life is None:
                life = self._lives[line.process] = Life(*line.process)
                self.record.lives.append(life)
            if life.dead_at is not None or line.ev != "start":
                continue
            alive = lives(*line.process)
            if alive:
                life.alive_at = time.monotonic()
            else:
                life.dead_at = time.monotonic()
        for role in self.record.jobs:
            self._overlap(role)
            self._outlived(role)

    def _overlap(self, role: str) -> None:
        if self.cell.durable:
            return
        starts = self.record.of(role, "start")
        for one, other in pairwise(starts):
            over = one.process == other.process or self._is_soft(role, one.n) or not lives(*one.process)
            if not over:
                self.see("P17", f"{role}: attempt {other.n} began while attempt {one.n} lived")

    def _is_soft(self, role: str, number: int) -> bool:
        return role not in ("X", "Y") or self.cell.is_soft(number)

    def _outlived(self, role: str) -> None:
        clock, declared, ended = self.record.clock, self.order.declared, self.record.verdict(role)
        if declared is None or ended is None or clock.now - clock.of(ended.at) <= declared.detect_s + OUTLIVE_S:
            return
        worked = {line.n for line in self.record.of(role, "end")}
        for line in self.record.of(role, "start"):
            if not self._is_soft(role, line.n) and line.n not in worked and lives(*line.process):
                self.see("P18", f"{role}: the process of attempt {line.n} outlived the verdict", by_clock=True)

    def state(self, role: str) -> str:
        """The engine's word on a job at the last look."""
        return self.record.last(role).state

    def is_over(self, role: str) -> bool:
        """Whether the engine's word is a verdict."""
        return self.record.last(role).is_final


def interpreter() -> tuple[str, ...]:
    """The argv payload's interpreter: ours, bare, since the payload needs the standard library alone."""
    return sys.executable, "-I", "-S"
