"""Stacks with names: who asked for something, and which site that is. Values in, values out."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PLUMBING: Final = re.compile(
    r"(libc|libstdc\+\+|libc\+\+(abi)?|libgcc_s|libm|libpthread|libdl|librt)(-[\d.]+)?\.so|ld-linux|ld-musl|linux-vdso"
)
INTERPRETER: Final = re.compile(r"python[\d.]*t?$|libpython[\d.]+t?\.so")
BYTECODE: Final = r"_PyEval_(EvalFrame|Vector)|PyEval_EvalCode|_PyFunction_Vectorcall|_TAIL_CALL_"
ALLOCATORS: Final = re.compile(
    r"_?Py(Mem|Object)_(Raw)?(Malloc|Calloc|Realloc)|_PyMem_\w+|_PyObject_(Malloc|Calloc|Realloc|GC_\w+)|_?PyObject_GC_\w+"
    r"|PyType_GenericAlloc|_PyType_AllocNoTrack|gc_alloc|_PyObject_New\w*|operator new(\[\])?|x(malloc|calloc|realloc)"
)
TERMINATORS: Final = re.compile(
    r"std::terminate|__cxxabiv1::__terminate|_ZSt9terminatev|rust_oom|handle_alloc_error|rust_panic|__rust_start_panic"
    r"|Py_FatalError|_Py_FatalError|fatal_error|g_error|g_log|g_malloc|jv_mem_alloc|jv_mem_realloc"
    r"|memory_exhausted|x(malloc|calloc|realloc|alloc_die)$|abort_on_oom|out_of_memory"
)
LAST_WORDS: Final = re.compile(
    r"^(memory allocation of \d+ bytes failed|terminate called |PANIC: unprotected error in call to Lua API"
    r"|Fatal Python error: )",
    re.MULTILINE,
)
SITE_DIGITS: Final = 12

Frame = tuple[int, int]  # a module's number on a page, offset in it
RawStack = tuple[Frame, ...]  # innermost first
Place = tuple[str, int]  # path of a module, offset in it
Stack = tuple[Place, ...]  # innermost first


class Rules(msgspec.Struct, frozen=True):
    """Whose calls may be refused. `libraries` are parts of file names; without any, every extension is an owner."""

    libraries: tuple[str, ...] = ()
    also_interpreter: bool = False


def file_name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2] or path


def kind_of(path: str, rules: Rules) -> str:
    """How a module counts: plumbing, interpreter, owner or foreign."""
    name = file_name(path)
    if any(part in name for part in rules.libraries):
        return "owner"
    if PLUMBING.match(name):
        return "plumbing"
    if INTERPRETER.match(name):
        return "owner" if rules.also_interpreter else "interpreter"
    return "foreign" if rules.libraries else "owner"


def owner(stack: Stack, kinds: Callable[[str], str], runs_bytecode: Callable[[Place], bool]) -> str:
    """Path of the module that asked: the first that is no plumbing. Empty where bytecode did, or nobody is left."""
    for place in stack:
        kind = kinds(place[0])
        if kind == "interpreter" and runs_bytecode(place):
            return ""
        if kind in ("owner", "foreign"):
            return place[0]
    return ""


def site(stack: Stack, depth: int) -> str:
    """Identify where something is asked for: by its innermost frames, the same in each run of one build."""
    frames = "\n".join(f"{file_name(path)}+{offset:x}" for path, offset in stack[:depth])
    return hashlib.blake2b(frames.encode(), digest_size=16).hexdigest()[:SITE_DIGITS]


def frame(place: Place, function: str) -> str:
    """Write `module!function`, or `module+0xoffset` where there is no name."""
    path, offset = place
    return f"{file_name(path)}!{function}" if function else f"{file_name(path)}+{offset:#x}"


def module_of(text: str) -> str:
    """Return the module of a written frame."""
    named = text.partition("!")[0]
    return named.rpartition("+0x")[0] or named


def is_plumbing(text: str) -> bool:
    """Whether a written frame belongs to a C or C++ runtime."""
    return PLUMBING.match(text) is not None


def is_by_design(frames: Sequence[str], last_words: str = "") -> bool:
    """Whether a program ends itself on purpose: what is for that is on the stack, or speaks last where names are gone.

    `last_words` are those of a program that has aborted.
    """
    return any(TERMINATORS.search(text.partition("!")[2]) for text in frames) or bool(LAST_WORDS.search(last_words))


def telling(frames: Sequence[str], count: int) -> tuple[str, ...]:
    """The innermost frames that tell one crash from another: those of no runtime, where there are any."""
    own = [text for text in frames if not is_plumbing(text)]
    return tuple((own or list(frames))[:count])


def asking(frames: Sequence[str]) -> str:
    """The frame that asked: below runtimes and the allocators of interpreters, where there is any."""
    own = [text for text in frames if not is_plumbing(text)]
    named = [text for text in own if not ALLOCATORS.fullmatch(text.partition("!")[2])]
    return next(iter(named or own or frames), "")
