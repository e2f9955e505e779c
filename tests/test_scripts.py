"""Functions of the script that runs: found as multiprocessing's spawn finds them, or refused in words that help."""

import subprocess
import sys
from pathlib import Path

import pytest

FUNCTION = """
import sys, harness
HERE = {"answer": 42}
def job(left=0):
    return [left, HERE["answer"], __name__, sys.argv[1:]]
"""
ASK = "print(harness.run(harness.call(job, 1), harness.Policy(5)).value)"
GUARDED = f"{FUNCTION}if __name__ == '__main__':\n    {ASK}\n"
OUTER = "def outer():\n    return harness.run(harness.call(job, 1)).value\n"
FOUND = "[1, 42, '__harness_main__', ['word']]"
GUARD = "let the call stand below `if __name__ == '__main__':`"
TYPED = "job can't be imported: it was typed into a notebook, a shell or python -c; write it to a file"

SCRIPTS = {
    "guarded": (GUARDED, FOUND),
    "asynchronous": (GUARDED.replace("def job", "async def job"), FOUND),
    "nested": (
        f"{FUNCTION}{OUTER}if __name__ == '__main__':\n    print(harness.run(outer).value)\n",
        FOUND,
    ),
    "not guarded": (f"{FUNCTION}{ASK}\n", GUARD),
    "not guarded, with an exit": (
        f"{FUNCTION}try:\n    {ASK}\nexcept harness.HarnessError as e:\n    sys.exit(e)\n",
        GUARD,
    ),
    "an exit at the end": (f"{GUARDED}sys.exit(0)\n", "its file ends the process when it is imported"),
    "below the guard": (
        f"import harness\nif __name__ == '__main__':\n    def job(left): pass\n    {ASK}\n",
        "it is not there when its file is imported",
    ),
    "typed": (f'exec(compile({FUNCTION!r}, "<cell>", "exec"))\n{ASK}\n', TYPED),
}


def said(command: list[str], folder: Path, text: str = "") -> str:
    """The last line that a program says, on whichever stream."""
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, input=text, capture_output=True, text=True, check=False, timeout=120
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_function_of_a_script(tmp_path: Path, name: str) -> None:
    """The file is imported under another name, so that its guard holds; what can't work says what to do."""
    text, expected = SCRIPTS[name]
    (tmp_path / "script").write_text(text)
    assert expected in said(["script", "word"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["script"]


@pytest.mark.slow
def test_a_function_of_a_module_that_runs(tmp_path: Path) -> None:
    """With python -m the relative imports of the module work in an attempt too."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "other.py").write_text("ANSWER = {'answer': 42}\n")
    (package / "tool.py").write_text(GUARDED.replace('HERE = {"answer": 42}', "from .other import ANSWER as HERE"))
    assert said(["-m", "package.tool", "word"], tmp_path) == FOUND


@pytest.mark.slow
def test_a_module_that_runs_its_own_job_when_imported(tmp_path: Path) -> None:
    """It is refused in the first attempt: each process would start another."""
    (tmp_path / "jobs.py").write_text(f"{FUNCTION}{ASK}\n")
    assert GUARD in said(["-c", "import jobs"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-c", f"{FUNCTION}{ASK}"], ["-"]], ids=["python -c", "stdin"])
def test_a_function_that_stands_in_no_file(tmp_path: Path, command: list[str]) -> None:
    """A cell of a notebook is one such; the words say where the function may stand."""
    assert TYPED in said(command, tmp_path, f"{FUNCTION}{ASK}")


@pytest.mark.slow
def test_a_job_runs_like_spawn(tmp_path: Path) -> None:
    """What multiprocessing finds in a script by spawn, harness.run finds too, in a process that it spawned as well."""
    (tmp_path / "script").write_text(
        f"{FUNCTION}import multiprocessing\n"
        f"def worker():\n    {ASK}\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    process = multiprocessing.Process(target=worker)\n"
        "    process.start()\n"
        "    process.join()\n"
    )
    assert said(["script", "word"], tmp_path) == FOUND
