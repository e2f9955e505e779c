"""How long a trial takes here: ten of each variant, timed."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from harness.dialects.custom import opened_all
from harness.experiments.firing import GroupRunner
from harness.experiments.tally import GROUP
from harness.supervisor import Stop

if TYPE_CHECKING:
    from harness.experiments.variant import Experiment


def seconds_a_trial(experiment: Experiment) -> float:
    """Fire ten trials of each variant, and return the seconds that one of each took. Raises InfraError.

    What comes before the first trial, as starting the process from which the others are forked, is not counted.
    """
    dialects = opened_all(variant.dialect for variant in experiment.variants)
    with dialects as opened, Stop() as stop, closing(GroupRunner(stop, opened)) as runner:
        for variant in experiment.variants:
            runner.fire(variant, range(1, 2))
        began = time.monotonic()
        for variant in experiment.variants:
            runner.fire(variant, range(2, GROUP + 2))
        return (time.monotonic() - began) / GROUP
