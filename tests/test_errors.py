"""What upstream does to one error: its table, exits, memory, enhancing, bounding, schema (upstream §1-§7)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.dialects import BUILT_IN, find
from harness.wire.codes import CANNED, CODES, Code, CodeRow, Status
from harness.wire.errors import (
    Kind,
    TaskError,
    UnexpectedError,
    error_of_exit,
    final_status,
    internal,
    is_oom,
    parse_error,
)
from harness.wire.schema import Schema
from harness.wire.stored import sanitize, well_formed
from harness.wire.truncation import truncate_message, truncate_stack

if TYPE_CHECKING:
    from harness.dialects.builtin import BuiltIn

NON_ZERO = Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE
OOM = Code.TASK_PROCESS_OOM_KILLED
MAYBE_OOM = Code.TASK_PROCESS_MAYBE_OOM_KILLED
UPSTREAM = (find("upstream-4.4"), find("upstream-4.5"))
NOW = find("upstream-4.5")
GRIN = "\U0001f600"  # two UTF-16 units


def built_in(name: str, message: str, stack_trace: str = "") -> TaskError:
    """Make an error as a task throws it."""
    return TaskError(Kind.BUILT_IN, name=name, message=message, stack_trace=stack_trace)


def death(signal: str, stderr: str | None = None) -> TaskError:
    """Make the error of a process ended by `signal`."""
    return error_of_exit(None, signal, stderr)


def row(code: Code, dialect: BuiltIn) -> tuple[bool, bool]:
    """Return whether a code is retriable, and whether it is looked up."""
    return dialect.is_retriable(internal(code)), dialect.is_looked_up(internal(code))


class TestTable:
    """upstream §2."""

    def test_every_code_has_a_row(self) -> None:
        """The table is closed over the 38 codes, in their order."""
        assert list(CODES) == list(Code)
        assert len(CODES) == 38

    def test_every_dialect_has_every_row(self) -> None:
        """A table that departs from upstream's is whole all the same."""
        assert all(set(dialect.rows) == set(CODES) for dialect in BUILT_IN.values())

    def test_the_counts_are_upstreams(self) -> None:
        """16 codes are retriable and 5 are looked up since 4.5.0."""
        assert sum(known.retriable for known in CODES.values()) == 16
        assert sum(known.lookup for known in CODES.values()) == 5

    def test_two_booleans_changed_between_the_versions(self) -> None:
        """In 4.5 SIGSEGV became retriable and TASK_MIDDLEWARE_ERROR looked up; nothing else changed."""
        old, new = UPSTREAM
        changed = {code: (row(code, old), row(code, new)) for code in Code if row(code, old) != row(code, new)}
        assert changed == {
            Code.TASK_PROCESS_SIGSEGV: ((False, True), (True, True)),
            Code.TASK_MIDDLEWARE_ERROR: ((True, False), (True, True)),
        }

    def test_strict_trusts_the_policy_when_memory_is_a_maybe(self) -> None:
        """Strict departs from 4.5 in one row: MAYBE_OOM_KILLED is retriable and looked up."""
        assert dict(find("strict").rows) == {**CODES, MAYBE_OOM: CodeRow(True, True, Status.CRASHED)}

    @pytest.mark.parametrize("dialect", [find("upstream-4.5"), find("strict")])
    def test_what_is_looked_up_is_retriable(self, dialect: BuiltIn) -> None:
        """Look-up implies retriable, since 4.5.0."""
        assert not [code for code in Code if row(code, dialect) == (False, True)]

    def test_only_sigsegv_broke_that_rule_before(self) -> None:
        """4.4.6 looks up the policy of a SIGSEGV that it never retries."""
        assert [code for code in Code if row(code, find("upstream-4.4")) == (False, True)] == [
            Code.TASK_PROCESS_SIGSEGV,
        ]

    def test_eleven_codes_are_dead_on_supervisor_completions(self) -> None:
        """Quirk 11: 11 codes may be retried but are never looked up, and a supervisor sends no settings."""
        assert sum(row(code, NOW) == (True, False) for code in Code) == 11

    @pytest.mark.parametrize("kind", [Kind.BUILT_IN, Kind.STRING, Kind.CUSTOM])
    def test_a_thrown_error_is_retriable_but_not_looked_up(self, kind: Kind) -> None:
        """The three other kinds depend on the worker's own retry settings."""
        error = TaskError(kind, name="E", message="m", stack_trace="", raw="r")
        assert (NOW.is_retriable(error), NOW.is_looked_up(error)) == (True, False)

    @pytest.mark.parametrize(
        ("error", "shown"),
        [
            (internal("NOPE"), "NOPE"),
            (TaskError(Kind.INTERNAL), "undefined"),
            (TaskError("NOPE"), "[object Object]"),
        ],
    )
    def test_an_unknown_error_throws_instead_of_failing_the_run(self, error: TaskError, shown: str) -> None:
        """Quirk 15: an unknown code or type raises, in upstream's words."""
        with pytest.raises(UnexpectedError) as caught:
            NOW.is_retriable(error)
        assert str(caught.value) == f"Unexpected object: {shown}"

    def test_an_unknown_code_is_merely_not_looked_up(self) -> None:
        """The look-up answers no for an unknown code."""
        assert not NOW.is_looked_up(internal("NOPE"))

    def test_an_unknown_type_throws_at_the_look_up_too(self) -> None:
        """The look-up raises for an unknown type."""
        with pytest.raises(UnexpectedError, match=r"^Unexpected object: \[object Object\]$"):
            NOW.is_looked_up(TaskError("NOPE"))


