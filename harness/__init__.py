"""Native crashes made for real, supervised, classified and judged.

Importing this loads nothing: each public name is fetched from its module when it is first used (PEP 562), so that a
test suite in which the pytest plugin is merely installed does not pay for it.

PYTEST_DONT_REWRITE: there is no assertion here, and pytest's warning that it came too late would end a guarded process
of a project that makes errors of warnings.
"""

TYPE_CHECKING = False  # a type checker takes it for typing's; importing typing costs as much as all the rest here
if TYPE_CHECKING:
    from harness.api import run, run_async
    from harness.dialects.protocol import Dialect
    from harness.engine.call import call
    from harness.engine.loop import Attempt, Run
    from harness.engine.policy import Policy
    from harness.exceptions import HarnessError, InfraError, InvalidInputError, NativeCrash, NotArmed
    from harness.faults.shot import Fault
    from harness.isolation import isolated
    from harness.refusals.calling import sweep
    from harness.refusals.window import window
    from harness.supervisor import Limits

__version__ = "0.2.0.dev0"
__all__ = [
    "Attempt",
    "Dialect",
    "Fault",
    "HarnessError",
    "InfraError",
    "InvalidInputError",
    "Limits",
    "NativeCrash",
    "NotArmed",
    "Policy",
    "Run",
    "call",
    "isolated",
    "run",
    "run_async",
    "sweep",
    "window",
]

_HOMES = {
    "Attempt": "engine.loop",
    "Dialect": "dialects.protocol",
    "Fault": "faults.shot",
    "HarnessError": "exceptions",
    "InfraError": "exceptions",
    "InvalidInputError": "exceptions",
    "Limits": "supervisor",
    "NativeCrash": "exceptions",
    "NotArmed": "exceptions",
    "Policy": "engine.policy",
    "Run": "engine.loop",
    "call": "engine.call",
    "isolated": "isolation",
    "run": "api",
    "run_async": "api",
    "sweep": "refusals.calling",
    "window": "refusals.window",
}
"""Where each public name is: a module below this package."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take every misspelt name for a public one

    def __getattr__(name: str) -> object:
        """Fetch a public name from its module, once."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 -- an import of this package alone should not pay for it

        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value
