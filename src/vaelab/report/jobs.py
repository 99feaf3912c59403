"""The jobs of a multirun: groups of comparable jobs, their ranks, and their means over seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.report.folder import RunFolder
from vaelab.runs import jobs
from vaelab.runs.verdicts import is_collapsed

COLUMN_DECIMALS = {  # the columns of the table, and the number of decimals of each
    "val": 2,
    "elbo": 2,
    "nll": 2,
    "kl": 2,
    "reconstruction": 2,
    "active_units": 0,
    "rmse": 4,
    "wall_s": 1,
    "images": 0,
    "samples": 0,
}
NOT_AVERAGED = ("wall_s", *jobs.SIZES)
SEED = "seed"


@dataclass(frozen=True)
class SweepJob:
    """A job of a multirun, which is a row of the table.

    Attributes:
        group: Only jobs of the same group can be compared.
        values: The finite numbers among COLUMN_DECIMALS.
        rank: 1 for the best job of its group by the metric that the objective monitors; None if it
            has no such number.
    """

    run: RunFolder
    group: str
    values: dict[str, float]
    rank: int | None

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def failure(self) -> str | None:
        return self.run.failure

    @property
    def collapsed(self) -> bool:
        return not self.failure and is_collapsed(self.run.numbers)

    def describe(self, keys: Sequence[str]) -> str:
        """Return the name and the overrides with the given keys: "3: model=mlp seed=1"."""
        words = [f"{key}={self.run.choices[key]}" for key in keys if key in self.run.choices]
        return " ".join([f"{self.name}:", *words])


@dataclass(frozen=True)
class MeanWithError:
    """The mean of n values, and its standard error, None if n = 1."""

    mean: float
    error: float | None
    n: int


@dataclass(frozen=True)
class SeedGroup:
    """Jobs that differ only in their seeds.

    Attributes:
        group: The group of comparable jobs that they belong to.
        choices: Their overrides that differ among the jobs of the multirun, without the seed.
        seeds: Their seeds.
        means: The means over seeds by column.
    """

    group: str
    choices: dict[str, str]
    seeds: list[str]
    means: dict[str, MeanWithError]


def read_report_jobs(folder: Path) -> list[SweepJob]:
    """Read the jobs of a multirun, group by group, the best of each group first, failed jobs last.

    Raises:
        UserError: If a link leads out of the folder of a job.
    """
    sweep_jobs, ranks = [], dict[str, int]()
    for row in jobs.read_jobs(folder):
        run = RunFolder.load(folder / row["job"])
        values = {
            key: value
            for key in COLUMN_DECIMALS
            if (value := _get_value(key, row, run)) is not None
        }
        rank = None
        if "val" in values:
            rank = ranks[row["group"]] = ranks.get(row["group"], 0) + 1
        sweep_jobs.append(SweepJob(run, row["group"], values, rank))
    return sweep_jobs


def _get_value(key: str, row: dict[str, Any], run: RunFolder) -> float | None:
    value = row.get(key) if key == "val" else run.numbers.get(key)
    if run.failure or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def find_varied_keys(sweep_jobs: Sequence[SweepJob]) -> list[str]:
    """Return the keys of overrides that differ among jobs: in their order, but the seed last."""
    keys = dict.fromkeys(key for job in sweep_jobs for key in job.run.choices)
    varied = [key for key in keys if len({job.run.choices.get(key) for job in sweep_jobs}) > 1]
    return sorted(varied, key=lambda key: key == SEED)


def average_over_seeds(sweep_jobs: Sequence[SweepJob]) -> list[SeedGroup]:
    """Average the finished jobs that differ only in their seeds, the best first in each group.

    Returns:
        An empty list if there is only one seed for each combination of settings.
    """
    keys = [key for key in find_varied_keys(sweep_jobs) if key != SEED]
    members: dict[tuple[str, ...], list[SweepJob]] = {}
    for job in sweep_jobs:
        if not job.failure:
            choices = (job.run.choices.get(key, "") for key in keys)
            members.setdefault((job.group, *choices), []).append(job)
    if all(len(repeated) == 1 for repeated in members.values()):
        return []
    seed_groups = [_average_group(repeated, keys) for repeated in members.values()]
    order = list(dict.fromkeys(seed_group.group for seed_group in seed_groups))
    return sorted(
        seed_groups,
        key=lambda seed_group: (order.index(seed_group.group), -_get_mean_score(seed_group)),
    )


def _average_group(repeated: list[SweepJob], keys: list[str]) -> SeedGroup:
    first = repeated[0]
    return SeedGroup(
        first.group,
        {key: first.run.choices.get(key, "") for key in keys},
        sorted(str(job.run.numbers.get(SEED, "?")) for job in repeated),
        {
            key: compute_mean_and_error([job.values[key] for job in repeated if key in job.values])
            for key in COLUMN_DECIMALS
            if key not in NOT_AVERAGED and any(key in job.values for job in repeated)
        },
    )


def compute_mean_and_error(values: Sequence[float]) -> MeanWithError:
    """Compute the mean and its standard error: the sample standard deviation / sqrt(n)."""
    n = len(values)
    error = statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return MeanWithError(statistics.fmean(values), error, n)


def _get_mean_score(seed_group: SeedGroup) -> float:
    return seed_group.means["val"].mean if "val" in seed_group.means else -math.inf
