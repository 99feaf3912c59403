"""Resumes an Optuna study in the folders of its jobs: `sweep=optuna`.

Hydra's sweeper numbers jobs from 0 at each start and does not know earlier ones. Therefore the
study is created again with a queue of the parameters that were chosen before: trial i is job i
again, finished or not, and new trials follow.
"""

import warnings
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage

from vaelab.runtime.errors import UserError

optuna.logging.set_verbosity(optuna.logging.WARNING)


def requeue_trials(sweeper: DictConfig, folder: Path) -> None:
    """Queue the trials of a study in the folder of a multirun, and advance the sampler's seed.

    Raises:
        UserError: If the study is not stored in the folder.
    """
    file, storage = folder / "optuna.db", sweeper.storage
    if not storage or storage.url != f"sqlite:///{file}":
        raise UserError(
            "hydra.sweeper.storage stores the study outside the folder of its jobs: leave out "
            "hydra.sweep.dir to continue it in a new folder"
        )
    if not file.is_file():
        return
    done = _study(optuna.load_study, sweeper, file).trials
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    new = _study(optuna.create_study, sweeper, part, direction=sweeper.direction)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        for trial in done:
            new.enqueue_trial(trial.system_attrs.get("fixed_params", trial.params))
    part.replace(file)
    if sweeper.sampler.get("seed") is not None:  # otherwise it would repeat its first samples
        sweeper.sampler.seed += len(done)


def _study(function: Any, sweeper: DictConfig, file: Path, **settings: Any) -> optuna.Study:
    storage = RDBStorage(f"sqlite:///{file}", engine_kwargs=dict(sweeper.storage.engine_kwargs))
    return function(study_name=sweeper.study_name, storage=storage, **settings)
