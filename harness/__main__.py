"""The command line: crash-harness, or python -m harness.

Nothing is imported before main() has seen to Ctrl-C: while something is being loaded, and once the exit code is known,
there is nothing to clean up, so that Ctrl-C ends the process at once instead of raising in the middle of an import.
"""

from __future__ import annotations

INTERRUPTED = 130
INFRA = 3
PIPE_CLOSED = 141  # as a shell has it for what SIGPIPE ends: whether all was as expected is not known


def main() -> None:
    """Run, flush, and leave with the exit code."""
    try:
        import sys  # noqa: PLC0415 -- see above

        leave_at_once_with(INTERRUPTED)
        code = guarded(sys.argv[1:])
        leave_at_once_with(code)
    except KeyboardInterrupt:
        code = INTERRUPTED
        leave_at_once_with(code)
    sys.exit(code)


def leave_at_once_with(code: int) -> None:
    """Let Ctrl-C end this process with `code`; where it is ignored, it stays so."""
    import os  # noqa: PLC0415 -- see above
    import signal  # noqa: PLC0415 -- see above

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))


def guarded(words: list[str]) -> int:
    """Run a command and flush its output. An unforeseen error exits as INFRA, so that nobody reads it as a FAIL."""
    import sys  # noqa: PLC0415 -- see above

    try:
        code = answer(words)
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        _silence()
        return PIPE_CLOSED
    except OSError as error:
        _silence()
        _say(f"crash-harness: {error}\n")
        return INFRA
    except Exception:  # noqa: BLE001 -- the last resort, and it hides nothing
        import traceback  # noqa: PLC0415 -- seldom

        _say(f"{traceback.format_exc()}crash-harness: this is an error of the harness: please report these lines\n")
        return INFRA
    return code


def answer(words: list[str]) -> int:
    """Print the help or the version, for which nothing is loaded; or load the command that is named, and run it."""
    import sys  # noqa: PLC0415 -- see above

    from harness.cli.commands import quick_answer  # noqa: PLC0415 -- see above

    text = quick_answer(words)
    if text is None:
        from harness.cli.program import run  # noqa: PLC0415 -- see above

        return run(words)
    if sys.stdout:
        sys.stdout.write(text)
    return 0


def _say(text: str) -> None:
    """Write to stderr.

    Where that fails too (a full disk, a closed descriptor), the exit code alone tells what happened.
    """
    import sys  # noqa: PLC0415 -- see above

    if sys.stderr:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            _silence(2)


def _silence(fd: int = 1) -> None:
    """Send what is still buffered to /dev/null: the reader of our output is gone, or the disk is full."""
    import os  # noqa: PLC0415 -- see above

    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


if __name__ == "__main__":
    main()
