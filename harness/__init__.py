"""Native crashes made for real, supervised, classified and judged.

Importing this loads nothing: each public name is fetched from its module when it is first used (PEP 562), so that a
test suite in which the pytest plugin is merely installed does not pay for it.
"""

TYPE_CHECKING = False  # a type checker takes it for typing's; importing typing costs as much as all the rest here
if TYPE_CHECKING:
    from harness.api import run, run_async
    from harness.engine.loop import Attempt, Policy, Run
    from harness.exceptions import HarnessError, InfraError, InvalidInputError, NotArmed
    from harness.supervisor import Limits
    from harness.supervisor import Shot as Fault
    from harness.wire.codes import Dialect

__version__ = "0.1.0"
__all__ = [
    "Attempt",
    "Dialect",
    "Fault",
    "HarnessError",
    "InfraError",
    "InvalidInputError",
    "Limits",
    "NotArmed",
    "Policy",
    "Run",
    "run",
    "run_async",
]

_HOMES = {
    "Attempt": "engine.loop",
    "Dialect": "wire.codes",
    "Fault": "supervisor:Shot",
    "HarnessError": "exceptions",
    "InfraError": "exceptions",
    "InvalidInputError": "exceptions",
    "Limits": "supervisor",
    "NotArmed": "exceptions",
    "Policy": "engine.loop",
    "Run": "engine.loop",
    "run": "api",
    "run_async": "api",
}
"""Where each public name is: a module below this package, and after a colon its name there, if it has another."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take every misspelt name for a public one

    def __getattr__(name: str) -> object:
        """Fetch a public name from its module, once."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 -- an import of this package alone should not pay for it

        module, _, there = _HOMES[name].partition(":")
        value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), there or name)
        return value
