"""The scope `fork`, in a guarded process: what tests share is set up there once, and each test runs in a fork of it."""

from __future__ import annotations

import copy
import os
from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from _pytest.outcomes import Exit
from _pytest.runner import CallInfo
from _pytest.scope import Scope

from harness.evidence import Exited
from harness.supervisor.forked import Fork

if TYPE_CHECKING:
    from collections.abc import Generator

    from harness.child.guarded_session import Session

ENDS_ALL: Final = (Exit, KeyboardInterrupt)


def serve(session: Session, item: pytest.Item, following: pytest.Item | None) -> dict[str, object]:
    """Run a test in a fork, which tells what there is to tell. Here is set up, and torn down, what it shares."""
    session.tell("phase", name="setup")
    with _captured(item, "setup"):
        set_up_wider(item)
    reached = os.memfd_create("crash-fork", os.MFD_CLOEXEC)
    try:
        _live(session, item, reached)
    finally:
        os.close(reached)
    if hasattr(item, "_initrequest"):
        item._initrequest()  # noqa: SLF001 -- as pytest does before it runs a test again
    _tear_down(item, following)
    return {}


def _live(session: Session, item: pytest.Item, reached: int) -> None:
    def work() -> None:
        session.become_fork()
        item.config.pluginmanager.register(OwnEnds(item))
        ran = session.run(item, copy.copy(item))  # with a next one beside it, only what is its own is torn down
        session.tell("ran", **ran)
        if session.is_mine:  # and no fork of the test's
            os.write(reached, b"!")

    fork = Fork(work, session.stacks)
    evidence = fork.end(session.deadline_s)
    if evidence.termination != Exited(0) or not os.fstat(reached).st_size:
        told = msgspec.json.encode(evidence).decode()
        session.tell("died", evidence=told, output=_printed(item), python=session.written_stacks(), thread=fork.pid)


class OwnEnds:
    """The plugin of a fork that ends what is set up in it alone: a shared fixture that its test is the first to use.

    What was there before the fork is ended by the process that forked it.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._stack = item.session._setupstate.stack  # noqa: SLF001 -- there is no other way
        self._known = {node: len(ends) for node, (ends, _) in self._stack.items()}

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Have it end after the test's own fixtures, the last first; a failure is this test's."""
        with ExitStack() as last:
            for node, (ends, _) in self._stack.items():
                for end in [] if node is item else ends[self._known.get(node, 0) :]:
                    last.callback(end)
            return (yield)


def _printed(item: pytest.Item) -> dict[str, str]:
    """Take what the test had printed, which must not be taken for the next one's."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    with suppress(Exception):  # -- there may be none, or one that has nothing to read
        out, err = capture.read_global_capture()
        return {"stdout": str(out), "stderr": str(err)}
    return {}


def _tear_down(item: pytest.Item, following: pytest.Item | None) -> None:
    """Tear down what the next test does not need; a failure is this test's, as in plain pytest."""
    state = item.session._setupstate  # noqa: SLF001 -- there is no other way
    with _captured(item, "teardown"):
        call = CallInfo.from_call(lambda: state.teardown_exact(following), "teardown", reraise=ENDS_ALL)
    if call.excinfo is not None:
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)


def set_up_wider(item: pytest.Item) -> None:
    """Set up the collectors of a test, and those of its fixtures that others may share.

    What fails is kept by pytest, and fails again in the fork, where it is reported.
    """
    state = item.session._setupstate  # noqa: SLF001 -- there is no other way
    with suppress(Exception, pytest.skip.Exception, pytest.fail.Exception):
        state.setup(item.parent)  # type: ignore[arg-type]  # only its chain is asked for
        state.stack[item] = ([item.teardown], None)  # for a fixture is not set up without its test
        try:
            _set_up_fixtures(item)
        finally:
            del state.stack[item]


def _set_up_fixtures(item: pytest.Item) -> None:
    request, info = getattr(item, "_request", None), getattr(item, "_fixtureinfo", None)
    for name in list(request.fixturenames) if request and info else ():
        found = info.name2fixturedefs.get(name)  # type: ignore[union-attr]  # as just asked
        if found and _is_shared(found[-1]._scope, item):  # noqa: SLF001 -- there is no other way
            request._get_active_fixturedef(name)  # type: ignore[union-attr]  # noqa: SLF001 -- as above


def _is_shared(scope: Scope, item: pytest.Item) -> bool:
    """Whether other tests may have the same fixture. To a function outside of a class, the scope `class` is its own."""
    return scope > Scope.Class or (scope is Scope.Class and item.getparent(pytest.Class) is not None)


def _captured(item: pytest.Item, when: str) -> Any:
    capture = item.config.pluginmanager.getplugin("capturemanager")
    return nullcontext() if capture is None else capture.item_capture(when, item)