class TestFinalStatus:
    """upstream §2, last column."""

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (death("SIGSEGV"), Status.CRASHED),
            (death("SIGKILL"), Status.CRASHED),
            (death("SIGABRT"), Status.CRASHED),
            (death("SIGTERM"), Status.SYSTEM_FAILURE),
            (built_in("OutOfMemoryError", "MANUAL_OOM_KILL_ERROR"), Status.COMPLETED_WITH_ERRORS),
            (internal(Code.TASK_RUN_CANCELLED), Status.CANCELED),
            (internal(Code.MAX_DURATION_EXCEEDED), Status.TIMED_OUT),
        ],
    )
    def test_it_comes_from_the_raw_error(self, error: TaskError, status: Status) -> None:
        """Quirk 13: SIGTERM is a system failure, other signals crash; a manual out-of-memory is ordinary."""
        assert final_status(error) is status

    @pytest.mark.parametrize(
        "code",
        [Code.TASK_RUN_STALLED_EXECUTING, Code.TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS],
    )
    def test_a_stalled_run_is_canceled_in_development(self, code: Code) -> None:
        """The environment matters to the two stall codes alone."""
        assert final_status(internal(code), "DEVELOPMENT") is Status.CANCELED
        assert final_status(internal(code)) is Status.COMPLETED_WITH_ERRORS

    @pytest.mark.parametrize("code", [Code.TASK_RUN_CRASHED, NON_ZERO])
    def test_no_other_code_looks_at_the_environment(self, code: Code) -> None:
        """A crash in development is a crash."""
        assert final_status(internal(code), "DEVELOPMENT") is Status.CRASHED

    def test_an_unknown_code_has_no_status(self) -> None:
        """There is no row to read it from."""
        with pytest.raises(UnexpectedError):
            final_status(internal("NOPE"))


class TestErrorOfExit:
    """upstream §4."""

    @pytest.mark.parametrize(
        ("code", "signal", "stderr", "docker_mode", "expected"),
        [
            (137, None, None, True, OOM),
            (137, None, None, False, MAYBE_OOM),
            (137, "SIGTERM", None, True, OOM),
            (137, None, "OOMErrorHandler", False, MAYBE_OOM),
            (1, None, "node::OOMErrorHandler(char)", True, OOM),
            (None, "SIGSEGV", "OOMErrorHandler", False, OOM),
            (None, "SIGTERM", "OOMErrorHandler", True, OOM),
            (None, "SIGTERM", None, True, Code.TASK_PROCESS_SIGTERM),
            *[(code, None, "", True, NON_ZERO) for code in (0, 1, 134, 139, 143, 255)],
            *[(None, f"SIG{name}", None, True, NON_ZERO) for name in ("SEGV", "KILL", "ABRT", "BUS", "ILL", "FPE")],
        ],
    )
    def test_the_first_rule_that_holds_gives_the_code(
        self, code: int | None, signal: str | None, stderr: str | None, docker_mode: bool, expected: Code
    ) -> None:
        """Exit 137, then the marker in stderr (quirk 6), then SIGTERM; else a non-zero exit, even for 0."""
        assert error_of_exit(code, signal, stderr, docker_mode).code == expected

    def test_a_death_by_signal_has_code_minus_one(self) -> None:
        """Quirk 4: never the -11 of Python's subprocess, which would match other rules."""
        assert death("SIGSEGV").message == "Process exited with code -1 after signal SIGSEGV."

    def test_an_exit_names_no_signal_in_javascripts_words(self) -> None:
        """The message of a plain exit says "null"."""
        assert error_of_exit(3, None, None).message == "Process exited with code 3 after signal null."

    def test_stderr_is_the_stack_and_may_be_absent(self) -> None:
        """No kept output means no member at all; kept but empty output is an empty one."""
        assert error_of_exit(1, None, None).stack_trace is msgspec.UNSET
        assert error_of_exit(1, None, "").stack_trace == ""


