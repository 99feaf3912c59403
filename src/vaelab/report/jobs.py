"""The jobs of a multirun: which can be compared, in which order, and their means over seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.report.folder import RunFolder
from vaelab.report.numbers import collapsed
from vaelab.runs import jobs

COLUMNS = {  # and how many places of each are worth reading
    "val": 2,
    "elbo": 2,
    "nll": 2,
    "kl": 2,
    "reconstruction": 2,
    "active_units": 0,
    "rmse": 4,
    "wall_s": 1,
}
SEED = "seed"


@dataclass(frozen=True)
class Job:
    """A row of the table.

    Attributes:
        group: Jobs of one group can be compared.
        values: The columns that it has, finite.
        rank: 1 for the best of its group by what the objective monitors.
    """

    run: RunFolder
    group: str
    values: dict[str, float]
    rank: int | None

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def failed(self) -> str | None:
        return self.run.failed

    @property
    def collapsed(self) -> bool:
        return not self.failed and collapsed(self.run.numbers)

    def said(self, keys: Sequence[str]) -> str:
        """Its choices in words."""
        words = [f"{key}={self.run.choices[key]}" for key in keys if key in self.run.choices]
        return " ".join([f"{self.name}:", *words])


@dataclass(frozen=True)
class Mean:
    """Over n values: their mean and its standard error, which one value has not."""

    mean: float
    error: float | None
    n: int


@dataclass(frozen=True)
class Seeds:
    """Jobs that differ in their seed only."""

    group: str
    choices: dict[str, str]
    seeds: list[str]
    means: dict[str, Mean]


def read_report_jobs(folder: Path) -> list[Job]:
    """The jobs in the groups and the order of `vaelab.runs.jobs`: best first, failed last."""
    found, ranks = [], dict[str, int]()
    for row in jobs.read_jobs(folder):
        run = RunFolder.read(folder / row["job"])
        values = {key: value for key in COLUMNS if (value := _value(key, row, run)) is not None}
        rank = None
        if "val" in values:
            rank = ranks[row["group"]] = ranks.get(row["group"], 0) + 1
        found.append(Job(run, row["group"], values, rank))
    return found


def _value(key: str, row: dict[str, Any], run: RunFolder) -> float | None:
    value = row.get(key) if key == "val" else run.numbers.get(key)
    if run.failed or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def varied(members: Sequence[Job]) -> list[str]:
    """The keys whose values differ among jobs, in the order they were typed, the seed last."""
    keys = dict.fromkeys(key for job in members for key in job.run.choices)
    differ = [key for key in keys if len({job.run.choices.get(key) for job in members}) > 1]
    return sorted(differ, key=lambda key: key == SEED)


def over_seeds(members: Sequence[Job]) -> list[Seeds]:
    """Means over the seeds of each choice of the rest, the best first in each group.

    Empty where nothing was repeated.
    """
    keys = [key for key in varied(members) if key != SEED]
    together: dict[tuple[str, ...], list[Job]] = {}
    for job in members:
        if not job.failed:
            choices = (job.run.choices.get(key, "") for key in keys)
            together.setdefault((job.group, *choices), []).append(job)
    if all(len(each) == 1 for each in together.values()):
        return []
    found = [_seeds(each, keys) for each in together.values()]
    groups = list(dict.fromkeys(each.group for each in found))
    return sorted(found, key=lambda each: (groups.index(each.group), -_best(each)))


def _seeds(members: list[Job], keys: list[str]) -> Seeds:
    first = members[0]
    return Seeds(
        first.group,
        {key: first.run.choices.get(key, "") for key in keys},
        sorted(str(job.run.numbers.get(SEED, "?")) for job in members),
        {
            key: mean_and_error([job.values[key] for job in members if key in job.values])
            for key in COLUMNS
            if any(key in job.values for job in members)
        },
    )


def mean_and_error(values: Sequence[float]) -> Mean:
    """The mean, and the sample deviation over the root of n."""
    n = len(values)
    error = statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return Mean(statistics.fmean(values), error, n)


def _best(each: Seeds) -> float:
    return each.means["val"].mean if "val" in each.means else -math.inf
