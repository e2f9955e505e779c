"""Files of engines under test as pytest's files, and an engine's properties as its items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.conformance.enginefile import load
from harness.conformance.properties import ORDER
from harness.conformance.session import answer
from harness.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class EngineFile(pytest.File):
    """One engine: its properties are the items. The first item that runs has the engine checked, for all of them."""

    def collect(self) -> Iterator[pytest.Item]:
        """Load the file; a mistake in it is one line, not a traceback."""
        try:
            load(self.path)
        except InvalidInputError as error:
            raise self.CollectError(str(error)) from error
        for name in ORDER:
            yield PropertyItem.from_parent(self, name=name)


class PropertyItem(pytest.Item):
    """One property of an engine."""

    def runtest(self) -> None:
        """Judge it; what is known to fail must fail, and says so once it does not."""
        asked = [one.name for one in self.session.items if one.parent is self.parent]
        answered = answer(self.path, self.name, asked, self.config)
        if answered.skip:
            pytest.skip(answered.skip)
        if answered.failure:
            pytest.fail(answered.failure, pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Readable id: file and property."""
        return self.path, None, f"{self.path.stem}[{self.name}]"