class TestIsOom:
    """upstream §5."""

    @pytest.mark.parametrize("dialect", UPSTREAM)
    @pytest.mark.parametrize(
        ("message", "stack", "expected"),
        [
            ("Process exited with code -1 after signal SIGKILL.", "", True),
            ("Process exited with code -9 after signal SIGKILL.", "", False),
            ("Process exited with code -11 after signal SIGKILL.", "", True),
            ("disk-1 got SIGKILL", "", True),
            ("Process exited with code 1 after signal SIGKILL.", "", False),
            ("-1 sigkill", "", False),
            ("Process exited with code -1 after signal SIGABRT.", "", False),
            ("Process exited with code -1 after signal SIGABRT.", "FATAL: Reached heap limit", True),
            ("Process exited with code -1 after signal SIGABRT.", "JavaScript heap out of memory", True),
            ("Process exited with code -1 after signal SIGABRT.", "javascript heap out of memory", False),
            ("Process exited with code -1 after signal SIGSEGV.", "Reached heap limit", False),
        ],
    )
    def test_an_exits_text_decides(self, dialect: BuiltIn, message: str, stack: str, expected: bool) -> None:
        """Quirks 4 and 5: "-1" is looked for anywhere, SIGKILL is memory, SIGABRT only with a heap text."""
        assert dialect.is_oom(internal(NON_ZERO, message, stack)) is expected

    @pytest.mark.parametrize("dialect", list(BUILT_IN.values()))
    @pytest.mark.parametrize("code", Code)
    def test_a_code_decides_without_a_text(self, dialect: BuiltIn, code: Code) -> None:
        """Of the codes alone, the two out-of-memory ones are, in every dialect."""
        assert dialect.is_oom(internal(code)) is (code in {OOM, MAYBE_OOM})

    @pytest.mark.parametrize("dialect", list(BUILT_IN.values()))
    @pytest.mark.parametrize(
        ("message", "expected"),
        [
            ("pipe: ffmpeg was killed with signal SIGKILL!", True),
            ("MANUAL_OOM_KILL_ERROR", True),
            ("MANUAL_OOM_KILL_ERROR.", False),
            ("Process exited with code -1 after signal SIGKILL.", False),
        ],
    )
    def test_two_texts_of_a_thrown_error_decide(self, dialect: BuiltIn, message: str, expected: bool) -> None:
        """The words of ffmpeg anywhere, the manual error's exactly, whatever the error's name."""
        assert dialect.is_oom(built_in("Any", message)) is expected

    @pytest.mark.parametrize("kind", [Kind.STRING, Kind.CUSTOM])
    def test_a_thrown_value_never_is(self, kind: Kind) -> None:
        """A string or an object thrown with those words is not out of memory."""
        assert not is_oom(TaskError(kind, raw="MANUAL_OOM_KILL_ERROR"), by_text=True)

    def test_strict_does_not_read_an_exits_text(self) -> None:
        """In strict only the classifier's code says out of memory: a SIGKILL may be anybody's."""
        assert not find("strict").is_oom(death("SIGKILL"))


