"""When an experiment ends, and how long it still takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.experiments.groups import FEWEST_GROUPS, grouped_interval
from harness.experiments.sequential import SequentialTest  # noqa: TC001 -- msgspec reads the annotations of records
from harness.experiments.tally import GROUP

if TYPE_CHECKING:
    from harness.experiments.tally import Tally


class Stopping(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an experiment ends: the first that applies.

    `trials` of each variant; `width`, half the 95 % interval by groups; `sequential`, Wald's test, which gives up at
    `cap` times the fixed size; `time_s` seconds.
    """

    trials: int | None = None
    width: float | None = None
    sequential: SequentialTest | None = None
    time_s: float | None = None
    cap: int = 3

    def reason(self, tally: Tally, elapsed_s: float) -> str | None:
        """Say why to stop, or None."""
        return self._enough(tally) or self._decided(tally) or self._narrow(tally) or self.late(elapsed_s)

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
        if self.width is None or tally.groups.groups < FEWEST_GROUPS:
            return None
        narrow = grouped_interval(tally.units).half_width <= self.width
        return f"half-width {self.width:g} reached" if narrow else None

    def late(self, elapsed_s: float) -> str | None:
        """Say that the time is over, or None: it is over whether or not all variants have had as many trials."""
        return f"{self.time_s:g} seconds" if self.time_s is not None and elapsed_s >= self.time_s else None

    def numbers(self, index: int) -> range:
        """Numbers of the trials of a group, the `index`th from 0: ten, or fewer where `trials` cuts the last one."""
        first, last = index * GROUP + 1, (index + 1) * GROUP
        return range(first, 1 + (last if self.trials is None else min(last, self.trials)))

    def most_trials(self) -> int | None:
        """Return how many trials it may take, where that is known."""
        capped = self.sequential.cap(self.cap) if self.sequential else None
        known = [one for one in (self.trials, capped) if one]
        return min(known) if known else None

    def trials_left(self, tally: Tally) -> float | None:
        """Return about how many trials are still to come by the rules that count trials; None without such a rule.

        For a width, as many as shrink the interval of now to it; for a sequential test the mean from here on at the
        rate seen so far, and not the cap.
        """
        known = [
            one
            for one in (self._left_of_fixed(tally), self._left_of_width(tally), self._left_of_test(tally))
            if one is not None
        ]
        return min(known) if known else None

    def seconds_left(self, tally: Tally, elapsed_s: float) -> float | None:
        """Return about how many seconds it still takes, at the pace so far; None where no rule says."""
        trials = self.trials_left(tally)
        known = [] if trials is None or not tally.trials else [trials * elapsed_s / tally.trials]
        if self.time_s is not None:
            known.append(max(0.0, self.time_s - elapsed_s))
        return min(known) if known else None

    def _left_of_fixed(self, tally: Tally) -> float | None:
        return None if self.trials is None else max(0.0, self.trials - tally.trials)

    def _left_of_width(self, tally: Tally) -> float | None:
        if self.width is None or tally.groups.groups < FEWEST_GROUPS:
            return None
        shrink = (grouped_interval(tally.units).half_width / self.width) ** 2
        return max(0.0, tally.trials * (shrink - 1))

    def _left_of_test(self, tally: Tally) -> float | None:
        if self.sequential is None or not tally.trials:
            return None
        rest = self.sequential.cap(self.cap) - tally.trials
        return max(0.0, min(rest, self.sequential.steps_left(tally.failures, tally.trials)))
