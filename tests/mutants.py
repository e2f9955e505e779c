"""Mutants of the built-in tables: every bit, rule, step, text and limit, one change at a time; and eight old bugs.

A mutant patches what an edit of the source would change: a name in each module that has it. The eight are bugs that the
upstream engine has had (upstream §16, and its issues).
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import msgspec
import pytest

from harness import evidence as signature
from harness.dialects import retry
from harness.dialects import rules as classifier
from harness.dialects import v1 as legacy
from harness.dialects.retry import Decision, Method, Outcome, Request, Settings
from harness.dialects.rules import Rule
from harness.evidence import Exited
from harness.wire import codes, errors, policy, truncation
from harness.wire.codes import Code, CodeRow, Dialect, Status
from harness.wire.errors import internal

UPSTREAM = (Dialect.UPSTREAM_4_4, Dialect.UPSTREAM_4_5)
EVERY = tuple(Dialect)
NEWER = tuple(
    dialect for dialect in Dialect if dialect is not Dialect.UPSTREAM_V1
)  # the first engine has its own steps
STEPS = ("_cancel", "_answer_oom", "_refuse_code", "_cap_attempts", "_cap_run", "_obey_worker", "_follow_policy")
LEGACY = (Dialect.UPSTREAM_V1,)
Patch = pytest.MonkeyPatch


class Mutant(NamedTuple):
    """One change; it must be killed under each of `dialects`."""

    name: str
    dialects: tuple[Dialect, ...]
    apply: Callable[[Patch], None]


def replace(patch: Patch, *, module: Any, attribute: str, value: object) -> None:
    """Give a name another value in every module that has it from this one."""
    old = getattr(module, attribute)
    for one in [loaded for name, loaded in sys.modules.items() if name.startswith("harness.")]:
        if vars(one).get(attribute) is old:
            patch.setattr(one, attribute, value)


def mutant(name: str, module: Any, attribute: str, value: object, dialects: tuple[Dialect, ...] = EVERY) -> Mutant:
    """A name with another value."""
    return Mutant(name, dialects, partial(replace, module=module, attribute=attribute, value=value))


# --- the table of codes ---


def of_codes() -> Iterator[Mutant]:
    """Flip each bit in each dialect; give each code another status; drop what sets a dialect apart."""
    for dialect in Dialect:
        rows = {**codes.CODES, **codes.DIFFERENCES[dialect]}
        for code, row in rows.items():
            yield _row(f"{code}: retriable flipped", dialect, code, row._replace(retriable=not row.retriable))
            yield _row(f"{code}: look-up flipped", dialect, code, row._replace(lookup=not row.lookup))
        for code in codes.DIFFERENCES[dialect]:
            yield _row(f"{code}: row of {dialect} dropped", dialect, code, codes.CODES[code])
    for code, row in codes.CODES.items():
        other = next(status for status in Status if status is not row.status)
        yield _row(f"{code}: status {other}", Dialect.UPSTREAM_4_5, code, row._replace(status=other))
    for code, canned in codes.CANNED.items():
        yield from _canned(code, canned)
    for member in ("name", "href"):
        link = msgspec.structs.replace(codes.DEADLOCK_LINK, **{member: "other"})
        yield mutant(f"link of deadlocks: other {member}", errors, "DEADLOCK_LINK", link)


def _row(name: str, dialect: Dialect, code: Code, row: CodeRow) -> Mutant:
    differences = {**codes.DIFFERENCES, dialect: {**codes.DIFFERENCES[dialect], code: row}}
    return mutant(name, errors, "DIFFERENCES", differences, (dialect,))


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
    for dialect in Dialect:
        rules = list(classifier.RULES[dialect])
        for index, rule in enumerate(rules):
            yield _rules(f"rule {rule.name} dropped", dialect, [*rules[:index], *rules[index + 1 :]])
            always = msgspec.structs.replace(rule, holds=lambda _: True)
            yield _rules(f"rule {rule.name} always", dialect, [*rules[:index], always, *rules[index + 1 :]])
        for one, two in combinations(range(len(rules)), 2):
            swapped = list(rules)
            swapped[one], swapped[two] = rules[two], rules[one]
            yield _rules(f"rules {rules[one].name} and {rules[two].name} swapped", dialect, swapped)


def _rules(name: str, dialect: Dialect, rules: Sequence[Rule]) -> Mutant:
    return mutant(name, classifier, "RULES", {**classifier.RULES, dialect: tuple(rules)}, (dialect,))


def of_words() -> Iterator[Mutant]:
    """Drop each member of the sets and maps that rules and errors look into; alter each word."""
    strict = (Dialect.STRICT,)
    yield from _thinned(classifier, "OOM_TEXTS", strict)
    yield from _thinned(classifier, "SENT_CODES", strict)
    yield from _thinned(classifier, "ASKED")
    yield from _thinned(classifier, "WRAPPED", strict)
    yield from _thinned(classifier, "CRASH_CAUSES", strict)
    yield from _thinned(classifier, "SHOWN_CAUSES", UPSTREAM)
    yield from _altered(classifier, "CRASH_CAUSES", strict)
    yield from _altered(classifier, "SHOWN_CAUSES", UPSTREAM)
    yield from _altered(classifier, "WRAPPED", strict)
    yield mutant("RAISED altered", classifier, "RAISED", "SI_OTHER", strict)
    yield from _thinned(errors, "_OOM_CODES")
    yield from _thinned(errors, "_STALL_CODES")
    yield from _thinned(errors, "_SIGNAL_CODES", UPSTREAM)
    yield from _thinned(errors, "_HEAP_TEXTS", UPSTREAM)
    for name in ("FFMPEG_KILLED", "MANUAL_OOM", "_UNKNOWN_TYPE", "_DEADLOCK_NAME"):
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


def _thinned(module: Any, name: str, dialects: tuple[Dialect, ...] = EVERY) -> Iterator[Mutant]:
    whole = getattr(module, name)
    for member in whole:
        left = [one for one in whole if one != member]
        kept = {key: whole[key] for key in left} if isinstance(whole, Mapping) else type(whole)(left)
        yield mutant(f"{name} without {member!s}", module, name, kept, dialects)


def _altered(module: Any, name: str, dialects: tuple[Dialect, ...]) -> Iterator[Mutant]:
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
    (retry, "MAX_ATTEMPTS", EVERY),
    (legacy, "QUEUE_FROM_MS", (Dialect.UPSTREAM_V1,)),
    (policy, "DEFAULT_MAX_ATTEMPTS", EVERY),
    (policy, "DEFAULT_FACTOR", EVERY),
    (policy, "DEFAULT_MIN_TIMEOUT_MS", EVERY),
    (policy, "DEFAULT_MAX_TIMEOUT_MS", EVERY),
    (policy, "MAX_SAFE_INTEGER", EVERY),
    (policy, "GIBIBYTE", EVERY),
    (errors, "SIGNAL_SEARCH_UNITS", UPSTREAM),
    (truncation, "MAX_MESSAGE_UNITS", EVERY),
    (truncation, "MAX_LINE_UNITS", EVERY),
    (truncation, "MAX_FRAMES", EVERY),
    (truncation, "KEPT_TOP_FRAMES", EVERY),
    (truncation, "KEPT_BOTTOM_FRAMES", EVERY),
    (classifier, "LIMIT_SLACK", (Dialect.STRICT,)),
    (classifier, "SHELL_BASE", EVERY),
    (signature, "NULL_PAGES", (Dialect.STRICT,)),
    (signature, "BELOW_STACK", (Dialect.STRICT,)),
    (signature, "ABOVE_STACK", (Dialect.STRICT,)),
)


def of_limits() -> Iterator[Mutant]:
    """Shift each number by one, either way; take each default away; change each machine."""
    for module, name, dialects in LIMITS:
        for shift in (-1, 1):
            yield mutant(f"{name} {shift:+}", module, name, getattr(module, name) + shift, dialects)
    for middle in (0.25, 0.75):
        yield mutant(f"MIDDLE {middle}", retry, "MIDDLE", middle, NEWER)
        yield mutant(f"legacy MIDDLE {middle}", legacy, "MIDDLE", middle, (Dialect.UPSTREAM_V1,))
    for field in policy.DEFAULTS.__struct_fields__:
        default: Any = getattr(policy.DEFAULTS, field)
        if default is not msgspec.UNSET:
            changed = not default if isinstance(default, bool) else default + 1
            defaults = msgspec.structs.replace(policy.DEFAULTS, **{field: changed})
            yield mutant(f"DEFAULTS: other {field}", policy, "DEFAULTS", defaults)
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
    decide, segv = retry.decide, Code.TASK_PROCESS_SIGSEGV
    row = codes.CODES[segv]
    for dialect in (Dialect.UPSTREAM_4_5, Dialect.STRICT):
        yield _row("history: settings looked up but never reached", dialect, segv, row._replace(retriable=False))
    for dialect in Dialect:
        yield _row("history: retriable but never looked up", dialect, segv, row._replace(retriable=True, lookup=False))
        for code in (Code.TASK_PROCESS_SIGTERM, Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE):
            dead = codes.CODES[code]._replace(retriable=False, lookup=False)
            yield _row(f"history: {code} not retried", dialect, code, dead)
        answered = codes.CODES[Code.TASK_INPUT_ERROR]._replace(lookup=True)
        yield _row("history: a schema failure of the payload retried", dialect, Code.TASK_INPUT_ERROR, answered)
    answers: dict[str, Callable[[Request, Dialect], Decision]] = {
        "a retry sent to a dead process": lambda request, dialect: _at_once(decide(request, dialect)),
        "requeues eating the retry budget": lambda request, dialect: decide(_twice(request), dialect),
        "delays ignored": lambda request, dialect: _without_delay(request, decide(request, dialect)),
    }
    for name, answer in answers.items():
        yield mutant(f"history: {name}", retry, "decide", answer)
    twelve = "history: twelve requeues and no more"
    yield mutant(twelve, retry, "decide", lambda one, dialect: _dead_letter(one, decide(one, dialect)))
    yield mutant("history: a schema failure of the policy retried", retry, "_stored_policy", _lenient, NEWER)
    yield mutant("history: a schema failure of the policy retried there", legacy, "_policy", _lenient_v1, LEGACY)
    yield Mutant("history: an uncaught exception that hangs until max duration", EVERY, _hang)


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


def _lenient(run: Any) -> policy.RetryPolicy | None:
    try:
        return policy.parse_policy(run.locked_retry_config) if run else None
    except ValueError:
        return policy.DEFAULTS


def _lenient_v1(request: Request) -> policy.RetryPolicy | None:
    return _lenient(request.run)


def _hang(patch: Patch) -> None:
    """An exit by itself is taken for the end of a time limit."""

    def late(rule: Rule) -> Rule:
        def error(evidence: Any) -> errors.TaskError | None:
            plain = evidence.termination == Exited(1)
            return internal(Code.MAX_DURATION_EXCEEDED) if plain else rule.error(evidence)

        return msgspec.structs.replace(rule, error=error)

    rules = {name: tuple(map(late, table)) for name, table in classifier.RULES.items()}
    replace(patch, module=classifier, attribute="RULES", value=rules)


def mutants() -> list[Mutant]:
    """All of them."""
    parts = (of_codes(), of_rules(), of_words(), of_steps(), of_limits(), of_history())
    return [one for part in parts for one in part]