class TestEnhance:
    """upstream §6."""

    @pytest.mark.parametrize("dialect", UPSTREAM)
    @pytest.mark.parametrize(
        ("signal", "code"),
        [
            ("SIGTERM", Code.TASK_PROCESS_SIGTERM),
            ("SIGSEGV", Code.TASK_PROCESS_SIGSEGV),
            ("SIGKILL", MAYBE_OOM),
            ("SIGABRT", MAYBE_OOM),
        ],
    )
    def test_four_signals_have_a_code_of_their_own(self, dialect: BuiltIn, signal: str, code: Code) -> None:
        """Quirk 1: an abort is shown as memory, whatever caused it; its own texts give way to canned ones."""
        canned = CANNED[code]
        error = internal(NON_ZERO, f"Process exited with code -1 after signal {signal}.", "stack")
        assert dialect.enhance(error) == internal(code, canned.message, link=canned.link)

    @pytest.mark.parametrize("signal", ["SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS", "SIGXCPU", "SIGHUP"])
    def test_other_signals_stay_plain_exits(self, signal: str) -> None:
        """Quirk 3: nothing is known of them, so nothing changes and they are retried."""
        assert NOW.enhance(death(signal)) == death(signal)
        assert NOW.is_retriable(NOW.enhance(death(signal)))

    @pytest.mark.parametrize("status", [134, 128, 139, 143])
    def test_a_wrappers_status_is_not_decoded(self, status: int) -> None:
        """Quirk 2: the same defect behind a shell is a plain exit, retried in all versions."""
        error = error_of_exit(status, None, None)
        assert [dialect.is_retriable(dialect.enhance(error)) for dialect in UPSTREAM] == [True, True]

    def test_the_order_of_names_beats_their_positions(self) -> None:
        """Quirk 6: SIGTERM anywhere near the start wins over SIGSEGV."""
        assert NOW.enhance(internal(NON_ZERO, "SIGSEGV then SIGTERM")).code == Code.TASK_PROCESS_SIGTERM

    @pytest.mark.parametrize(("pad", "code"), [(93, Code.TASK_PROCESS_SIGSEGV), (94, NON_ZERO)])
    def test_only_the_first_hundred_units_are_read(self, pad: int, code: Code) -> None:
        """A name that ends at unit 100 counts, one that ends at 101 does not."""
        assert NOW.enhance(internal(NON_ZERO, "x" * pad + "SIGSEGV")).code == code

    @pytest.mark.parametrize(("pairs", "code"), [(46, Code.TASK_PROCESS_SIGSEGV), (47, NON_ZERO)])
    def test_the_hundred_are_utf16_units(self, pairs: int, code: Code) -> None:
        """A character beyond the basic plane counts twice."""
        assert NOW.enhance(internal(NON_ZERO, GRIN * pairs + "SIGSEGV")).code == code

    def test_other_codes_keep_their_stack_and_get_the_canned_message(self) -> None:
        """An error that came with its code loses only its message."""
        canned = CANNED[OOM]
        assert NOW.enhance(internal(OOM, "m", "stack")) == internal(OOM, canned.message, "stack", canned.link)

    def test_some_codes_only_get_a_link(self) -> None:
        """A stalled run keeps its own message."""
        enhanced = NOW.enhance(internal(Code.TASK_RUN_STALLED_EXECUTING, "m"))
        assert (enhanced.message, enhanced.link) == ("m", CANNED[Code.TASK_RUN_STALLED_EXECUTING].link)

    @pytest.mark.parametrize("code", ["-1", "-11", "-15"])
    def test_a_thrown_exit_is_read_from_its_stack(self, code: str) -> None:
        """Quirk 12: the signal is looked for in the stack, not in the message; and it becomes internal."""
        message = f"Unexpected exit with code {code} after signal SIGSEGV"
        hidden = NOW.enhance(built_in("UnexpectedExitError", message, "no name"))
        named = NOW.enhance(built_in("UnexpectedExitError", message, "SIGTERM"))
        assert hidden == internal(NON_ZERO, message, "no name")
        assert named.code == Code.TASK_PROCESS_SIGTERM

    @pytest.mark.parametrize(
        "error",
        [
            built_in("UnexpectedExitError", "Unexpected exit with code 1", "SIGSEGV"),
            built_in("Other", "Unexpected exit with code -1", "SIGSEGV"),
            built_in("X", "ffmpeg was killed with signal SIGKILL"),
            built_in("Error", "pipe: ffmpeg was killed with signal SIGKILL"),
            built_in("TriggerApiError", "No Deadlock detected: here"),
            TaskError(Kind.STRING, raw="SIGSEGV"),
            TaskError("NOPE"),
            internal("NOPE", "SIGSEGV"),
        ],
    )
    def test_everything_else_is_unchanged(self, error: TaskError) -> None:
        """Name and text must both fit; an unknown error passes through."""
        assert NOW.enhance(error) is error

    @pytest.mark.parametrize(
        "error",
        [
            built_in("Error", "ffmpeg was killed with signal SIGKILL"),
            built_in("Any", "MANUAL_OOM_KILL_ERROR"),
        ],
    )
    def test_two_thrown_texts_become_out_of_memory(self, error: TaskError) -> None:
        """The words of ffmpeg exactly, and by the name Error; the manual error by any name."""
        assert NOW.enhance(error).code == OOM

    def test_a_deadlock_gets_a_name_and_a_link(self) -> None:
        """The stack is emptied, the message kept."""
        enhanced = NOW.enhance(built_in("TriggerApiError", "Deadlock detected: q", "stack"))
        assert (enhanced.name, enhanced.message, enhanced.stack_trace) == (
            "Concurrency Deadlock Error",
            "Deadlock detected: q",
            "",
        )

    @pytest.mark.parametrize("signal", ["SIGKILL", "SIGABRT"])
    def test_strict_makes_no_memory_of_a_signals_name(self, signal: str) -> None:
        """Such an exit stays as it was, and may be retried."""
        thrown = built_in("UnexpectedExitError", "Unexpected exit with code -1", signal)
        assert find("strict").enhance(death(signal)) == death(signal)
        assert find("strict").enhance(thrown) == internal(NON_ZERO, thrown.message, signal)

    @pytest.mark.parametrize("signal", ["SIGSEGV", "SIGTERM", "SIGBUS"])
    def test_strict_agrees_on_the_other_signals(self, signal: str) -> None:
        """The dialects differ in SIGKILL and SIGABRT only."""
        assert find("strict").enhance(death(signal)) == NOW.enhance(death(signal))


