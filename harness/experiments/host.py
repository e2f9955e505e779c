"""A host of a scenario, for real: it lives attempts that are sent to it, and it alone knows whether it is the bad one.

On a bad host, one that was started with CRASH_HARNESS_BAD_BIT=1 in its environment, every fault takes effect; on any
other none does. Whoever sends the attempt has no say in it. `python -m harness.experiments.host [bad]` is one for a
parent process: it answers a line with a line, both JSON.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import msgspec

from harness.evidence import Evidence  # noqa: TC001 -- msgspec reads the annotations of records
from harness.exceptions import HarnessError, InfraError, InvalidInputError
from harness.experiments.worker import serve
from harness.journal import as_text
from harness.supervisor import Limits, Shot, supervise
from harness.supervisor.confinement import Wanted  # noqa: TC001 -- as above
from harness.supervisor.observe import Observe  # noqa: TC001 -- as above

BAD_BIT = "CRASH_HARNESS_BAD_BIT"


class Errand(msgspec.Struct, frozen=True):
    """An attempt to be lived, and what bounds it. Whether the fault takes effect is not said: the host decides."""

    fault: str
    parameters: dict[str, int]
    limits: Limits
    timeout_s: float | None
    containment: Wanted = "auto"
    observe: Observe = "auto"


class Lived(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it, and what this host injected; or what it could not do, or what was asked wrongly."""

    evidence: Evidence | None = None
    injected: str = ""
    failed: str = ""
    wrong: str = ""

    def checked(self) -> tuple[Evidence, str]:
        """Evidence and what was injected. Raises InfraError or InvalidInputError as it did there."""
        if self.wrong:
            raise InvalidInputError(self.wrong)
        if self.evidence is None:
            raise InfraError(self.failed)
        return self.evidence, self.injected


def live_here(line: bytes) -> bytes:
    """On a host: live what a line asks for. The victim is not told of the bit by its environment."""
    env = dict(os.environ)
    mode = "forced" if env.pop(BAD_BIT, "") == "1" else "safe"
    try:
        errand = msgspec.json.decode(line, type=Errand)
        shot = Shot(errand.fault, mode, errand.parameters)
        held = partial(supervise, env=env, containment=errand.containment, observe=errand.observe)
        lived = Lived(held(shot, errand.limits, errand.timeout_s), mode)
    except InvalidInputError as error:
        lived = Lived(wrong=as_text(str(error)))
    except HarnessError as error:
        lived = Lived(failed=as_text(str(error)))
    return msgspec.json.encode(lived)


def main() -> None:
    """Answer until there are no more questions."""
    if sys.argv[1:] == ["bad"]:
        os.environ[BAD_BIT] = "1"
    serve(live_here)


if __name__ == "__main__":
    main()
