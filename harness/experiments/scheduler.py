"""The workers of a Dask scheduler, and which of them can be used: those whose version and extension are ours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness import __version__
from harness.exceptions import InfraError, InvalidInputError
from harness.machine import why_not
from harness.supervisor.launch import extension_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.experiments.where import Keys, Where

PATIENCE_S: Final = 10
EXPECTED_KEYS: Final = "expected --tls-ca-file, --tls-cert, --tls-key with PEM files"


class Introduction(msgspec.Struct, frozen=True):
    """What a worker says of itself. `version` and `extension` must be ours.

    `missing` is why it can't do what is needed, or empty; `name` is what the cluster calls it.
    """

    version: str
    extension: str
    missing: str
    name: str = ""

    def why_not(self, ours: Introduction) -> str:
        """Why it is not used, or the empty string."""
        if self.version != ours.version:
            return f"it has version {self.version}, not {ours.version}"
        if self.extension != ours.extension:
            return f"its extension is another: sha256 {self.extension[:12]}…, not {ours.extension[:12]}…"
        return self.missing


def introduce(needs: tuple[str, ...], dask_worker: Any = None) -> bytes:
    """On a worker: say who it is, and whether it has what is needed. Dask hands the worker in, by its parameter."""
    digest = hashlib.sha256(Path(extension_path()).read_bytes()).hexdigest()
    name = str(dask_worker.name) if dask_worker else ""
    return msgspec.json.encode(Introduction(__version__, digest, why_not(needs), name))


def usable(client: Any, where: Where, needs: Sequence[str]) -> dict[str, str]:
    """Ask all workers who they are, and return the addresses of those that can be used, with their names.

    Raises InvalidInputError where there is none.
    """
    ours = msgspec.json.decode(introduce(()), type=Introduction)
    said = _answers(client, tuple(needs))
    refused = {name: why for name, one in said.items() if (why := one if isinstance(one, str) else one.why_not(ours))}
    chosen = {name: one.name for name, one in said.items() if isinstance(one, Introduction) and name not in refused}
    if not chosen:
        why = "; ".join(f"{name}: {reason}" for name, reason in refused.items()) or "there is none"
        raise InvalidInputError(f"--on: {where.address}: no worker can be used: {why}")
    return chosen


def _answers(client: Any, needs: tuple[str, ...]) -> dict[str, Introduction | str]:
    """Return what each said, or why it can't be asked: most often harness is not installed there, or it has ended."""
    try:
        told: dict[str, bytes | Exception] = client.run(introduce, needs, on_error="return")
    except Exception as error:  # of the scheduler's
        raise InfraError(f"--on: the workers can't be asked who they are: {error}") from error
    return {
        name: msgspec.json.decode(said, type=Introduction)
        if isinstance(said, bytes)
        else f"it can't be asked who it is: {type(said).__name__}: {said}"
        for name, said in told.items()
    }


def connect(where: Where) -> Any:
    """Return a client of the scheduler. Raises InvalidInputError, and InfraError where no scheduler answers."""
    try:
        from distributed import Client  # noqa: PLC0415 -- only --on dask:// needs it
    except ImportError as error:
        text = "--on dask://…: distributed is not installed: pip install 'crash-harness[cluster]'"
        raise InvalidInputError(text) from error
    security = _security(where.keys) if where.address.startswith("tls:") else None
    try:
        return Client(where.address, timeout=PATIENCE_S, set_as_default=False, security=security)
    except (OSError, ValueError, TypeError) as error:
        raise InfraError(f"--on: {where.address}: no scheduler answers: {error}") from error


def _security(keys: Keys) -> Any:
    """Return what a client needs for TLS, checked before anybody is asked: files that can be read, and go together."""
    from distributed.security import Security  # noqa: PLC0415 -- as above

    given = {"tls_ca_file": keys.authority, "tls_client_cert": keys.certificate, "tls_client_key": keys.key}
    try:
        made = Security(require_encryption=True, **{name: one for name, one in given.items() if one})
        context = made.get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise InvalidInputError(f"--on: {EXPECTED_KEYS}: {error}") from error
    if context is None:
        raise InvalidInputError(f"--on: {EXPECTED_KEYS}, or Dask's own configuration to name them: nothing does")
    return made
