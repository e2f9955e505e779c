"""How experiments are kept in a history: what was asked for, the groups of trials, and why each ended."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from harness.exceptions import InvalidInputError
from harness.experiments.tally import GROUP, Trial
from harness.experiments.variant import Experiment  # noqa: TC001 -- msgspec reads the annotations of KeptExperiments
from harness.journal import Draft, History, Job, Kind, as_text, job_of
from harness.machine import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.experiments.firing import Loss
    from harness.journal import Reading

KIND: Final = "experiment"


class KeptExperiments(msgspec.Struct, frozen=True):
    """What the job of an experiment's history has."""

    experiments: tuple[Experiment, ...]


class Ended(msgspec.Struct, frozen=True):
    """Body of a `decided` event: why the experiment stopped, and how long it took in all its sessions."""

    reason: str
    elapsed_s: float


class Returned(msgspec.Struct, frozen=True):
    """Body of a `returned` event: trials of one variant that a worker had as it was lost.

    A worker may have had trials of several: `is_first` is the first event of its loss.
    """

    trials: int
    worker: str
    is_first: bool


class KeptGroup(msgspec.Struct, frozen=True):
    """A group of trials as it was journalled: in which session, and when."""

    session: int
    at_ms: int
    trials: list[Trial]


def experiment_job(experiments: Sequence[Experiment]) -> Job:
    """Return the job of a new history. Raises InvalidInputError for a command that could not be taken up from it."""
    for variant in (variant for one in experiments for variant in one.variants):
        if any(as_text(word) != word for word in variant.command):
            raise InvalidInputError(f"--history: a command is kept as text, and this one is not: {variant.name}")
    return job_of(KIND, tuple(one.title for one in experiments), experiments=experiments)


def experiments_of(reading: Reading) -> tuple[Experiment, ...]:
    """Return what a history was begun with. Raises InvalidInputError where it is no history of an experiment."""
    return reading.asked(KIND, KeptExperiments).experiments


@contextmanager
def open_history(
    new: Path | None, old: Path | None, planned: Sequence[Experiment]
) -> Iterator[tuple[History | None, Sequence[Experiment]]]:
    """Open the history of --history (a new file) or --resume (an existing file, whose experiments replace ours).

    Without either, yield no history.
    """
    if new and old:
        raise InvalidInputError("--history, --resume: expected one of them")
    if new:
        with History.begin(new, experiment_job(planned), environment()) as history:
            yield history, planned
    elif old:
        with History.go_on(old, environment()) as history:
            yield history, experiments_of(history)
    else:
        yield None, planned


def save(history: History, trials: list[Trial]) -> None:
    """Append a group in one commit. A group that is there already is refused."""
    history.write(Kind.TRIALS, trials[0].variant, trials[0].group + 1, trials)


def give_back(history: History, loss: Loss) -> None:
    """Journal that what a lost worker had is to be fired again."""
    drafts: list[Draft] = []
    for variant, orders in groupby(sorted(loss.orders, key=lambda one: one[0].name), key=lambda one: one[0].name):
        numbers = [number for _, order in orders for number in order]
        body = Returned(len(numbers), loss.worker, not drafts)
        drafts.append(Draft(Kind.RETURNED, variant, (min(numbers) - 1) // GROUP + 1, body))
    history.write_all(drafts)


def returned(reading: Reading) -> Iterator[tuple[str, Returned]]:
    """What went back from lost workers, with the names of the variants."""
    for event, body in reading.bodies(Kind.RETURNED, Returned):
        yield event.title, body


def groups(reading: Reading) -> Iterator[KeptGroup]:
    """All groups in the order in which they were journalled."""
    for event, trials in reading.bodies(Kind.TRIALS, list[Trial]):
        yield KeptGroup(event.session, event.at_ms, trials)


def trial(reading: Reading, variant: str, number: int) -> Trial | None:
    """One trial by its number, from 1, or None."""
    event = reading.find(Kind.TRIALS, variant, (number - 1) // GROUP + 1)
    found = reading.decode(event, list[Trial]) if event else []
    return next((one for one in found if one.number == number), None)


def endings(reading: Reading) -> dict[str, Ended]:
    """Why each experiment that has ended did, by its title."""
    return {event.title: ended for event, ended in reading.bodies(Kind.DECIDED, Ended)}