class TestTruncation:
    """upstream §7; lengths are UTF-16 units."""

    @pytest.mark.parametrize(("length", "whole"), [(999, True), (1_000, True), (1_001, False)])
    def test_a_message_has_a_thousand_units(self, length: int, whole: bool) -> None:
        """The mark comes on top of the thousand."""
        expected = "a" * length if whole else "a" * 1_000 + "...[truncated]"
        assert truncate_message("a" * length) == expected

    def test_a_cut_may_leave_half_a_character(self) -> None:
        """As JavaScript does; `well_formed` mends it, so that it can be encoded."""
        error = sanitize(built_in("E", "a" + GRIN * 500), Schema(causes=True))
        assert error.message == "a" + GRIN * 499 + "\ud83d...[truncated]"
        with pytest.raises(UnicodeEncodeError):
            msgspec.json.encode(error)
        assert well_formed(error).message == "a" + GRIN * 499 + "\ufffd...[truncated]"

    def test_the_first_five_and_the_last_45_frames_stay(self) -> None:
        """51 frames lose one, and the note says so; the lines of the message all stay."""
        lines = ["Error: x", "more"]
        frames = [f"    at f{number}" for number in range(51)]
        kept = [*frames[:5], "    ... 1 frames omitted ...", *frames[6:]]
        assert truncate_stack("\n".join(lines + frames), 50) == "\n".join(lines + kept)

    def test_fifty_frames_stay(self) -> None:
        """The bound is inclusive."""
        stack = "\n".join(["E", *["    at f"] * 50])
        assert truncate_stack(stack, 50) == stack

    def test_message_lines_are_never_dropped(self) -> None:
        """A native program's stderr has no frames, so all of its lines stay."""
        stack = "\n".join(f"line {number}" for number in range(200))
        assert truncate_stack(stack, 50) == stack

    def test_all_lines_after_the_first_frame_are_frames(self) -> None:
        """Plain lines among the frames are dropped like them."""
        assert "... 10 frames omitted ..." in truncate_stack("\n".join(["E", "at f", *["plain"] * 59]), 50)

    @pytest.mark.parametrize(("space", "is_frame"), [("\u00a0\ufeff\u2003\t", True), ("\x1c", False), ("\x85", False)])
    def test_white_space_before_a_frame_is_javascripts(self, space: str, is_frame: bool) -> None:
        """Python's own strip knows other characters."""
        stack = "\n".join(["E", *[f"{space}at f"] * 51])
        assert ("omitted" in truncate_stack(stack, 50)) is is_frame

    def test_a_frame_is_told_before_its_line_is_cut(self) -> None:
        """White space alone may fill the 1,024 units that are kept."""
        lines = [" " * 2_000 + "at f", *["x"] * 50]
        assert "omitted" in truncate_stack("\n".join(lines), 50)

    def test_a_long_line_is_cut_by_itself(self) -> None:
        """1,024 units and the mark; its neighbours stay."""
        assert truncate_stack("a\n" + "b" * 1_025 + "\nc", 50) == "a\n" + "b" * 1_024 + "...[truncated]\nc"

    @given(st.text(alphabet=st.characters(codec="utf-8"), max_size=2_500))
    @example(GRIN * 501)
    def test_a_message_is_bounded_and_starts_as_it_did(self, message: str) -> None:
        """For any text: what is kept is a prefix, and never more than 1,000 units and the mark."""
        kept = truncate_message(message)
        units = kept.encode("utf-16-le", "surrogatepass")
        start = units.removesuffix("...[truncated]".encode("utf-16-le"))
        assert len(units) <= 2 * 1_014
        assert kept == message or message.encode("utf-16-le").startswith(start)


