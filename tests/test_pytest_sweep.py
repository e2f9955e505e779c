"""The fixture `swept` in a user's own pytest run."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.slow

MODULE = """
import ctypes, pytest
library = ctypes.CDLL({path!r})

@pytest.fixture
def three():
    yield 3

@pytest.mark.sweep(libraries=["libtruth"], mode="once")
@pytest.mark.parametrize("more", [1, 2])
def test_careful(swept, three, more):
    def call():
        if not library.careful():
            raise MemoryError
        return three + more
    assert swept(call).tally == {{"handled": 2}}

@pytest.mark.sweep(libraries=["libtruth"], mode="once"{known})
def test_careless(swept):
    swept(lambda: library.crashing() + library.jumping())

def test_broken(swept):
    swept(lambda: 1 / 0)

@pytest.mark.sweep
def test_idle(swept):
    pass

@pytest.mark.sweep
def test_without_the_fixture():
    pass

@pytest.mark.sweep(mode="onse")
def test_misspelt(swept):
    swept(library.careful)

def test_of_another_kind():
    pass
"""


@pytest.fixture
def module(pytester: pytest.Pytester, compile_program: Callable[..., str]) -> Callable[..., Path]:
    """Write the user's tests."""
    library = compile_program("truth.c", "libtruth.so", "-shared", "-fPIC")
    return lambda known="": pytester.makepyfile(test_user=MODULE.format(path=library, known=known))


@pytest.mark.long
def test_each_finding_is_a_subtest_with_its_replay(pytester: pytest.Pytester, module: Callable[..., Path]) -> None:
    """Closures and fixtures work, no worker is lost, other tests are as ever."""
    module()
    done = pytester.runpytest_subprocess("-n", "2")
    counts = done.parseoutcomes()
    assert (counts["passed"], counts["failed"]) == (3, 7)  # two findings, their test, and four that can't be swept
    done.stdout.fnmatch_lines([
        "*replay: pytest test_user.py::test_careless --sweep-site=*:1 --sweep-mode=once",
        "INFRA: test_user.py::test_broken fails without a refusal: ZeroDivisionError: division by zero",
    ])  # fmt: skip
    text = done.stdout.str()
    assert text.count("has never called swept") == 2
    assert "mode: expected one of once, from-then-on, both, not 'onse'; did you mean 'once'?" in text
    assert "pytest_plugin/sweep.py" not in text


@pytest.mark.long
def test_a_replay_line_lives_one_refusal(pytester: pytest.Pytester, module: Callable[..., Path]) -> None:
    """The site alone."""
    module()
    first = pytester.runpytest_subprocess("-k", "careless")
    line = next(line for line in reversed(first.outlines) if "replay: pytest" in line)
    again = pytester.runpytest_subprocess(*line.split("pytest ", 1)[1].split())
    assert sum("refusal at 1 site" in line for line in again.outlines) == 1


@pytest.mark.long
def test_a_baseline_is_found_from_the_root(pytester: pytest.Pytester, module: Callable[..., Path]) -> None:
    """A file of known findings, by its path; a broken one is an error of the test's."""
    module(known=", baseline='known.toml'")
    (pytester.path / "known.toml").write_text("version = 2")
    done = pytester.runpytest_subprocess("-k", "careless")
    done.stdout.fnmatch_lines(["*known.toml: *version*"])
