"""The conductor: a program below our guard that lives the cells of engines, several at a time, each in a fork.

    python -m harness.conformance.conductor ORDERS

It reads its orders from a file and tells what it has seen in JSON lines on its stdout. Adapters, engines and payloads
are its descendants, and end with it. Between two lives of a cell it judges only whether another one is needed.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import traceback
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.conformance import check, conduct, processes
from harness.conformance.cells import Cell
from harness.conformance.check import Asked
from harness.conformance.protocol import Declaration, declaration, override
from harness.conformance.record import Clock, Record
from harness.conformance.scratch import DIGITS, seclude
from harness.conformance.settle import Lives, Settled
from harness.conformance.stage import Order  # noqa: TC001 -- msgspec reads the annotations of Orders
from harness.exceptions import InfraError

PORTS: Final = 4
HELLO: Final = Cell("hello", ("ok",))


class Engine(msgspec.Struct, frozen=True):
    """One engine to be checked. `overrides`: members of its declaration that its file replaces."""

    name: str
    command: tuple[str, ...]
    asked: Asked = Asked()
    overrides: dict[str, Any] = {}
    env: dict[str, str] = {}
    jobs: int | None = None


class Orders(msgspec.Struct, frozen=True):
    """All that the conductor needs. `tag`: five letters that every run's name begins with."""

    engines: tuple[Engine, ...]
    base: Order
    folder: str
    tag: str
    jobs: int


class News(msgspec.Struct, frozen=True):
    """One line of the conductor's: the declaration, a settled cell, or why nothing of this engine can be read."""

    engine: str
    declared: Declaration | None = None
    total: int = 0
    settled: Settled | None = None
    infra: str = ""


class Task(msgspec.Struct):
    """One life to be lived."""

    engine: Course
    cell: Cell
    lives: Lives | None = None


class Course:
    """One engine's way: hello, then `ok`, then everything else."""

    def __init__(self, engine: Engine, base: Order) -> None:
        self.engine = engine
        self.running = 0
        self.waiting: deque[Task] = deque([Task(self, HELLO)])
        self._rest: list[Cell] = []
        self._order = msgspec.structs.replace(
            base, command=engine.command, workers=engine.asked.workers, env=engine.env, cell=HELLO
        )

    def order(self, task: Task) -> Order:
        """Return what the life needs."""
        return msgspec.structs.replace(self._order, cell=task.cell)

    def may_start(self) -> bool:
        """Whether there is something to do, and room for it."""
        return bool(self.waiting) and self.running < (self.engine.jobs or sys.maxsize)

    def ended(self, task: Task, told: Any) -> News | None:
        """Take in what a life has told, and return what is known now."""
        if isinstance(told, str):
            return self._failed(told)
        if task.cell is HELLO:
            return self._greeted(told)
        assert task.lives is not None  # noqa: S101 -- every cell but hello has them
        task.lives.add(told)
        if not task.lives.is_settled():
            self.waiting.appendleft(task)
            return None
        return self._settled(task.lives.settle())

    def _failed(self, why: str) -> News:
        self.waiting.clear()
        self._rest.clear()
        return News(self.engine.name, infra=why)

    def _greeted(self, raw: dict[str, Any]) -> News:
        try:
            declared = override(declaration(raw), self.engine.overrides)
        except InfraError as error:
            return self._failed(str(error))
        self._order = msgspec.structs.replace(self._order, raw=raw, declared=declared)
        first, *self._rest = check.choose(declared, self.engine.asked, self._order.cgroup_why)
        self.waiting.append(self._task(first))
        return News(self.engine.name, declared, 1 + len(self._rest))

    def _task(self, cell: Cell) -> Task:
        declared = self._order.declared
        assert declared is not None  # noqa: S101 -- cells come after the declaration
        return Task(self, cell, Lives(cell, declared, self.engine.asked.repeat))

    def _settled(self, settled: Settled) -> News:
        if settled.name == "ok" and settled.verdict == "INFRA":
            return self._failed(f"ok: {settled.reason}{_last(settled.record)}")
        self.waiting.extend(map(self._task, self._rest))
        self._rest.clear()
        return News(self.engine.name, settled=settled)


