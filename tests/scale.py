"""`make scale`: what a block costs who fires it, asks for it and passes it on, and twenty workers killed.

Writes docs/scale.md. Everything is measured here, on one machine, one after the other; what follows for many machines
is computed from it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from clusters import Here
from distributed import Client
from elsewhere import conducted, dosed

from harness.dialects import BUILT_IN
from harness.experiments.conduct import Progress
from harness.experiments.firing import BLOCK_TRIALS, GroupRunner
from harness.experiments.kept import experiment_job, save
from harness.experiments.tally import BLOCK, GROUP, Trial
from harness.experiments.worker import Ask, Fired
from harness.journal import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KILL_TRIALS, KILLED_BY, MOMENT_S = 1000, 0.8, 0.05  # the last trials are fired before a kill could come between
PAGE = """# How far it goes

Measured and written by `make scale`, on one machine: the quickest of many blocks, since the machine does other work
beside it. Fired is a block of {trials} warm trials of a race in a program in C, the cheapest trial there is; the last
column puts all else beside that.

{table}

A scheduler passed on {rate:.0f} pieces a second that do nothing.

## What limits a hundred machines

The one that asks reads, counts and journals a block in {take:.2g} s, one after the other: {by_asker:.0f} a second.
The scheduler passes on {rate:.0f} pieces a second. The smaller of them is the limit: {limit:.0f} blocks a second.

| a trial takes | a worker fires a block in | workers that keep it busy |
|---|---|---|
{workers}

A hundred machines of 32 workers are 3,200. The network is no limit: {bytes:,} bytes a block, {network:.1f} MB a
second at the most. Nothing piles up: twice as many pieces are under way as there are workers.

## A worker that is killed

An experiment of {kill_trials:,} dosed trials by two workers of a cluster, one of which is killed (SIGKILL) at a random
moment, here by the share of trials that had counted; then the same on this machine alone. Equal is every field of every
trial but what is measured, and the process that a trial was forked from.

{kills}

## 10⁹ trials

They are {many:,} blocks, {hours:.0f} hours at that limit however many machines there are. Counts do not grow with the
trials, the history does: {terabytes:.1f} TB. The way to go is an experiment that stops earlier: after 10⁶ independent
trials the interval is {width:.2%} wide.
"""


class Cost(NamedTuple):
    """Seconds, or bytes, of one block."""

    fire_s: float
    ask_bytes: int
    answer_bytes: int
    decode_s: float
    count_s: float
    journal_s: float
    journal_bytes: int
    pieces_a_second: float


def fired(blocks: int) -> tuple[float, list[list[Trial]]]:
    """Seconds a block, the quickest of them, and all groups."""
    variant, groups, took = dosed(BLOCK_TRIALS).variants[0], list[list[Trial]](), list[float]()
    with closing(GroupRunner(None, BUILT_IN)) as runner:
        for start in range(1, blocks * BLOCK_TRIALS + 1, BLOCK_TRIALS):
            began = time.perf_counter()
            for first in range(start, start + BLOCK_TRIALS, GROUP):
                groups.append(runner.fire(variant, range(first, first + GROUP)))
            took.append(time.perf_counter() - began)
    return min(took), groups


def quickest(groups: list[list[Trial]], work: Callable[[list[Trial]], object]) -> float:
    """Seconds that the quickest block takes."""
    took = []
    for start in range(0, len(groups), BLOCK):
        began = time.perf_counter()
        for group in groups[start : start + BLOCK]:
            work(group)
        took.append(time.perf_counter() - began)
    return min(took)


def journalled(groups: list[list[Trial]]) -> tuple[float, int]:
    """Seconds and bytes a block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "h"
        with History.begin(path, experiment_job([dosed(BLOCK_TRIALS)]), {}) as book:
            took = quickest(groups, lambda group: save(book, group))
        return took, path.stat().st_size * BLOCK // len(groups)


def pieces_a_second() -> float:
    """How many pieces that do nothing a scheduler and two workers here pass on, in the quickest of ten goes."""
    with cluster() as here, Client(here.address, set_as_default=False) as client:
        return max(passed_on(client, go) for go in range(10))


@contextmanager
def cluster() -> Iterator[Here]:
    """A scheduler with two workers."""
    with ExitStack() as stack:
        here = Here(Path(stack.enter_context(tempfile.TemporaryDirectory())), stack)
        here.have_workers(2)
        yield here


class Kill(NamedTuple):
    """What came of an experiment one of whose two workers was killed at a moment drawn at random."""

    at: float
    lost: int
    again: int
    is_equal: bool


