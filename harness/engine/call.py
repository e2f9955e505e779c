"""harness.call: a function of the user's with its arguments, so that another process can find it and call it."""

from __future__ import annotations

import inspect
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness.child import function as child
from harness.exceptions import InvalidInputError, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

MAINS: Final = frozenset({"__main__", "__mp_main__", child.MAIN})


class Call(msgspec.Struct, frozen=True):
    """A function by its module and name, with its arguments as JSON. Made by harness.call."""

    module: str
    name: str
    arguments: str
    file: str | None = None
    package: str | None = None

    @property
    def title(self) -> str:
        """Module and name, "jobs:convert"; of a script, its file and name."""
        return f"{self.file or self.module}:{self.name}"

    def question(self) -> bytes:
        """What the child reads: a line that says where to import from and what to call, and one with the arguments."""
        names = {name: getattr(self, name) for name in ("module", "name", "file", "package")}
        asked = names | {"path": list(map(os.fsdecode, sys.path)), "argv": sys.argv}
        return json.dumps(asked).encode() + b"\n" + self.arguments.encode()


def call(function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Call:
    """Give a function its arguments, for harness.run.

    `function` stands at the top level of a module or of the script that runs, so that another process can import it:
    no lambda, no closure, nothing of a notebook's cell. It may be `async`. Its arguments and its result travel as
    JSON: dict, list, str, int, float, bool and None, nested up to 200 deep, 4 MiB in all. As JSON has it, a tuple
    arrives as a list and a key as a string; anything else is refused.

        run = harness.run(harness.call(resize, "cat.png", width=200), harness.Policy(3), timeout_s=60)
        run.value  # what resize returned in the end

    Nothing that `function` may be called with is an option of the harness's, and no option of the harness's reaches
    it. A script that calls harness.run does so below `if __name__ == "__main__":`, as with multiprocessing.

    Raises InvalidInputError for a function that can't be imported, arguments that it does not take, or that can't
    travel.
    """
    module, name = _importable(function)
    file, package = _script(function, module) if module in MAINS else (None, None)
    title = f"{file or module}:{name}"
    _check_arguments(function, title, args, kwargs)
    try:
        made = Call(module, name, child.encode({"args": args, "kwargs": kwargs}).decode(), file, package)
    except child.Mistake as error:
        raise InvalidInputError(f"arguments of {title}: {error}") from error
    if len(made.question()) > child.ROOM_BYTES:
        raise InvalidInputError(f"arguments of {title}: {len(made.arguments)} bytes as JSON, which do not fit")
    return made


def refuse_unguarded() -> None:
    """Raise InvalidInputError in a child that only imports the file of its job: a run from there would never end."""
    if not getattr(sys, child.IMPORTING, False):
        return
    message = (
        "the file calls harness.run when it is imported, and each attempt imports it to find the function; "
        "let the call stand below `if __name__ == '__main__':`"
    )
    setattr(sys, child.IMPORTING, message)
    raise InvalidInputError(message)


def importable(function: Callable[..., object]) -> str:
    """Return a function's module and name, "module:name". Raises InvalidInputError for what can't be imported."""
    module, name = _importable(function)
    if module in MAINS:
        raise _refused(function, "it stands in the script that runs; let it stand in a module")
    return f"{module}:{name}"


def _importable(function: Callable[..., object]) -> tuple[str, str]:
    """Return module and name. Raises InvalidInputError for what another process could not find by them."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if inspect.ismethod(function) and not inspect.isclass(function.__self__):
        raise _refused(function, "a method of an object stays with it; call a function that makes the object")
    if not isinstance(module, str) or not isinstance(name, str):
        raise _refused(function, "it has no name to import it by; give a function, and its arguments by harness.call")
    if "<lambda>" in name:
        raise _refused(
            function, "a lambda has no name to import it by; define it with def, at the top level of a module"
        )
    if "<locals>" in name:
        raise _refused(
            function, "it is defined inside another function; move it to the top level, and pass what it needs"
        )
    if _found(sys.modules.get(module), name) != function:
        raise _refused(function, f"{module}:{name} is something else, or is not there")
    return module, name


def _refused(function: object, why: str) -> InvalidInputError:
    name = getattr(function, "__qualname__", None)
    return InvalidInputError(f"job: {name if isinstance(name, str) else shown(function)} can't be imported: {why}")


def _found(module: ModuleType | None, name: str) -> object:
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _script(function: Callable[..., object], module: str) -> tuple[str, str | None]:
    """Return the file of the script that runs, and its package. Raises InvalidInputError where there is no file."""
    main = sys.modules[module]
    file, code = getattr(main, "__file__", None), getattr(inspect.unwrap(function), "__code__", None)
    written = code.co_filename if code else file
    if not file or not written or written.startswith("<") or not os.path.isfile(file):  # noqa: PTH113 -- as text
        raise _refused(
            function, "it was typed into a notebook, a shell or python -c; write it to a file, and import it from there"
        )
    spec = getattr(main, "__spec__", None)
    return os.path.abspath(file), spec.parent if spec else None  # noqa: PTH100 -- as text


def _check_arguments(function: Callable[..., object], title: str, args: Any, kwargs: Any) -> None:
    """Raise InvalidInputError for arguments that the function does not take, as far as it says what it takes."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidInputError(f"arguments of {title}: {error}") from error
