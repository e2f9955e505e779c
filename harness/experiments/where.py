"""Reads `--on`: worker processes of this machine, or the workers of a Dask cluster, plain or behind TLS. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from harness.exceptions import InvalidInputError

MOST_WORKERS: Final = 1000
EXPECTED: Final = (
    f"local:N, with 1 to {MOST_WORKERS} worker processes, dask://HOST:PORT, or dask+tls://HOST:PORT where the "
    "scheduler is behind TLS"
)


class Keys(msgspec.Struct, frozen=True):
    """Files (PEM) for a scheduler behind TLS; what is not given, Dask's own configuration says."""

    authority: str | None = None
    certificate: str | None = None
    key: str | None = None

    def __bool__(self) -> bool:
        """Whether any was given."""
        return bool(self.authority or self.certificate or self.key)


class Where(msgspec.Struct, frozen=True):
    """So many worker processes here, or the scheduler at `address`, as Dask writes it: "tls://HOST:PORT"."""

    workers: int = 0
    address: str = ""
    keys: Keys = Keys()


def read_where(text: str, keys: Keys = Keys()) -> Where:  # noqa: B008 -- frozen
    """Read it. Raises InvalidInputError."""
    kind, _, rest = text.partition(":")
    if kind in {"dask", "dask+tls"} and re.fullmatch(r"//[^/]+:\d+", rest):
        if keys and kind == "dask":
            raise InvalidInputError(f"--tls-ca-file, --tls-cert, --tls-key: expected --on dask+tls:{rest}, not {text}")
        return Where(address=f"{'tls' if kind == 'dask+tls' else 'tcp'}:{rest}", keys=keys)
    if kind != "local" or not rest.isdecimal() or not 1 <= int(rest) <= MOST_WORKERS:
        raise InvalidInputError(f"--on: expected {EXPECTED}, not {text!r}")
    if keys:
        raise InvalidInputError("--tls-ca-file, --tls-cert, --tls-key: expected --on dask+tls://HOST:PORT beside them")
    return Where(workers=int(rest))
