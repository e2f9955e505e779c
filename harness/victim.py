"""Runs inside the child, and is the only importer of the crashing code.

As a script (`python -I -S victim.py …`) it loads the extension and nothing else, becomes a victim and fires one
fault. As a module it says how to start that script, and offers `fire` for a process that was armed.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is not imported: every module costs a victim page faults
    from collections.abc import Mapping
    from typing import Any

    from harness.evidence import Host, Start

BOX_FD = 4
EXTENSION = "harness._native"
MODES = {"forced": 0, "safe": 1, "wild": 2}


# --- beside the supervisor: nothing here loads the extension ---


def extension_path() -> str:
    """File of the compiled extension. Raises InfraError when the package was not built."""
    from importlib.util import find_spec  # noqa: PLC0415 -- not for the child

    from harness.exceptions import InfraError  # noqa: PLC0415

    spec = find_spec(EXTENSION)
    if spec is None or spec.origin is None:
        raise InfraError(f"{EXTENSION} is not built: install the package ('pip install .')")
    return spec.origin


def command_line(*arguments: str) -> list[str]:
    """The command that runs this file as a script in a new interpreter without site packages."""
    from importlib.util import find_spec  # noqa: PLC0415 -- not for the child
    from pathlib import Path  # noqa: PLC0415

    backend = find_spec("_cffi_backend")
    folder = str(Path(backend.origin).parent) if backend and backend.origin else ""
    return [sys.executable, "-I", "-S", __file__, extension_path(), folder, *arguments]


def runner_path() -> str:
    """The native host is installed beside the extension."""
    from pathlib import Path  # noqa: PLC0415 -- not for the child

    return str(Path(extension_path()).parent / "runner")


def shot_words(fault: str, mode: str, parameters: Mapping[str, int]) -> list[str]:
    """A shot as both hosts read it from their arguments. `mode` is forced, safe or wild."""
    return [fault, mode, *(f"{name}={value}" for name, value in parameters.items())]


def zygote_command(host: Host, start: Start) -> list[str]:
    """The command of a server of trials on descriptor 4: it forks its victims, or starts each afresh."""
    if start == "fresh":
        return [runner_path(), "--launcher", *host_command(host)]
    return [runner_path(), "--zygote"] if host == "native" else command_line("--zygote")


def host_command(host: Host) -> list[str]:
    """The command that, followed by the words of a shot, is a fresh victim."""
    return [runner_path()] if host == "native" else command_line()


# --- inside the child ---


def _load(path: str) -> Any:
    """Load the extension by the frozen importer: importlib would bring a dozen modules that a victim has no use for."""
    from _frozen_importlib import ModuleSpec  # noqa: PLC0415 -- not for the supervisor
    from _frozen_importlib_external import ExtensionFileLoader  # noqa: PLC0415 -- as above

    loader = ExtensionFileLoader(EXTENSION, path)
    spec = ModuleSpec(EXTENSION, loader, origin=path)
    module = loader.create_module(spec)
    loader.exec_module(module)
    module.__spec__ = spec  # extension_path() asks for it in a process that fires a fault itself
    return module


def _text(ffi: Any, value: Any) -> str:
    return str(ffi.string(value).decode()) if value != ffi.NULL else ""


def _row(ffi: Any, row: Any) -> dict[str, object]:
    words = ("name", "family", "mechanism", "kind", "tiers", "needs", "expects")
    answer: dict[str, object] = {word: _text(ffi, getattr(row, word)) for word in words}
    answer["parameters"] = [
        {
            "name": _text(ffi, one.name),
            "unit": _text(ffi, one.unit),
            "initial": one.initial,
            "low": one.low,
            "high": one.high,
        }
        for one in row.parameters
        if one.name != ffi.NULL
    ]
    return answer


def _rows(native: Any) -> list[Any]:
    return [native.lib.fault_row(index) for index in range(native.lib.fault_count())]


def _slim(native: Any) -> None:
    """Keep the interpreter's static data out of this process's forks, which never go back into the interpreter.

    That is a third of what a fork would copy. All that may lie beside what a fault touches stays.
    """
    with open("/proc/self/maps", encoding="ascii") as maps:  # noqa: PTH123 -- pathlib is not imported here
        lines = [line.split() for line in maps]
    for bounds, rights, *_ in lines:
        start, end = (int(part, 16) for part in bounds.split("-"))
        if rights == "rw-p" and start <= id(type) < end:
            native.lib.keep_from_forks(start, end - start)


def _index(native: Any, fault: str) -> int:
    names = [_text(native.ffi, row.name) for row in _rows(native)]
    return names.index(fault) if fault in names else -1


def _values(native: Any, index: int, parameters: Mapping[str, int]) -> list[int]:
    row = native.lib.fault_row(index)
    dials = [] if row == native.ffi.NULL else _row(native.ffi, row)["parameters"]
    unknown = set(parameters) - {dial["name"] for dial in dials}  # type: ignore[attr-defined]  # rows of _row
    if unknown and row != native.ffi.NULL:
        sys.exit(f"no such parameter: {', '.join(sorted(unknown))}")
    return [parameters.get(dial["name"], dial["initial"]) for dial in dials]  # type: ignore[attr-defined]  # rows of _row


def _fire(native: Any, fault: str, mode: str, parameters: Mapping[str, int]) -> int:
    index = _index(native, fault)
    values = _values(native, index, parameters)
    padded = values + [0] * (native.lib.PARAMETERS - len(values))
    return int(native.lib.fire(index, MODES[mode], padded))


def fire(fault: str, mode: str = "forced", **parameters: int) -> int:
    """Fire `fault` in this process, which a supervisor must have armed.

    Returns the outcome if the process lives (2 done, 3 did not fire). Raises NotArmed, with nothing fired, in
    any other process, and InvalidInputError for what the catalogue does not offer.
    """
    from harness.exceptions import InvalidInputError, NotArmed  # noqa: PLC0415 -- not for the child

    native = _load(extension_path())
    if mode not in MODES:
        raise InvalidInputError(f"mode: {mode!r} is not one of {', '.join(MODES)}")
    answer = _fire(native, fault, mode, parameters)
    if answer == native.lib.NOT_ARMED:
        raise NotArmed(f"{fault}: this process is not a victim; let a supervisor start one")
    if answer < 0:
        raise InvalidInputError(f"{fault}: refused ({answer})")
    return answer


def main(arguments: list[str]) -> int:
    """Catalogue as JSON, a server of trials, or arm and fire; a shot's answer is in the box, not in the status."""
    path, backend_folder, fault, *rest = arguments
    sys.path.append(backend_folder)
    native = _load(path)
    if fault == "--catalogue":
        import json  # noqa: PLC0415 -- a victim that fires does not need it

        rows = [_row(native.ffi, row) for row in _rows(native)]
        sys.stdout.write(json.dumps({"rows": rows, "unmet": _text(native.ffi, native.lib.unmet_needs()).split()}))
        return 0
    if fault == "--zygote":
        _slim(native)
        return 0 if native.lib.serve(BOX_FD) == 0 else 1
    if native.lib.arm(BOX_FD) != 0:
        sys.stderr.write("no box on descriptor 4: a victim is started by a supervisor only\n")
        return 2
    mode, *pairs = rest
    given = dict(pair.split("=", 1) for pair in pairs)
    _fire(native, fault, mode, {name: int(value) for name, value in given.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
