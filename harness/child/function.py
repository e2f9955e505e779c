"""Runs inside the child: a Python function of the user's. What it is comes over a channel, what came of it goes back.

    python -P job.py

The channel is descriptor 5, a file of fixed size: length, CRC-32, JSON. What the function prints, and how its process
ends, are its own. Only the standard library is imported, and nothing before the user's own path is in place.
"""

import sys

CHANNEL_FD = 5
CHANNEL_BYTES = 4 << 20
HEADER_BYTES = 8


def pack(payload: bytes) -> bytes:
    """Length and CRC-32, 4 bytes each, little-endian, then the payload."""
    import zlib  # noqa: PLC0415 -- the same code runs in the child, which imports late

    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload


def unpack(data: bytes) -> bytes | None:
    """Return the payload; None for anything that is not whole."""
    import zlib  # noqa: PLC0415 -- as above

    length, checksum = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
    payload = data[HEADER_BYTES : HEADER_BYTES + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _find(module: str, name: str) -> object:
    import importlib  # noqa: PLC0415 -- as above

    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _thrown(error: BaseException) -> dict[str, object]:
    import traceback  # noqa: PLC0415 -- as above

    stack = "".join(traceback.format_exception(error))
    return {"thrown": {"name": type(error).__name__, "message": str(error), "stack": stack}}


def _fit(answer: dict[str, object]) -> bytes:
    """Encode; an answer that JSON or the channel can't hold is a thrown error that says so."""
    import json  # noqa: PLC0415 -- as above

    try:
        payload = json.dumps(answer, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        return json.dumps(_thrown(error)).encode()
    if len(payload) > CHANNEL_BYTES - HEADER_BYTES:
        return json.dumps(_thrown(OverflowError(f"the answer has {len(payload)} bytes; {CHANNEL_BYTES} fit"))).encode()
    return payload


def main() -> int:
    """Call the function, and answer."""
    import json  # noqa: PLC0415 -- as above
    import os  # noqa: PLC0415 -- as above

    os.set_inheritable(CHANNEL_FD, False)
    payload = unpack(os.pread(CHANNEL_FD, CHANNEL_BYTES, 0))
    if payload is None:
        sys.stderr.write("no channel on descriptor 5: a job is started by a supervisor only\n")
        return 2
    asked = json.loads(payload)
    sys.path[:] = asked["path"]
    try:
        function = _find(asked["module"], asked["name"])
        answer = {"value": function(*asked["args"], **asked["kwargs"])}  # type: ignore[operator]  # found by name
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is the answer
        answer = _thrown(error)
    os.pwrite(CHANNEL_FD, pack(_fit(answer)), 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
