"""Child-side script: fires a fault. No other Python code of ours imports the crashing extension.

    python -I -S fault.py EXTENSION FOLDER FAULT MODE [NAME=VALUE...]

Loads the extension and nothing else, becomes a victim and fires; native/trials/runner.c is its twin. Every victim
compiles this file, and every fork of a warm one copies what that leaves behind: it is short, and the words are read
in C.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is not imported: every module costs a victim page faults
    from collections.abc import Sequence
    from typing import Any

BOX_FD = 4
EXTENSION = "harness._native"


def load(path: str) -> Any:
    """Load the extension by the frozen importer: importlib would load a dozen modules that a victim does not need."""
    from _frozen_importlib import ModuleSpec  # noqa: PLC0415 -- not for the supervisor
    from _frozen_importlib_external import ExtensionFileLoader  # noqa: PLC0415 -- as above

    loader = ExtensionFileLoader(EXTENSION, path)
    spec = ModuleSpec(EXTENSION, loader, origin=path)
    module = loader.create_module(spec)
    loader.exec_module(module)
    module.__spec__ = spec  # extension_path() asks for it in a process that fires a fault itself
    return module


def obey(native: Any, words: Sequence[str]) -> int:
    """Fire the fault that the words name, FAULT MODE [NAME=VALUE...]; return the answer of fire()."""
    kept = [native.ffi.new("char[]", word.encode()) for word in words]
    return int(native.lib.fire_words(len(kept), kept))


def main(path: str, folder: str, *words: str) -> int:
    """Print the catalogue as JSON, or serve trials, or fire one shot, whose outcome goes into the shared box."""
    sys.path.append(folder)
    native = load(path)
    if words == ("--catalogue",):
        return int(native.lib.print_catalogue())
    if words == ("--zygote",):
        return int(native.lib.serve(BOX_FD) != 0)
    if native.lib.arm(BOX_FD) != 0:
        sys.stderr.write("no box on descriptor 4: a victim is started by a supervisor only\n")
        return 2
    if obey(native, words) == native.lib.BAD_WORDS:
        sys.stderr.write("usage: fault.py EXTENSION FOLDER FAULT MODE [NAME=VALUE...]\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
