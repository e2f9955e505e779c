"""The plugin in a user's own pytest run."""

import sys
import warnings
from pathlib import Path

import pytest

from harness.pytest_plugin import looks_like_ours

pytest_plugins = ["pytester"]

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def scenario(pytester: pytest.Pytester, name: str) -> Path:
    """Put a shipped scenario into the user's own folder."""
    folder = pytester.path / "scenarios"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text((SCENARIOS / f"{name}.toml").read_text())
    return path


@pytest.mark.long
@pytest.mark.slow
def test_scenario_files_are_items(pytester: pytest.Pytester) -> None:
    """Cases are collected under readable ids, by file; other TOML files are left alone."""
    scenario(pytester, "controls")
    (pytester.path / "other.toml").write_text("a = 1")
    done = pytester.runpytest_subprocess("-v")
    done.stdout.fnmatch_lines(
        ["scenarios/controls.toml::never PASSED*", "scenarios/controls.toml::did-not-fire PASSED*"]
    )
    done.assert_outcomes(passed=2)


@pytest.mark.long
@pytest.mark.slow
def test_a_fail_shows_evidence_trail_and_replay(pytester: pytest.Pytester) -> None:
    """Under the dialect from before the fix the failure explains itself, and nothing of pytest's is in it."""
    scenario(pytester, "bad-host")
    done = pytester.runpytest_subprocess("scenarios", "--crash-dialect", "upstream-4.4")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "FAIL bad-host[[]bit-flip] (upstream-4.4)",
            "status: expected COMPLETED_SUCCESSFULLY, observed CRASHED",
            "attempt 1 on host-a forced: SIGSEGV, SEGV_MAPERR at 0x*",
            "replay: crash-harness run *bad-host.toml --case bit-flip --dialect upstream-4.4 --seed 0",
            'evidence 1: {"termination":{"kind":"signaled","signal":"SIGSEGV"}*',
        ]
    )
    done.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.long
@pytest.mark.slow
def test_it_works_under_xdist(pytester: pytest.Pytester) -> None:
    """Only grandchildren crash: no worker is lost."""
    scenario(pytester, "deterministic-bug")
    pytester.runpytest_subprocess("scenarios", "-n", "2").assert_outcomes(passed=3)


@pytest.mark.long
def test_a_broken_file_is_one_line(pytester: pytest.Pytester) -> None:
    """A collection error names file and key."""
    scenario(pytester, "controls").write_text('claim = "x"\n')
    done = pytester.runpytest_subprocess("scenarios")
    done.stdout.fnmatch_lines(["*controls.toml: cause: expected, and it is not there"])
    done.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.long
def test_other_peoples_files_are_left_alone(pytester: pytest.Pytester) -> None:
    """A folder of that name is not ours by its name; one that the project calls ours is."""
    scenario(pytester, "controls").write_text('title = "checkout"\n[load]\nusers = 50\n')
    pytester.makepyfile("def test_ok(): pass")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    pytester.makeini("[pytest]\ncrash_scenarios = scenarios")
    pytester.runpytest_subprocess().assert_outcomes(errors=1)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ('claim = "x"', True),
        ("# claim = 1\n[[case]]\nname = 'a'\n[case.victim]\n", True),
        ("[[case]]\nvictim = {}\n[", True),
        ("[claim]\namount = 5\n[[cases]]\n", False),
        ("[[case]]\ninput = 1\n", False),
        ("", False),
        ("\0" * 100, False),
    ],
)
def test_a_file_of_ours_is_known_by_its_text(tmp_path: Path, text: str, ours: bool) -> None:
    """By a claim in words or a case with a victim, so that a mistake in ours is not taken for somebody else's file."""
    (tmp_path / "a.toml").write_text(text)
    assert looks_like_ours(tmp_path / "a.toml") is ours


@pytest.mark.long
def test_a_session_without_anything_of_ours_loads_at_most_three_modules(pytester: pytest.Pytester) -> None:
    """The plugin is installed for all projects of an environment; those that use nothing of it pay nothing."""
    test = pytester.makepyfile("""
        import sys

        def test_count():
            loaded = [name for name in sys.modules if name.partition(".")[0] == "harness"]
            assert 0 < len(loaded) <= 3, loaded
            assert "msgspec" not in sys.modules and "rich" not in sys.modules
    """)
    pytester.runpytest_subprocess(test).assert_outcomes(passed=1)


def test_an_unknown_dialect_is_refused(pytester: pytest.Pytester) -> None:
    """Before anything runs."""
    done = pytester.runpytest_subprocess("--crash-dialect", "nonsense")
    assert done.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.long
@pytest.mark.slow
def test_the_fixtures_serve_a_users_own_test(pytester: pytest.Pytester) -> None:
    """A fault, a command and a scenario, each in one line."""
    path = scenario(pytester, "controls")
    test = pytester.makepyfile(f"""
        import re
        import pytest
        from harness import InvalidInputError

        def test_fault(fire_fault):
            evidence = fire_fault("null_read", offset=8)
            assert str(evidence.termination) == "SIGSEGV"
            assert evidence.fault.address == 8

        def test_command(supervise_command):
            assert supervise_command(["sh", "-c", "exit 3"], deadline_s=10).termination.status == 3

        def test_mistakes(fire_fault, supervise_command, run_scenario):
            for mistake, message in [
                (lambda: fire_fault("null_read", ofset=9), "no such parameter"),
                (lambda: fire_fault("nul_read"), "did you mean 'null_read'"),
                (lambda: fire_fault("null_read", offset=99999), "expected 0 to 4095"),
                (lambda: supervise_command("true"), "expected a list of words"),
                (lambda: run_scenario("controls", "nope"), "no case is called 'nope'"),
                (lambda: run_scenario("controls"), "which case?"),
            ]:
                with pytest.raises(InvalidInputError, match=re.escape(message)):
                    mistake()

        def test_shipped(run_scenario):
            assert run_scenario("controls", "never").judgement.verdict == "PASS"

        def test_scenario(run_scenario):
            assert run_scenario({str(path)!r}, "never").judgement.verdict == "PASS"
    """)
    pytester.runpytest_subprocess(test).assert_outcomes(passed=5)


def test_pytest_does_not_warn_of_our_package(pytestconfig: pytest.Config) -> None:
    """It is imported before pytest looks for what to rewrite; a project may make an error of that warning."""
    hook = pytestconfig.pluginmanager.rewrite_hook
    assert "harness" in sys.modules
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hook.mark_rewrite("harness")
        with pytest.raises(pytest.PytestAssertRewriteWarning):
            hook.mark_rewrite("sys")
