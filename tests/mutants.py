"""Mutants of the built-in tables: every bit, rule, step, text and limit, one change at a time; and eight old bugs.

A mutant patches what an edit of the source would change: a name in each module that has it, or a built-in dialect.
The eight are bugs that the upstream engine has had (upstream §16, and its issues).
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import msgspec
import pytest

from harness import evidence as signature
from harness.dialects import BUILT_IN, retry, rules, strict, upstream_4_5
from harness.dialects import upstream_v1 as legacy
from harness.dialects.builtin import BuiltIn
from harness.dialects.rules import Rule
from harness.evidence import Exited
from harness.wire import codes, errors, policy, schema, truncation
from harness.wire.codes import Code, CodeRow, Status
from harness.wire.errors import internal
from harness.wire.request import Decision, Method, Outcome, Request, Settings
from harness.wire.schema import Schema

EVERY = tuple(BUILT_IN)
UPSTREAM = tuple(name for name in EVERY if name not in {"strict", "upstream-v1"})
NEWER = (*UPSTREAM, "strict")  # the first engine has its own steps
STEPS = ("_cancel", "_answer_oom", "_refuse_code", "_cap_attempts", "_cap_run", "_obey_worker", "_follow_policy")
LEGACY = ("upstream-v1",)
STRICT = ("strict",)
SAFE = tuple(name for name, dialect in BUILT_IN.items() if dialect.schema.safe_integers)
Patch = pytest.MonkeyPatch
Deciding = Callable[[Request], Decision]


class Mutant(NamedTuple):
    """One change; it must be killed under each of `dialects`, by their names."""

    name: str
    dialects: tuple[str, ...]
    apply: Callable[[Patch], None]


def replace(patch: Patch, *, module: Any, attribute: str, value: object) -> None:
    """Give a name another value in every module that has it from this one."""
    old = getattr(module, attribute)
    for one in [loaded for name, loaded in sys.modules.items() if name.startswith("harness.")]:
        if vars(one).get(attribute) is old:
            patch.setattr(one, attribute, value)


def mutant(name: str, module: Any, attribute: str, value: object, dialects: tuple[str, ...] = EVERY) -> Mutant:
    """A name with another value."""
    return Mutant(name, dialects, partial(replace, module=module, attribute=attribute, value=value))


def changed(name: str, dialect: str, **changes: Any) -> Mutant:
    """A dialect with other members."""

    def apply(patch: Patch) -> None:
        patch.setitem(BUILT_IN, dialect, msgspec.structs.replace(BUILT_IN[dialect], **changes))

    return Mutant(name, (dialect,), apply)


# --- the table of codes ---


def of_codes() -> Iterator[Mutant]:
    """Flip each bit in each dialect; give each code another status; drop what sets a dialect apart."""
    for name, dialect in BUILT_IN.items():
        for code, row in dialect.rows.items():
            yield _row(f"{code}: retriable flipped", name, code, row._replace(retriable=not row.retriable))
            yield _row(f"{code}: look-up flipped", name, code, row._replace(lookup=not row.lookup))
            if row != codes.CODES[code]:
                yield _row(f"{code}: row of {name} dropped", name, code, codes.CODES[code])
    for code, row in codes.CODES.items():
        other = next(status for status in Status if status is not row.status)
        table = {**codes.CODES, code: row._replace(status=other)}
        yield mutant(f"{code}: status {other}", codes, "CODES", table, ("upstream-4.5",))
    for code, canned in codes.CANNED.items():
        yield from _canned(code, canned)
    for member in ("name", "href"):
        link = msgspec.structs.replace(codes.DEADLOCK_LINK, **{member: "other"})
        yield mutant(f"link of deadlocks: other {member}", errors, "DEADLOCK_LINK", link)


def _row(name: str, dialect: str, code: Code, row: CodeRow) -> Mutant:
    return changed(name, dialect, rows={**BUILT_IN[dialect].rows, code: row})


def _canned(code: Code, canned: codes.Canned) -> Iterator[Mutant]:
    others = {
        "dropped": None,
        "other message": canned._replace(message="other"),
        "other link": canned._replace(link=msgspec.structs.replace(canned.link, href="other")),
        "other link name": canned._replace(link=msgspec.structs.replace(canned.link, name="other")),
    }
    for name, other in others.items():
        left = {key: row for key, row in {**codes.CANNED, code: other}.items() if row}
        yield mutant(f"canned text of {code}: {name}", errors, "CANNED", left)


# --- the rules ---


def of_rules() -> Iterator[Mutant]:
    """Drop each rule, let it always hold, swap each pair."""
    for name, dialect in BUILT_IN.items():
        table = list(dialect.rules)
        for index, rule in enumerate(table):
            yield _rules(f"rule {rule.name} dropped", name, [*table[:index], *table[index + 1 :]])
            always = msgspec.structs.replace(rule, holds=lambda _: True)
            yield _rules(f"rule {rule.name} always", name, [*table[:index], always, *table[index + 1 :]])
        for one, two in combinations(range(len(table)), 2):
            swapped = list(table)
            swapped[one], swapped[two] = table[two], table[one]
            yield _rules(f"rules {table[one].name} and {table[two].name} swapped", name, swapped)


def _rules(name: str, dialect: str, table: Sequence[Rule]) -> Mutant:
    return changed(name, dialect, rules=tuple(table))


def of_words() -> Iterator[Mutant]:
    """Drop each member of the sets and maps that rules and errors look into; alter each word."""
    yield from _thinned(strict, "OOM_TEXTS", STRICT)
    yield from _thinned(strict, "SENT_CODES", STRICT)
    yield from _thinned(rules, "ASKED")
    yield from _thinned(strict, "WRAPPED", STRICT)
    yield from _thinned(strict, "CRASH_CAUSES", STRICT)
    yield from _thinned(upstream_4_5, "SHOWN_CAUSES", UPSTREAM)
    yield from _altered(strict, "CRASH_CAUSES", STRICT)
    yield from _altered(upstream_4_5, "SHOWN_CAUSES", UPSTREAM)
    yield from _altered(strict, "WRAPPED", STRICT)
    yield mutant("RAISED altered", strict, "RAISED", "SI_OTHER", STRICT)
    yield from _thinned(errors, "_OOM_CODES")
    yield from _thinned(errors, "_STALL_CODES")
    yield from _thinned(errors, "_SIGNAL_CODES", UPSTREAM)
    yield from _thinned(errors, "_HEAP_TEXTS", UPSTREAM)
    for name in ("FFMPEG_KILLED", "MANUAL_OOM", "UNKNOWN_TYPE", "_DEADLOCK_NAME"):
        yield mutant(f"{name} altered", errors, name, "other")
    searched = list(errors._SIGNAL_CODES.items())
    for one, two in combinations(range(len(searched)), 2):
        swapped = list(searched)
        swapped[one], swapped[two] = searched[two], searched[one]
        names = f"{searched[one][0]} and {searched[two][0]}"
        yield mutant(f"search for {names} swapped", errors, "_SIGNAL_CODES", dict(swapped), UPSTREAM)
    yield mutant("_MARK altered", truncation, "_MARK", "…")
    for space in truncation._JS_SPACE:
        left = truncation._JS_SPACE.replace(space, "")
        yield mutant(f"white space U+{ord(space):04X} dropped", truncation, "_JS_SPACE", left)


def _thinned(module: Any, name: str, dialects: tuple[str, ...] = EVERY) -> Iterator[Mutant]:
    whole = getattr(module, name)
    for member in whole:
        left = [one for one in whole if one != member]
        kept = {key: whole[key] for key in left} if isinstance(whole, Mapping) else type(whole)(left)
        yield mutant(f"{name} without {member!s}", module, name, kept, dialects)


def _altered(module: Any, name: str, dialects: tuple[str, ...]) -> Iterator[Mutant]:
    whole = getattr(module, name)
    for key in whole:
        yield mutant(f"{name}: {key!s} altered", module, name, {**whole, key: "SIGOTHER"}, dialects)


# --- the steps and the limits ---


def of_steps() -> Iterator[Mutant]:
    """Skip each step of a decision, swap each pair."""
    for step in STEPS:
        yield mutant(f"step {step} skipped", retry, step, lambda _: None, NEWER)
    for one, two in combinations(STEPS, 2):
        yield Mutant(f"steps {one} and {two} swapped", NEWER, partial(_swap, one=one, two=two))


def _swap(patch: Patch, *, one: str, two: str) -> None:
    first, second = getattr(retry, one), getattr(retry, two)
    patch.setattr(retry, one, second)
    patch.setattr(retry, two, first)


LIMITS = (
    (retry, "MAX_ATTEMPTS", NEWER),
    (legacy, "MAX_ATTEMPTS", LEGACY),
    (legacy, "QUEUE_FROM_MS", LEGACY),
    (policy, "DEFAULT_MAX_ATTEMPTS", EVERY),
    (policy, "DEFAULT_FACTOR", EVERY),
    (policy, "DEFAULT_MIN_TIMEOUT_MS", EVERY),
    (policy, "DEFAULT_MAX_TIMEOUT_MS", EVERY),
    (schema, "MAX_SAFE_INTEGER", SAFE),
    (policy, "EXACT_INTEGERS", tuple(name for name in EVERY if name not in SAFE)),
    (policy, "GIBIBYTE", EVERY),
    (errors, "SIGNAL_SEARCH_UNITS", UPSTREAM),
    (truncation, "MAX_MESSAGE_UNITS", EVERY),
    (truncation, "MAX_LINE_UNITS", EVERY),
    (truncation, "MAX_FRAMES", EVERY),
    (truncation, "KEPT_TOP_FRAMES", EVERY),
    (truncation, "CAUSE_FRAMES", EVERY),
    (truncation, "MAX_CAUSES", EVERY),
    (truncation, "MAX_CAUSE_NAME_UNITS", EVERY),
    (strict, "LIMIT_SLACK", STRICT),
    (rules, "SHELL_BASE", EVERY),
    (signature, "NULL_PAGES", STRICT),
    (signature, "BELOW_STACK", STRICT),
    (signature, "ABOVE_STACK", STRICT),
)


def of_limits() -> Iterator[Mutant]:
    """Shift each number by one, either way; take each default away; change each machine."""
    for module, name, dialects in LIMITS:
        for shift in (-1, 1):
            yield mutant(f"{name} {shift:+}", module, name, getattr(module, name) + shift, dialects)
    for middle in (0.25, 0.75):
        yield mutant(f"MIDDLE {middle}", retry, "MIDDLE", middle, EVERY)
    for field in policy.DEFAULTS.__struct_fields__:
        default: Any = getattr(policy.DEFAULTS, field)
        if default is not msgspec.UNSET:
            other = not default if isinstance(default, bool) else default + 1
            defaults = msgspec.structs.replace(policy.DEFAULTS, **{field: other})
            yield mutant(f"DEFAULTS: other {field}", policy, "DEFAULTS", defaults)
    for name, dialect in BUILT_IN.items():
        for member, value in dialect.schema._asdict().items():
            yield changed(f"schema: other {member}", name, schema=dialect.schema._replace(**{member: not value}))
    for name, machine in policy.PRESETS.items():
        yield _machine(f"machine {name}: other memory", name, machine._replace(gigabytes=machine.gigabytes * 2))
        yield _machine(f"machine {name}: other processors", name, machine._replace(vcpu=machine.vcpu + 1))
        yield _machine(f"machine {name} dropped", name, None)


def _machine(name: str, preset: str, machine: policy.Machine | None) -> Mutant:
    left = {key: row for key, row in {**policy.PRESETS, preset: machine}.items() if row}
    return mutant(name, policy, "PRESETS", left)


# --- bugs that were ---


def of_history() -> Iterator[Mutant]:
    """Eight bugs that the upstream engine has had, put back."""
    segv = Code.TASK_PROCESS_SIGSEGV
    row = codes.CODES[segv]
    for dialect in NEWER[1:]:
        yield _row("history: settings looked up but never reached", dialect, segv, row._replace(retriable=False))
    for dialect in EVERY:
        yield _row("history: retriable but never looked up", dialect, segv, row._replace(retriable=True, lookup=False))
        for code in (Code.TASK_PROCESS_SIGTERM, Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE):
            dead = codes.CODES[code]._replace(retriable=False, lookup=False)
            yield _row(f"history: {code} not retried", dialect, code, dead)
        answered = codes.CODES[Code.TASK_INPUT_ERROR]._replace(lookup=True)
        yield _row("history: a schema failure of the payload retried", dialect, Code.TASK_INPUT_ERROR, answered)
    answers: dict[str, Callable[[Request, Deciding], Decision]] = {
        "a retry sent to a dead process": lambda request, decide: _at_once(decide(request)),
        "requeues eating the retry budget": lambda request, decide: decide(_twice(request)),
        "delays ignored": lambda request, decide: _without_delay(request, decide(request)),
        "twelve requeues and no more": lambda request, decide: _dead_letter(request, decide(request)),
    }
    for name, answer in answers.items():
        yield Mutant(f"history: {name}", EVERY, partial(_answer, answer=answer))
    yield mutant("history: a schema failure of the policy retried", retry, "stored_policy", _lenient, EVERY)
    yield Mutant("history: an uncaught exception that hangs until max duration", EVERY, _hang)


def _answer(patch: Patch, *, answer: Callable[[Request, Deciding], Decision]) -> None:
    for kind in (BuiltIn, legacy.FirstEngine):
        decide = kind.decide
        patch.setattr(
            kind, "decide", lambda self, request, decide=decide: answer(request, lambda one: decide(self, one))
        )


def _at_once(decision: Decision) -> Decision:
    is_retry = decision.outcome is Outcome.RETRY
    return msgspec.structs.replace(decision, method=Method.IMMEDIATE) if is_retry else decision


def _twice(request: Request) -> Request:
    attempt = request.attempt
    return msgspec.structs.replace(request, attempt=attempt * 2 - 1) if attempt and attempt > 1 else request


def _dead_letter(request: Request, decision: Decision) -> Decision:
    if decision.method is Method.QUEUE and (request.attempt or 1) >= 12:
        return Decision(outcome=Outcome.FAIL_RUN, branch=decision.branch)
    return decision


def _without_delay(request: Request, decision: Decision) -> Decision:
    return msgspec.structs.replace(decision, settings=Settings(request.now, 0)) if decision.settings else decision


def _lenient(run: Any, schema: Schema) -> policy.RetryPolicy | None:
    try:
        return policy.parse_policy(run.locked_retry_config, schema) if run else None
    except ValueError:
        return policy.DEFAULTS


def _hang(patch: Patch) -> None:
    """An exit by itself is taken for the end of a time limit."""

    def late(rule: Rule) -> Rule:
        def error(evidence: Any) -> errors.TaskError | None:
            plain = evidence.termination == Exited(1)
            return internal(Code.MAX_DURATION_EXCEEDED) if plain else rule.error(evidence)

        return msgspec.structs.replace(rule, error=error)

    for name, dialect in BUILT_IN.items():
        patch.setitem(BUILT_IN, name, msgspec.structs.replace(dialect, rules=tuple(map(late, dialect.rules))))


def mutants() -> list[Mutant]:
    """All of them."""
    parts = (of_codes(), of_rules(), of_words(), of_steps(), of_limits(), of_history())
    return [one for part in parts for one in part]
