"""An experiment conducted here or elsewhere, with all its trials, so that they can be compared."""

from collections.abc import Callable

import msgspec
import psutil

from harness.experiments.conduct import Progress, conduct
from harness.experiments.stopping import Stopping
from harness.experiments.tally import Tally, Trial
from harness.experiments.variant import Experiment, Variant
from harness.experiments.where import Keys, read_where
from harness.experiments.workers import pool_on
from harness.journal import History
from harness.scenarios.schema import load, shipped

MEASURED = {"address", "peak_rss_bytes", "duration_s", "load", "evidence", "worker"}


def dosed(trials: int, seed: int = 7) -> Experiment:
    """A race that strikes by its seed; cheap."""
    case = load(shipped() / "native-addon-race.toml").case[0]
    case = msgspec.structs.replace(case, victim=msgspec.structs.replace(case.victim, dose=0.3, seed=seed))
    variant = Variant("dosed", "upstream-4.8", seed, case, host="native", start="warm")
    return Experiment("t", (variant,), Stopping(trials=trials), jobs=2)


class Noting(Progress):
    """Keeps all trials, without what is measured; `strike` gets the number of each group that counts, from 0."""

    trials: list[dict[str, object]] = msgspec.field(default_factory=list)
    strike: Callable[[int], object] = int

    def add(self, group: list[Trial]) -> None:
        """Note the group."""
        told = [msgspec.structs.asdict(trial) for trial in group]
        self.trials += [{name: value for name, value in one.items() if name not in MEASURED} for one in told]
        super().add(group)
        self.strike(group[0].group)

    @property
    def but_layouts(self) -> list[dict[str, object]]:
        """The trials without the processes that they were forked from, of which a loss makes more."""
        return [{**trial, "layout": None} for trial in self.trials]


def own(module: str) -> list[psutil.Process]:
    """The processes that this one has started to run a module, and that live."""
    return [one for one in psutil.Process().children(recursive=True) if _words(one)[1:3] == ["-m", module]]


def _words(process: psutil.Process) -> list[str]:
    """Its command; none of one that is dead, or about to be."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def conducted(
    experiment: Experiment,
    where: str | None,
    strike: Callable[[int], object] = int,
    keys: Keys = Keys(),  # noqa: B008 -- frozen
    book: History | None = None,
) -> Noting:
    """Conduct it there."""
    progress = Noting({variant.name: Tally() for variant in experiment.variants}, strike=strike)
    conduct(experiment, progress, book, open_pool=pool_on(read_where(where, keys) if where else None))
    return progress