def killed(here: Here, number: int) -> Kill:
    """Conduct an experiment there, and kill a worker at a moment of it; then conduct it here."""
    here.have_workers(2)
    experiment, draw = dosed(KILL_TRIALS, number), random.Random(number)
    at, victim = draw.random() * KILLED_BY, here.workers[draw.randrange(2)]
    timer = threading.Timer(draw.random() * MOMENT_S, victim.kill)
    last = int(at * KILL_TRIALS / GROUP)
    cut = conducted(experiment, here.where, lambda group: timer.start() if group == last else None)
    timer.join()
    victim.wait()
    here.fill(2)
    whole = conducted(experiment, None)
    is_equal = cut.but_layouts == whole.but_layouts and cut.tallies == whole.tallies
    return Kill(at, cut.lost, sum(cut.again.values()), is_equal)


def kills(count: int) -> list[Kill]:
    """One after the other."""
    with cluster() as here:
        return [killed(here, number) for number in range(1, count + 1)]


def passed_on(client: Client, go: int) -> float:
    """Pieces a second, of two hundred."""
    began = time.perf_counter()
    client.gather([client.submit(len, (), key=f"piece-{go}-{number}") for number in range(200)])
    return 200 / (time.perf_counter() - began)


def measured(blocks: int) -> Cost:
    """Measure all of it."""
    fire_s, groups = fired(blocks)
    experiment = dosed(BLOCK_TRIALS)
    ask = BLOCK * len(msgspec.json.encode(Ask(experiment.variants[0], 1, GROUP)))
    answers = {group[0].number: msgspec.json.encode(Fired(group)) for group in groups}
    decode_s = quickest(groups, lambda group: msgspec.json.decode(answers[group[0].number], type=Fired))
    count_s = quickest(groups, Progress.begin(experiment).add)
    journal_s, journal_bytes = journalled(groups)
    size = sum(map(len, answers.values())) // blocks
    return Cost(fire_s, ask, size, decode_s, count_s, journal_s, journal_bytes, pieces_a_second())


def kill_table(found: list[Kill]) -> str:
    """A row a kill, and what is to be read from them."""
    lines = ["| killed at | lost with work of ours | fired again, at most | equal |", "|---|---|---|---|"]
    lines += [f"| {one.at:.0%} | {one.lost} | {one.again} | {'yes' if one.is_equal else 'NO'} |" for one in found]
    return "\n".join([*lines, "", f"Equal {sum(one.is_equal for one in found)} times of {len(found)}."])


def page(cost: Cost, found: list[Kill]) -> str:
    """The whole page."""
    rows = {
        "fired by a worker": (cost.fire_s, ""),
        "read by the one that asks": (cost.decode_s, f"{cost.ask_bytes:,} there, {cost.answer_bytes:,} back"),
        "counted": (cost.count_s, ""),
        "journalled, ten commits": (cost.journal_s, f"{cost.journal_bytes:,}"),
    }
    lines = ["| a block is | ms | bytes | of firing it |", "|---|---|---|---|"]
    lines += [f"| {what} | {s * 1e3:.3g} | {size} | {s / cost.fire_s:.2g} |" for what, (s, size) in rows.items()]
    take = cost.decode_s + cost.count_s + cost.journal_s
    limit, many = min(1 / take, cost.pieces_a_second), 10**9 // BLOCK_TRIALS
    paces = {"as above": cost.fire_s / BLOCK_TRIALS, "10 ms": 0.01, "1 s": 1.0}
    size = cost.ask_bytes + cost.answer_bytes
    return PAGE.format(
        trials=BLOCK_TRIALS,
        table="\n".join(lines),
        rate=cost.pieces_a_second,
        take=take,
        by_asker=1 / take,
        limit=limit,
        workers="\n".join(
            f"| {name} | {one * BLOCK_TRIALS:.3g} s | {limit * one * BLOCK_TRIALS:,.0f} |"
            for name, one in paces.items()
        ),
        bytes=size,
        network=size * limit / 1e6,
        many=many,
        hours=many / limit / 3600,
        terabytes=many * cost.journal_bytes / 1e12,
        kill_trials=KILL_TRIALS,
        kills=kill_table(found),
        width=2 * 1.96 * 0.5 / 10**3,
    )


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    found = kills(options.kills)
    made = page(measured(options.blocks), found)
    if options.write:
        options.write.write_text(made)
    print(made)  # noqa: T201 -- a script's answer
    sys.exit(not all(one.is_equal for one in found))


if __name__ == "__main__":
    main()
