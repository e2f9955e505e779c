"""When an experiment ends. Counts and seconds in, a reason out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.experiments.statistics import SequentialTest, clopper_pearson

if TYPE_CHECKING:
    from harness.experiments.tally import Tally


class Stopping(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an experiment ends: the first that applies.

    `trials` of each variant; `width`, half the 95 % interval; `sequential`, Wald's test, which gives up at `cap`
    times the fixed size; `time_s` seconds.
    """

    trials: int | None = None
    width: float | None = None
    sequential: SequentialTest | None = None
    time_s: float | None = None
    cap: int = 3

    def reason(self, tally: Tally, elapsed_s: float) -> str | None:
        """Say why to stop, or None."""
        return self._enough(tally) or self._decided(tally) or self._narrow(tally) or self._late(elapsed_s)

    def _enough(self, tally: Tally) -> str | None:
        return f"{self.trials} trials" if self.trials and tally.trials >= self.trials else None

    def _decided(self, tally: Tally) -> str | None:
        test = self.sequential
        if test is None:
            return None
        answer = test.decide(tally.failures, tally.trials)
        if answer:
            return f"the sequential test decided for {answer} = {getattr(test, answer):g}"
        return f"undecided after {tally.trials} trials" if tally.trials >= test.cap(self.cap) else None

    def _narrow(self, tally: Tally) -> str | None:
        if self.width is None or tally.trials == 0:
            return None
        return (
            f"half-width {self.width:g} reached"
            if clopper_pearson(tally.failures, tally.trials).half_width <= self.width
            else None
        )

    def _late(self, elapsed_s: float) -> str | None:
        return f"{self.time_s:g} seconds" if self.time_s is not None and elapsed_s >= self.time_s else None

    def most_trials(self) -> int | None:
        """Return how many trials it may take, where that is known."""
        capped = self.sequential.cap(self.cap) if self.sequential else None
        known = [one for one in (self.trials, capped) if one]
        return min(known) if known else None