def _last(record: Record | None) -> str:
    """The last line of the adapter's log, for a first failure."""
    lines = record.log.strip().splitlines() if record else []
    return f" (its log ends: {lines[-1][:200]})" if lines else ""


class Conductor:
    """Starts lives while there is room, and takes them as they end."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._courses = [Course(engine, orders.base) for engine in orders.engines]
        self._living: dict[int, tuple[Task, Path]] = {}
        self._count = 0
        self._ports: set[int] = set()

    def run(self) -> None:
        """Run lives until the cells of every engine are settled."""
        while self._start() or self._living:
            pid, _ = os.waitpid(-1, 0)
            if pid in self._living:
                self._take(*self._living.pop(pid))

    def _start(self) -> bool:
        while len(self._living) < self._orders.jobs:
            course = next((one for one in self._courses if one.may_start()), None)
            if course is None:
                return False
            self._fork(course.waiting.popleft())
            course.running += 1
        return True

    def _fork(self, task: Task) -> None:
        self._count += 1
        folder = Path(self._orders.folder) / str(self._count)
        folder.mkdir()
        run, ports = f"{self._orders.tag}{_digits(self._count)}", self._free_ports()
        pid = os.fork()
        if pid == 0:
            _live(task.engine.order(task), folder, ports, run)
        self._living[pid] = task, folder

    def _take(self, task: Task, folder: Path) -> None:
        task.engine.running -= 1
        news = task.engine.ended(task, _told(folder, task.cell))
        shutil.rmtree(folder, ignore_errors=True)
        if news:
            sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
            sys.stdout.buffer.flush()

    def _free_ports(self) -> list[int]:
        """Find ports that are free, and that no other cell of ours was ever given."""
        found: list[int] = []
        while len(found) < PORTS:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            if port not in self._ports:
                found.append(port)
                self._ports.add(port)
        return found


def _digits(number: int) -> str:
    base = len(DIGITS)
    return "".join(DIGITS[number // base**place % base] for place in (2, 1, 0))


def _live(order: Order, folder: Path, ports: list[int], run: str) -> None:
    """Live one cell in the fork. Never returns."""
    code = 1
    try:
        processes.adopt_orphans()
        seclude()
        if order.declared is None:
            told: Any = {"hello": conduct.first_hello(order, folder, run)}
        else:
            told = {"record": conduct.live(order, order.declared, folder, ports, run)}
        _write(folder, told)
        code = 0
    except InfraError as error:
        _write(folder, {"infra": str(error)})
        code = 0
    except BaseException:  # noqa: BLE001 -- whatever it is, it is told
        _write(folder, {"infra": f"the suite failed: {traceback.format_exc()}"})
    finally:
        os._exit(code)


def _write(folder: Path, told: dict[str, Any]) -> None:
    (folder / "told").write_bytes(msgspec.json.encode(told))


class _Told(msgspec.Struct):
    hello: dict[str, Any] | None = None
    record: Record | None = None
    infra: str = ""


def _told(folder: Path, cell: Cell) -> Any:
    """Return what a life is to tell: a declaration, a record, or why there is neither."""
    try:
        told = msgspec.json.decode((folder / "told").read_bytes(), type=_Told)
    except (OSError, msgspec.MsgspecError) as error:
        how = "left no answer" if isinstance(error, OSError) else "left an answer that is torn"
        told = _Told(infra=f"the process beside the adapter, which lives the cell, {how}: it was killed, or died")
    if told.hello is not None:
        return told.hello
    if told.record is not None:
        return told.record
    return told.infra if cell.name == HELLO.name else _unproved(cell, told.infra)


def _unproved(cell: Cell, why: str) -> Record:
    """A cell that could not even be started."""
    return Record(cell.name, Clock.begun(0.0), infra=why)


def main() -> None:
    """Read the orders, and live."""
    orders = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Orders)
    Conductor(orders).run()


if __name__ == "__main__":
    main()
