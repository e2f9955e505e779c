"""The options that say what an experiment tries: where, under which policy, and beside what."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from msgspec import UNSET

from harness.cli.options.common import options
from harness.cli.options.limits import limits_of
from harness.cli.options.policy import policy_of
from harness.cli.options.stopping import PROPER
from harness.cli.options.word import Word
from harness.experiments.advice import TARGET
from harness.experiments.variant import Place, VariantOptions
from harness.scenarios.schema import PolicySpec
from harness.wire.policy import DEFAULT_PRESET

OPTIONS = (
    click.option(
        "--target",
        type=PROPER,
        default=TARGET,
        show_default=True,
        help="What may be left of P(all attempts fail) in the advice.",
    ),
    click.option(
        "--vs",
        metavar="CHANGE",
        help="Compare, interleaved: KEY=VALUE,… (start, host, dialect, dose, schedule, a parameter), or a command.",
    ),
    click.option("--name", help="What the first variant is called."),
    click.option("--cwd", metavar="FOLDER", help="Where the command works, if not here."),
    click.option("--env", multiple=True, metavar="NAME=VALUE", help="What its environment has beside ours."),
    click.option("--vs-name", help="What the second variant is called."),
    click.option("--vs-cwd", metavar="FOLDER", help="Compare with the command there, as of another commit."),
    click.option("--vs-env", multiple=True, metavar="NAME=VALUE", help="Compare with the command in this environment."),
    click.option(
        "--start",
        type=Word(["auto", "fresh", "warm"], "start"),
        default="auto",
        show_default=True,
        help="Each victim a new process image, or a fork of one; auto is warm where the scenario allows it.",
    ),
    click.option("--backtrace", is_flag=True, help="Keep native backtraces of a command's first crashes, by gdb."),
)
variant_options = options(OPTIONS)


def variants_of(given: dict[str, Any]) -> VariantOptions:
    """Gather what was said of variants. Raises InvalidInputError."""
    return VariantOptions(
        dialect=given["dialect"],
        seed=given["seed"],
        host=given["host"],
        start=None if given["start"] == "auto" else given["start"],
        limits=limits_of(given),
        timeout_s=given["timeout"],
        jobs=given["jobs"],
        target=given["target"],
        expect_below=given["expect_below"],
        containment=given["containment"],
        policy=_policy(given["max_attempts"], given["retry_config"], given["machine"]),
        backtrace=given["backtrace"],
        observe=given["witnesses"],
        schedule=given["schedule"],
        place=Place(given["name"], given["cwd"], given["env"]),
        vs_place=Place(given["vs_name"], given["vs_cwd"], given["vs_env"]),
    )


def _policy(max_attempts: object, retry_config: object, machine: str) -> PolicySpec | None:
    """Make the policy of what was said; None where nothing was, so that a scenario's case keeps its own."""
    if max_attempts is UNSET and retry_config is UNSET and machine == DEFAULT_PRESET:
        return None
    made = policy_of(max_attempts, retry_config, machine)
    return msgspec.convert({name: getattr(made, name) for name in PolicySpec.__struct_fields__}, PolicySpec)
