"""Runs inside the swept process: loads a function of the user's, warms it up, and becomes the server of its trials.

    python -P swept.py LIBRARY

LIBRARY is preloaded already. The order is on its page, as marshal writes it: what this file imports, the swept code
shares, and so it imports next to nothing. Nothing here runs between two trials; a child begins where serve() returns.
"""

from __future__ import annotations

import ctypes
import gc
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

IMPORTED, READY, FAILED = 1, 2, 3
SEPARATOR = "\x1f"
GIVES = "gives"
LATE = "late"  # each trial makes the first calls itself: threads that they start are lost in a fork
LATER = ("coroutine", "generator", "async_generator")  # what a call gives that has not begun
CALLS = 3  # before anything is compared: caches fill
TEXT_LETTERS = 400


class Library:
    """The preloaded library, as far as this process calls it. All calls hold the interpreter's lock."""

    def __init__(self, path: str) -> None:
        self._shared = ctypes.PyDLL(path)
        self._call_no_arguments = ctypes.cast(ctypes.pythonapi.PyObject_CallNoArgs, ctypes.c_void_p).value
        self._shared.sweep_call.restype = ctypes.py_object
        self._shared.sweep_call.argtypes = [ctypes.c_void_p, ctypes.py_object]
        self._shared.sweep_order.restype = ctypes.c_void_p
        self._shared.sweep_bound.argtypes = [ctypes.c_ulong]
        self._shared.sweep_tell.argtypes = [ctypes.c_char_p, ctypes.c_long]
        self._shared.sweep_live.restype = ctypes.c_long
        self.next, self.end = self._shared.sweep_next, self._shared.sweep_end
        self.live, self.bound = self._shared.sweep_live, self._shared.sweep_bound
        self.serve: Callable[[], int] = self._shared.sweep_serve

    def order(self) -> dict[str, Any] | None:
        """Read what is to be swept; None in a process that no supervisor has started for a sweep."""
        length = ctypes.c_long()
        at = self._shared.sweep_order(ctypes.byref(length))
        found: dict[str, Any] | None = marshal.loads(ctypes.string_at(at, length.value)) if at else None  # noqa: S302 -- the supervisor wrote it
        return found

    def call(self, function: Callable[[], object]) -> object:
        """Call it in the window."""
        return self._shared.sweep_call(self._call_no_arguments, function)

    def tell(self, *fields: str) -> None:
        """Leave words on the page."""
        text = SEPARATOR.join(fields).encode("utf-8", "backslashreplace").replace(b"\0", b"\\0")
        self._shared.sweep_tell(text, len(text))

    def say(self, word: int, *fields: str) -> None:
        """Tell the supervisor how far this process is."""
        self.tell(*fields)
        self._shared.sweep_say(word)


def find(name: Any) -> Any:
    """Import `module:function`; a function is returned as it is. Raises whatever the import raises."""
    if not isinstance(name, str):
        return name
    import importlib  # noqa: PLC0415 -- not before the user's path is in place

    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = _member(found, part)
    return found


