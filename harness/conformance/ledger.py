"""The ledger and the plans: the only words between the suite and its payload, in files of the cell's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.conformance.record import LEDGER_BYTES, Line
from harness.exceptions import InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN = 60


class Ledger:
    """One cell's ledger: `path` is what CH_LEDGER names, `path`.d holds the plans and the numbers."""

    def __init__(self, path: Path, run: str) -> None:
        self.path, self._run, self._read = path, run, 0
        self.folder = Path(f"{path}.d")
        self.folder.mkdir()

    def plan(self, job: str, plan: dict[str, Any]) -> None:
        """Lay down what a job is to do, before anybody can start it."""
        try:
            (self.folder / f"{job}.json").write_text(json.dumps(plan))
        except OSError as error:
            raise InfraError(f"the ledger: its plans: {error.strerror}") from error

    def planned(self, job: str) -> dict[str, Any]:
        """The plan as it lies there."""
        plan: dict[str, Any] = json.loads((self.folder / f"{job}.json").read_text())
        return plan

    def news(self) -> list[Line]:
        """Lines since the last call. Raises InfraError for a record that is no record."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = len(data) - len(data) % LEDGER_BYTES
        self._read += whole
        return [self._line(data[at : at + LEDGER_BYTES]) for at in range(0, whole, LEDGER_BYTES)]

    def _line(self, record: bytes) -> Line:
        try:
            line = msgspec.json.decode(record, type=Line)
        except msgspec.MsgspecError as error:
            raise InfraError(f"the ledger: a record that is no record: {record[:SHOWN]!r}") from error
        if line.run != self._run or not record.endswith(b"\n"):
            raise InfraError(f"the ledger: a record of another run: {record[:SHOWN]!r}")
        return line

    def unfired(self) -> Iterator[str]:
        """Marks of the native host: shots that the process survived."""
        yield from (path.name for path in self.folder.glob("*.unfired"))
