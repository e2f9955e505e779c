"""Records that C and Python share: the compiler is asked whether both mean the same bytes."""

import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.refusals import line, page
from harness.supervisor import box, guard, zygote

NATIVE = Path(__file__).parent.parent / "native"
BODY = r"struct {name} \{{\n(.*?)\n\}};"
DECLARATION = re.compile(r"^ +(?:struct )?\w+ ([^;]+);", re.MULTILINE)
TOKEN = re.compile(r"(\d*)([a-zA-Z])")
SIGNED = frozenset("iqhb")


class Twin(NamedTuple):
    """A struct of a C file, the format that reads its first members, and where Python has the others and the end."""

    file: str
    name: str
    format: struct.Struct | None = None
    others: Mapping[str, int] = {}
    size: int | None = None


TWINS = [
    Twin("box/page.h", "crash", box.CRASH, size=box.CRASH.size),
    Twin(
        "box/page.h",
        "link",
        others={"crash": 0, "checksum": box.CRASH.size, "fate": box.CRASH.size + box.SEAL.size // 2},
        size=box.CRASH.size + box.SEAL.size,
    ),
    Twin("box/page.h", "box", box.HEADER, {"chain": box.HEADER.size}, box.USED_BYTES),
    Twin("guard/report.h", "report", guard.REPORT, size=guard.REPORT.size),
    Twin("guard/report.h", "note", guard.NOTE, size=guard.NOTE.size),
    Twin("trials/zygote.c", "welcome", zygote.WELCOME, size=zygote.WELCOME.size),
    Twin("trials/zygote.c", "request", zygote.REQUEST, size=zygote.REQUEST.size),
    Twin(
        "trials/trial.h",
        "trial",
        zygote.HEAD,
        {"box": zygote.HEAD.size, "text": zygote.HEAD.size + zygote.BOX_BYTES},
        zygote.TRIAL_BYTES,
    ),
    Twin("trials/sweep.h", "stack", page.STACK, size=page.STACK.size),
    Twin("trials/sweep.h", "module", page.MODULE, size=page.MODULE.size),
    Twin("trials/sweep.h", "event", page.EVENT, size=page.EVENT.size),
    Twin(
        "trials/sweep.h",
        "order",
        page.ORDER,
        {"wanted": page.WANTED_AT, "text": page.ORDER_TEXT_AT},
        page.ORDER_BYTES,
    ),
    Twin(
        "trials/sweep.h",
        "answer",
        page.ANSWER,
        {
            "crash": page.CRASH_AT - page.ANSWER_AT,
            "refused_at": page.REFUSED_AT - page.ANSWER_AT,
            "crashed_at": page.CRASHED_AT - page.ANSWER_AT,
            "text": page.TEXT_AT - page.ANSWER_AT,
        },
        page.ANSWER_BYTES,
    ),
    Twin(
        "trials/sweep.h",
        "sweep",
        others={
            "order": 0,
            "answer": page.ANSWER_AT,
            "module_count": page.TABLES_AT,
            "stack_count": page.TABLES_AT + 4,
            "event_count": page.TABLES_AT + 8,
            "modules": page.MODULES_AT,
            "slots": page.SLOTS_AT,
            "stacks": page.STACKS_AT,
            "events": page.EVENTS_AT,
        },
        size=page.PAGE_BYTES,
    ),
    Twin("trials/sweep_server.c", "request", line.REQUEST, size=line.REQUEST.size),
    Twin("trials/sweep_server.c", "reply", line.REPLY, size=line.REPLY.size),
]


def members(twin: Twin) -> list[tuple[str, bool]]:
    """The members of a struct, in order, and whether each is an array of numbers."""
    text = (NATIVE / twin.file).read_text()
    body = re.search(BODY.format(name=twin.name), text, re.DOTALL)
    assert body, f"{twin.file}: there is no struct {twin.name}"
    plain = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    found = []
    for declaration in DECLARATION.finditer(plain):
        for one in declaration[1].split(","):
            name, bracket, _ = one.strip().lstrip("*").partition("[")
            found.append((name, bool(bracket) and "char" not in declaration[0]))
    return found


def items(form: struct.Struct | None) -> list[tuple[int, int, str, int]]:
    """Offset, size, type and, at a token's begin, the number of its items; padding left out."""
    found, offset = list[tuple[int, int, str, int]](), 0
    for token in TOKEN.finditer(form.format if form else ""):
        times, kind = int(token[1] or 1), token[2]
        each, count = (times, 1) if kind in "sx" else (struct.calcsize(f"<{kind}"), times)
        if kind != "x":
            found += [(offset + each * index, each, kind, 0 if index else count) for index in range(count)]
        offset += each * count
    return found


def claims(twin: Twin) -> Iterator[str]:
    """What must be so, as C has it: a static assertion each."""
    left, named = items(twin.format), members(twin)
    assert set(twin.others) <= {name for name, _ in named}
    for name, is_array in named:
        member, where = f"((struct {twin.name} *)0)->{name}", f"offsetof(struct {twin.name}, {name})"
        if name in twin.others:
            yield f"{where} == {twin.others[name]}"
            continue
        assert left, f"{twin.file}: struct {twin.name}: nothing in Python reads {name}"
        taken = left[: left[0][3] if is_array else 1]
        del left[: len(taken)]
        assert taken, f"{twin.file}: struct {twin.name}: {name} begins in the middle of a token"
        yield f"{where} == {taken[0][0]} && sizeof {member} == {sum(size for _, size, _, _ in taken)}"
        if not is_array and taken[0][2] != "s":
            yield f"((__typeof__({member}))-1 < 1) == {int(taken[0][2] in SIGNED)}"
    assert not left, f"{twin.file}: struct {twin.name}: Python reads more than there is"
    if twin.size is not None:
        yield f"sizeof(struct {twin.name}) == {twin.size}"


def contradicted(file: str, claims: Iterable[str]) -> list[str]:
    """The claims that do not hold of a header, as the compiler tells."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler called cc")
    source = f'#include <stddef.h>\n#include <stdint.h>\n#include "{file}"\n'
    source += "".join(f'_Static_assert({one}, "claim: {one}");\n' for one in claims)
    command = [compiler, "-fsyntax-only", "-D_GNU_SOURCE", f"-I{NATIVE}", "-x", "c", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=60, check=False)
    found = re.findall(r'error: .*"claim: (.*?)"', done.stderr)
    assert bool(found) == bool(done.returncode), done.stderr
    return found


def wrong(twin: Twin) -> list[str]:
    """The claims of a twin that do not hold."""
    return contradicted(twin.file, claims(twin))


@pytest.mark.parametrize("twin", TWINS, ids=[f"{one.file}:{one.name}" for one in TWINS])
def test_c_and_python_mean_the_same_bytes(twin: Twin) -> None:
    """Every member at the same offset, of the same size and sign; nothing left over on either side."""
    assert wrong(twin) == []


def test_a_member_that_moves_is_told() -> None:
    """The compiler contradicts a format that has two members the other way round, or one of the other sign."""
    swapped = struct.Struct(guard.REPORT.format.replace("Ii", "iI", 1))
    told = wrong(Twin("guard/report.h", "report", swapped, size=guard.REPORT.size))
    assert len(told) == 2
    assert all("magic" in one or "failed_step" in one for one in told)
    assert wrong(Twin("guard/report.h", "report", guard.REPORT, size=guard.REPORT.size + 8))


def test_every_record_that_python_reads_has_a_twin() -> None:
    """A format in the modules that read shared memory and sockets is in the table above; a new one is missed here."""
    known = {id(one.format) for one in TWINS}
    parts = {id(box.SEAL), id(guard.CREDENTIALS), id(zygote.STATUS_AND_WITNESS), id(page.COUNTS), id(page.KIND)}
    read = [
        (m.__name__, name)
        for m in (box, guard, zygote, page, line)
        for name, one in vars(m).items()
        if isinstance(one, struct.Struct) and id(one) not in known | parts
    ]
    assert read == []


@pytest.mark.parametrize(
    ("file", "constants"),
    [
        ("box/page.h", {"BOX_MAGIC": box.MAGIC, "CHAIN_LINKS": box.LINKS, "OPEN": box.OPEN, "RETURNED": box.RETURNED,
                        "LEFT": box.LEFT}),
        ("guard/report.h", {"REPORT_MAGIC": guard.REPORT_MAGIC, "NOTE_MAGIC": guard.NOTE_MAGIC,
                            "NOTE_STOPPED": guard.STOPPED, "NOTE_ALIVE": guard.ALIVE, "TOLD": guard.TOLD[0],
                            "CANCEL": guard.CANCEL[0], "RESUME": guard.RESUME[0], "ASK": guard.ASK[0],
                            "ABANDON": guard.ABANDON[0]}),
        ("trials/sweep.h", {"SWEEP_MAGIC": page.MAGIC, "FRAMES": page.FRAMES, "MODULES": page.MODULES,
                            "RANGES": page.RANGES, "STACKS": page.STACKS, "SLOTS": page.SLOTS, "EVENTS": page.EVENTS,
                            **{f"ASKS_{name.upper()}": bit for name, bit in page.OPERATIONS.items()}}),
    ],
)  # fmt: skip
def test_both_sides_have_the_same_constants(file: str, constants: Mapping[str, int]) -> None:
    """Magic numbers, sizes of tables, and the bytes of the control socket."""
    assert contradicted(file, (f"{name} == {value}" for name, value in constants.items())) == []
