"""Aims refusals: either the call that was recorded is refused, or the trial says that it was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from harness.exceptions import InfraError
from harness.refusals.preparation import Ready, prepare
from harness.refusals.refusal import Refusal, tell, tell_missed
from harness.refusals.verdicts import GOOD, NOTED, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.refusals.page import Order
    from harness.refusals.stacks import RawStack, Stack
    from harness.refusals.targets import Plan, Target
    from harness.refusals.trial import Host, Trial

AIMS: Final = 3  # a call that is missed as often is given up
HARMLESS: Final = GOOD | NOTED


class Marksman:
    """Lives the trials of one worker, on a host that it replaces when that ends.

    Targets are those of `first`, the recording of the sweep; the worker's own may have other numbers for the same.
    """

    def __init__(self, make_host: Callable[[], Host], plan: Plan, ready: Ready, first: Ready) -> None:
        self._make_host, self._plan, self._first = make_host, plan, first
        self._own: Host | None = None  # one that we have made
        self._lives = 0  # of the host
        self._take(ready)

    def _take(self, ready: Ready) -> None:
        self._ready, self._lives = ready, 0
        self._raw: dict[Stack, RawStack] = dict(zip(ready.recording.stacks, ready.recording.raw, strict=True))
        self._counts = ready.is_exact and ready.recording.like(self._first.recording)

    def close(self) -> None:
        """End the host that stands in for another."""
        if self._own:
            self._own.close()

    def hit(self, target: Target) -> Iterator[Refusal]:
        """Refuse one call. What was refused instead is told too, and then it is tried again, by the stack."""
        if self._lives >= self._ready.host.most_lives:
            self._replace()
        try:
            yield from self._aim(target)
        except InfraError:
            self._replace()
            try:
                yield from self._aim(target)
            except InfraError as error:
                yield Refusal(target, Verdict.NOT_AIMED, str(error))
                self._replace()

    def _replace(self) -> None:
        self.close()
        self._own = self._make_host()
        self._take(prepare(self._own, self._plan))

    def _aim(self, target: Target) -> Iterator[Refusal]:
        wanted = self._raw.get(self._first.recording.stacks[target.stack])
        if wanted is None:
            yield Refusal(target, Verdict.NOT_AIMED, "its stack was not met in this process")
            return
        for aim in range(1, AIMS + 1):
            by_stack = aim > 1 or not self._counts
            trial = self._ready.host.live(self._order(target, wanted if by_stack else None), self._ready.deadline_s)
            self._lives += 1
            modules = self._ready.host.page.modules()
            if trial.answer.refused_at == wanted and trial.answer.operation == target.operation:
                yield tell(target, trial, self._ready.reference, modules)
                return
            yield self._missed(target, trial, modules, is_last=aim == AIMS)

    def debug(self, target: Target) -> str:
        """Refuse one call under gdb, and return what that says."""
        wanted = self._raw[self._first.recording.stacks[target.stack]]
        return self._ready.host.debug(self._order(target, wanted), self._ready.deadline_s)

    def _order(self, target: Target, wanted: RawStack | None) -> Order:
        return msgspec.structs.replace(
            self._ready.order,
            nth=target.n if wanted is None else target.occurrence,
            wanted=wanted,
            from_then_on=target.mode == "from-then-on",
            error=target.errno,
        )

    def _missed(self, target: Target, trial: Trial, modules: list[str], *, is_last: bool) -> Refusal:
        """Report a trial that refused another call. If that did harm, it is a finding like any other."""
        if not trial.answer.refused:
            return tell_missed(target, trial, Verdict.NOT_REACHED, modules)
        elsewhere = tell(target, trial, self._ready.reference, modules)
        if elsewhere.verdict not in HARMLESS:
            return elsewhere
        return tell_missed(target, trial, Verdict.NOT_AIMED if is_last else Verdict.DRIFTED, modules)