def _member(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        import difflib  # noqa: PLC0415 -- only a mistake needs it

        near = difflib.get_close_matches(name, dir(owner), n=1)
        raise AttributeError(f"{error}; did you mean {near[0]!r}?" if near else str(error)) from None


# --- what a call gave, in a form that can be compared across processes ---


def digest(value: object) -> str:
    """Identify a value: by content for buffers and containers of them, else by its repr without addresses."""
    import hashlib  # noqa: PLC0415 -- as above

    state = hashlib.blake2b(digest_size=16)
    try:
        state.update(marshal.dumps(value, 0))  # type: ignore[arg-type]  # it says so itself; the version that writes what is equal alike, shared or not
    except (TypeError, ValueError):
        _feed(state.update, value, 0)
    return state.hexdigest()


def _feed(update: Callable[[bytes], None], value: object, depth: int) -> None:
    update(type(value).__qualname__.encode())
    if isinstance(value, dict) and depth < 8:  # noqa: PLR2004 -- deeper ones are compared by their repr
        for key, member in value.items():
            _feed(update, key, depth + 1)
            _feed(update, member, depth + 1)
    elif isinstance(value, list | tuple) and depth < 8:  # noqa: PLR2004 -- as above
        for member in value:
            _feed(update, member, depth + 1)
    else:
        update(_bytes_of(value))


def _bytes_of(value: object) -> bytes:
    try:
        view = memoryview(value)  # type: ignore[arg-type]  # that is the question
        return f"{view.format}{view.shape}".encode() + view.tobytes()
    except (TypeError, ValueError, NotImplementedError, BufferError):
        return _repr(value).encode("utf-8", "backslashreplace")


def _repr(value: object) -> str:
    return _without_addresses(repr(value))


def _without_addresses(text: str) -> str:
    if " at 0x" not in text:  # the search of a regular expression is slow, and long texts are common
        return text
    import re  # noqa: PLC0415 -- as above

    return re.sub(r" at 0x[0-9a-f]+", " at 0x…", text)


class Judge:
    """Puts the outcome of a call into words: kind, digest or exception, text, and whether it counts as handled."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._ok = _predicate(order["ok"])
        self._equal = find(order["equal"]) if order["equal"] else None
        self._reference: list[object] = []

    def remember(self, value: object) -> None:
        """Keep the reference, if a function of the user's is to compare it."""
        if self._equal is not None:
            self._reference = [value]

    def value(self, value: object) -> list[str]:
        """Put a result into words."""
        if self._equal is not None and self._reference:
            same = "equal" if self._equal(self._reference[0], value) else "differs"
        else:
            same = digest(value)
        return ["value", same, _repr(value)[:TEXT_LETTERS], "", self._says_ok(value, None)]

    def error(self, error: BaseException) -> list[str]:
        """Put an exception into words: the names of its classes, its text, its errno."""
        names = "/".join(one.__name__ for one in type(error).__mro__)
        number = getattr(error, "errno", None)
        text = _text(error)[:TEXT_LETTERS]
        return ["raised", names, text, str(number) if isinstance(number, int) else "", self._says_ok(None, error)]

    def _says_ok(self, value: object, error: BaseException | None) -> str:
        return "ok" if self._ok is not None and self._ok(value, error) else ""


def _text(error: BaseException) -> str:
    try:
        return _without_addresses(str(error))
    except Exception:  # noqa: BLE001 -- an exception of the user's may not be printable
        return ""


def _predicate(spec: Any) -> Callable[[object, BaseException | None], object] | None:
    """`module:function`, which gets value and error; or an expression over these names."""
    if not spec or not isinstance(spec, str):
        return spec or None
    import re  # noqa: PLC0415 -- as above

    if re.fullmatch(r"[\w.]+:[\w.]+", spec):
        found: Callable[[object, BaseException | None], object] = find(spec)
        return found
    code = compile(spec, "--ok", "eval")
    return lambda value, error: eval(code, {"value": value, "error": error})  # noqa: S307 -- the user's own expression


# --- the server ---


class Server:
    """One call, from its first warm-up to the last of its trials."""

    def __init__(self, library: Library, order: dict[str, Any], function: Callable[[], object]) -> None:
        self._library, self._order, self._function = library, order, function
        self._judge = Judge(order)
        then = order["then"]
        self._then = None if then in ("call", "call-in-thread") else find(_without_prefix(then))

    def attempt(self, *, in_window: bool = False) -> list[str]:
        """Call once."""
        try:
            value = self._library.call(self._function) if in_window else self._function()
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the answer
            error.__traceback__ = None
            return self._judge.error(error)
        return self._judge.value(value)

    def first_calls(self, *, in_window: bool = True) -> object:
        """Fill caches, take the reference, and return it. No window may be opened where a refusal waits in it."""
        for _ in range(self._order["warmup"]):
            self.attempt(in_window=in_window)
        reference: object = None
        try:
            reference = self._function()
            self._judge.remember(reference)
        except BaseException as error:  # noqa: BLE001 -- the next attempt shows it
            error.__traceback__ = None
        return reference

    def warm_up(self) -> bool:
        """Make the first calls. False, with a word to the supervisor, where the call can't be swept."""
        began_with = _threads()
        reference = self.first_calls()
        if type(reference).__name__ in LATER:
            self._library.say(FAILED, GIVES, type(reference).__name__)
            return False
        seen = [self.attempt() for _ in range(CALLS)]
        if seen[-1][0] == "raised" and not seen[-1][4]:
            self._library.say(FAILED, "fails", seen[-1][1].split("/")[0], seen[-1][2])
            return False
        same = len({tuple(one[:2]) for one in seen}) == 1
        counts = str(began_with), str(_threads())
        self._library.say(READY, "same" if same else "differs", *seen[-1], seen[0][2], *counts)
        return True

    def serve(self) -> int:
        """Serve until the supervisor hangs up. Does not return in a child."""
        gc.collect()
        gc.freeze()
        if self._library.serve() != 1:
            return 0
        self._trial()
        self._library.end()
        return 0

    def _trial(self) -> None:
        if self._order[LATE]:
            self.first_calls(in_window=False)
        first = self.attempt(in_window=True)
        self._library.tell(*first)
        self._library.next()
        again = self._next_call()
        self._library.tell(*first, *again)
        if self._order["leak"]:
            self._library.tell(*first, *again, ",".join(map(str, self._slopes())))

    def _next_call(self) -> list[str]:
        if self._then is not None:
            return self._check(self._then)
        if self._order["then"] != "call-in-thread":
            return self.attempt()
        import threading  # noqa: PLC0415 -- only where it is asked for

        answers: list[list[str]] = []
        thread = threading.Thread(target=lambda: answers.append(self.attempt()))
        thread.start()
        thread.join()
        return answers[0]

    def _check(self, check: Callable[[], object]) -> list[str]:
        try:
            good = check() is not False
        except BaseException as error:  # noqa: BLE001 -- as above
            return self._judge.error(error)
        return ["checked", "good" if good else "bad", "", "", ""]

    def _slopes(self) -> list[int]:
        """Count the blocks that each repetition leaves behind."""
        seen = []
        for _ in range(self._order["leak"] + 1):
            self.attempt(in_window=True)
            gc.collect()
            seen.append(self._library.live())
        return [after - before for before, after in zip(seen, seen[1:], strict=False)]  # noqa: RUF007 -- itertools would be shared too


def _without_prefix(then: Any) -> Any:
    return then.removeprefix("check:") if isinstance(then, str) else then


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 -- names are all


def _bound(library: Library, growth: int) -> None:
    """Bound how much memory a child may take beyond what this process has."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 -- pathlib would be shared with the swept code
        pages = int(file.read().split()[5])
    library.bound(pages * os.sysconf("SC_PAGE_SIZE") + growth)


def run(library: Library, order: dict[str, Any], function: Callable[[], object]) -> int:
    """Warm up and serve. Both the script and the pytest plugin come here."""
    if "faulthandler" in sys.modules:
        sys.modules["faulthandler"].disable()
    library.say(IMPORTED)
    server = Server(library, order, function)
    if order[LATE]:
        library.say(READY)
    elif not server.warm_up():
        return 1
    _bound(library, order["growth"])
    return server.serve()


def _of_script(order: dict[str, Any]) -> Callable[..., object]:
    """A function of the script that the user runs, found as harness.run finds it."""
    import importlib.util  # noqa: PLC0415 -- as above

    spec = importlib.util.spec_from_file_location("function", f"{__file__.rpartition('/')[0]}/function.py")
    module: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]  # the file is beside this one
    spec.loader.exec_module(module)  # type: ignore[union-attr]  # as above
    found: Callable[..., object] = module._found(order)  # noqa: SLF001 -- the two are one program in two files
    return found


def _prepared(order: dict[str, Any]) -> Callable[[], object]:
    function: Callable[..., object] = _of_script(order) if order["file"] else find(f"{order['module']}:{order['name']}")
    given = find(order["setup"])() if order["setup"] else None
    arguments = order["arguments"] or {"args": [], "kwargs": {}}
    if given is not None:
        arguments["args"].insert(0, given)
    if not arguments["args"] and not arguments["kwargs"]:
        return function
    import functools  # noqa: PLC0415 -- only where it is asked for

    return functools.partial(function, *arguments["args"], **arguments["kwargs"])


def main(path: str) -> int:
    """Load what the order names, and serve."""
    library = Library(path)
    order = library.order()
    if order is None:
        sys.stderr.write("no page: a server of a sweep is started by a supervisor only\n")
        return 2
    sys.path[:] = order["path"]
    sys.argv[:] = [""]
    try:
        function = _prepared(order)
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the answer
        library.say(FAILED, "import", type(error).__name__, _text(error))
        return 1
    return run(library, order, function)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
