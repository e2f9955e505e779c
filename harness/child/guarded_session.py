"""The pytest session of a guarded process: collects as its parent does, runs what it is told, and reports."""

import faulthandler
import os
import sys
from contextlib import suppress
from importlib import import_module
from os import SEEK_SET, ftruncate, lseek  # a fixture may have replaced what os has
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.config import _prepareconfig
from _pytest.faulthandler import get_timeout_config_value
from _pytest.junitxml import xml_key

from harness.child.guarded_screen import Properties, mute, warning_words

if TYPE_CHECKING:
    import warnings

    from harness.child.guarded import Channel

first = pytest.hookimpl(tryfirst=True)
DUMP_SHARE = 0.9  # of a deadline: then the stacks are written, which nobody can ask for later


def run(channel: "Channel", orders: dict[str, Any]) -> int:
    """Run a session of this command line, and return its exit status."""
    config = _prepareconfig(list(orders["args"]), orders["plugins"])
    vars(config.option).update(orders["options"])
    if orders["only"] is not None:
        config.args, config.option.pyargs = [orders["only"]], False
    config.workerinput, config.workeroutput = orders["worker"], {}  # type: ignore[attr-defined]  # xdist's convention
    stacks = channel.out_of_the_way(os.memfd_create("crash-stacks"))
    config.pluginmanager.register(Session(config, channel, orders, stacks), "crash-guarded")
    status = int(config.hook.pytest_cmdline_main(config=config))
    config._ensure_unconfigure()  # noqa: SLF001 -- as pytest's own main() does
    faulthandler.enable(stacks)  # pytest has turned it off, and the interpreter has yet to end
    return status