class TestSanitize:
    """upstream §7."""

    def test_nul_goes_first(self) -> None:
        """NULs do not count against the length."""
        error = sanitize(built_in("a\0b", "\0" * 10 + "m" * 1_000, "\0s"), Schema(causes=True))
        assert (error.name, error.message, error.stack_trace) == ("ab", "m" * 1_000, "s")

    def test_a_name_is_not_cut(self) -> None:
        """Only its NULs go."""
        assert sanitize(built_in("n" * 5_000, "m"), Schema(causes=True)).name == "n" * 5_000

    def test_absent_texts_of_an_internal_error_stay_absent(self) -> None:
        """There is no difference made between absent and empty elsewhere."""
        assert sanitize(internal(OOM), Schema(causes=True)) == internal(OOM)
        assert sanitize(TaskError(Kind.BUILT_IN, name="E"), Schema(causes=True)) == built_in("E", "")

    def test_links_are_not_stored(self) -> None:
        """What is stored is the raw error."""
        assert sanitize(NOW.enhance(internal(OOM)), Schema(causes=True)).link is msgspec.UNSET

    def test_a_long_thrown_value_becomes_a_preview(self) -> None:
        """It stays valid JSON, even if the cut leaves half a character."""
        raw = sanitize(TaskError(Kind.CUSTOM, raw='"' + GRIN * 600 + '"'), Schema(causes=True)).raw
        assert isinstance(raw, str)
        assert raw.endswith('\\ud83d"}')
        assert json.loads(raw) == {"truncated": True, "preview": '"' + GRIN * 499 + "\ud83d"}

    def test_an_unknown_type_has_no_sane_form(self) -> None:
        """Upstream answers undefined; we raise."""
        with pytest.raises(UnexpectedError):
            sanitize(TaskError("NOPE"), Schema(causes=True))

    def test_a_segfault_is_stored_as_a_plain_exit(self) -> None:
        """The stored error is the raw one, not the enhanced one."""
        assert sanitize(death("SIGSEGV", ""), Schema(causes=True)) == death("SIGSEGV", "")


class TestParse:
    """upstream §1."""

    @pytest.mark.parametrize(
        ("value", "where"),
        [
            (None, "Expected `object`, got `null`"),
            ({"type": "NOPE"}, "$.type"),
            ({"type": "INTERNAL_ERROR"}, "`code`"),
            ({"type": "INTERNAL_ERROR", "code": "TASK_PROCESS_SIGBUS"}, "$.code"),
            ({"type": "INTERNAL_ERROR", "code": NON_ZERO.value, "message": None}, "$.message"),
            ({"type": "BUILT_IN_ERROR", "name": "E", "message": "m"}, "`stackTrace`"),
            ({"type": "STRING_ERROR", "raw": 3}, "Expected `str`, got `int` - at `$.raw`"),
        ],
    )
    def test_a_refusal_says_where(self, value: Any, where: str) -> None:
        """The message names the member and what was expected of it."""
        with pytest.raises(ValueError, match=r"^task error: ") as caught:
            parse_error(value, Schema(causes=True))
        assert where in str(caught.value)

    def test_unknown_members_are_dropped(self) -> None:
        """So are members that belong to another type."""
        value = {"type": "STRING_ERROR", "raw": "r", "message": "m", "extra": 1}
        assert parse_error(value, Schema(causes=True)) == TaskError(Kind.STRING, raw="r")

    @pytest.mark.parametrize("code", Code)
    def test_what_we_write_is_what_we_read(self, code: Code) -> None:
        """An internal error survives the wire, absent members and all."""
        error = internal(code, "m")
        wire = msgspec.json.decode(msgspec.json.encode(error))
        assert wire == {"type": "INTERNAL_ERROR", "code": code.value, "message": "m"}
        assert parse_error(wire, Schema(causes=True)) == error