class Session:
    """The plugin of a guarded session."""

    def __init__(self, config: pytest.Config, channel: "Channel", orders: dict[str, Any], stacks: int) -> None:
        self._config, self._channel, self._orders = config, channel, orders
        self.stacks = stacks
        self.deadline_s: float | None = None
        self._items: dict[str, list[pytest.Item]] = {}
        self._session: pytest.Session | None = None
        self._has_begun, self._phase = False, ""

    # --- the start ---

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Take the place of the terminal, and of the folder for temporary files."""
        mute(config, self._channel, self._orders["screen"])
        factory = config._tmp_path_factory  # type: ignore[attr-defined]  # noqa: SLF001 -- there is no other way
        base = type(config.rootpath)(self._orders["basetemp"])
        factory._basetemp = factory._given_basetemp = base  # noqa: SLF001 -- else it would be emptied first
        if faulthandler.is_enabled():
            faulthandler.enable(self.stacks)
        if self._orders["junit"]:
            stand_in: Any = Properties(self._channel, self._orders["junit"])
            config.stash[xml_key] = stand_in
        process = os.pidfd_open(os.getpid())
        self._channel.send_files({"process": process, "stacks": self.stacks, "bell": self._channel.bell.fileno()})
        os.close(process)
        self._channel.bell.close()

    @first
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Take the stand-in back before pytest looks for its own."""
        if xml_key in config.stash:
            del config.stash[xml_key]

    @first
    def pytest_pycollect_makemodule(self, module_path: Any, parent: pytest.Collector) -> pytest.Collector | None:
        """Leave out a module whose import has ended a process before."""
        if str(module_path) in self._orders["poisoned"]:
            return Nothing.from_parent(parent, path=module_path)
        return None

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Say whose import it is that may end the process."""
        path = getattr(collector, "path", None)
        if path is not None and path.is_file():
            self._channel.note("collecting", path=str(path))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what there is to run."""
        self._session = session
        for item in session.items:
            self._items.setdefault(item.nodeid, []).append(item)
        self._channel.send("collected")

    # --- the run ---

    @first
    def pytest_runtestloop(self) -> bool:
        """Run what the parent asks for, until it asks for the end."""
        self._hand_over_capture()
        while True:
            word, order = self._channel.receive()
            if word == "end":
                return True
            self._serve(order)

    def _serve(self, order: dict[str, Any]) -> None:
        item, following = self._find(order["item"]), order["next"] and self._find(order["next"])
        if item is None:
            self._channel.send("missing")
            return
        seed(item, order["seed"])
        if order["plugin"]:
            self._config.pluginmanager.import_plugin(order["plugin"])
        self.deadline_s = order["deadline_s"]
        tell = self._channel.note if self._has_begun and not self.deadline_s else self._channel.send
        tell("start")
        self._has_begun, self._phase = True, "setup"
        left = order["failures_left"]
        self._config.option.maxfail = left and item.session.testsfailed + left
        serve = import_module(order["fork"]).serve if order["fork"] else Session.run
        ran = serve(self, item, following)
        self._channel.send("done", **ran)

    def run(self, item: pytest.Item, following: pytest.Item | None) -> dict[str, object]:
        """Run one test, here or in a fork, and return what it says of the whole session."""
        session = item.session
        self._expect_end_within(self.deadline_s)
        try:
            self._config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except pytest.exit.Exception as error:
            self._channel.send("exit", message=str(error.msg), status=error.returncode)
            raise
        except KeyboardInterrupt:
            self._channel.send("interrupt")
            raise
        if self.deadline_s and self.is_mine:  # a fork of the test's has no thread that could end
            faulthandler.cancel_dump_traceback_later()
        keep_coverage()
        guarding = self._config.crash_guard  # type: ignore[attr-defined]  # of harness.pytest_plugin
        return {"stop": session.shouldstop, "fail": session.shouldfail, "discard": guarding.why}

    # --- in a fork, and for it ---

    def become_fork(self) -> None:
        """Speak for the process that forked this one."""
        self._channel.become_fork()

    @property
    def is_mine(self) -> bool:
        """Whether this process is the one that speaks, and no fork that a test has lost track of."""
        return self._channel.is_mine

    def tell(self, word: str, **more: object) -> None:
        """Tell the parent."""
        self._channel.send(word, **more)

    def written_stacks(self) -> str:
        """Return the Python stacks that were written."""
        return os.pread(self.stacks, os.fstat(self.stacks).st_size, 0).decode("utf-8", "replace")

    # --- what it is made of ---

    def _find(self, named: tuple[str, int]) -> pytest.Item | None:
        """Find an item by its id, and by which of that id it is."""
        nodeid, place = named
        known = self._items.get(nodeid, [])
        return known[place] if place < len(known) else None

    def _expect_end_within(self, deadline_s: float | None) -> None:
        ftruncate(self.stacks, 0)
        lseek(self.stacks, 0, SEEK_SET)
        if deadline_s and not get_timeout_config_value(self._config):
            faulthandler.dump_traceback_later(deadline_s * DUMP_SHARE, file=self.stacks)

    def _hand_over_capture(self) -> None:
        """Hand the files of pytest's capture to the parent, which reads there what a test had printed when it died."""
        manager = self._config.pluginmanager.getplugin("capturemanager")
        capture = getattr(manager, "_global_capturing", None)
        files = {}
        part: Any
        for name, part in (("stdout", getattr(capture, "out", None)), ("stderr", getattr(capture, "err", None))):
            with suppress(Exception):  # what captures without a file has nothing that could be read later
                files[name] = part.tmpfile.fileno()
        if files:
            self._channel.send_files(files)

    # --- what the parent is told ---

    @first
    def pytest_runtest_setup(self) -> None:
        """Name the phase, so that a crash is blamed on it whenever reports are made."""
        self._enter("setup")

    @first
    def pytest_runtest_call(self) -> None:
        """As above."""
        self._enter("call")

    @first
    def pytest_runtest_teardown(self) -> None:
        """As above."""
        self._enter("teardown")

    def _enter(self, phase: str) -> None:
        if phase != self._phase:  # a test begins in its setup
            self._channel.note("phase", name=phase)
        self._phase = phase

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send a report by pytest's own hook, for it may be of any plugin's kind."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._channel.note("report", data=data, is_text=isinstance(report.longrepr, str))

    def pytest_warning_recorded(
        self, warning_message: "warnings.WarningMessage", when: str, nodeid: str, location: object
    ) -> None:
        """Send a warning of a test; those of the collection the parent has itself."""
        if when == "runtest":
            told = warning_words(warning_message)
            self._channel.send("warning", warning=told, when=when, nodeid=nodeid, location=location)

    def pytest_internalerror(self, excrepr: object) -> None:
        """Send what went wrong in pytest or in a plugin."""
        self._channel.send("internalerror", text=str(excrepr))


def seed(item: pytest.Item, number: int) -> None:
    """Have Hypothesis draw the same examples again in the next process, where nothing else says which."""
    core: Any = sys.modules.get("hypothesis.core")
    if core is None or item.config.getoption("hypothesis_seed", None) is not None:
        return
    test: Any = getattr(item, "obj", None)
    test = getattr(test, "__func__", test)
    is_machine = getattr(test, "is_hypothesis_test", False) and not hasattr(test, "hypothesis")
    core.global_force_seed = number if is_machine else None  # its function with @given is made when it runs
    settings = getattr(test, "_hypothesis_internal_use_settings", None)
    is_free = settings is not None and not settings.derandomize
    if is_free and getattr(test, "_hypothesis_internal_use_seed", 0) is None:
        test._hypothesis_internal_use_seed = number  # noqa: SLF001 -- what @seed sets


class Nothing(pytest.File):
    """A module without tests: it stands for one whose import has ended a process."""

    def collect(self) -> list[pytest.Item]:
        """Collect nothing."""
        return []


def keep_coverage() -> None:
    """Write what was measured so far, so that a crash costs the coverage of one test and not of all before it."""
    if "coverage" in sys.modules:
        measuring = sys.modules["coverage"].Coverage.current()
        if measuring is not None:
            measuring.get_data()
