"""An Optuna study that goes on in the jobs' folders it began in: `sweep=optuna`.

Hydra's sweeper numbers the jobs of each start from 0 and knows nothing of those before. So the
study begins anew with a queue of the choices that were made already: trial i is job i again,
finished or not, and new choices come after them.
"""

import warnings
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage

optuna.logging.set_verbosity(optuna.logging.WARNING)


def requeue_trials(sweeper: DictConfig, folder: Path) -> None:
    """Queue what a study in the folder of a multirun has chosen, and move the sampler's seed on."""
    file, storage = folder / "optuna.db", sweeper.storage
    if not storage or storage.url != f"sqlite:///{file}":
        raise ValueError(
            "hydra.sweeper.storage keeps the study apart from its jobs: leave out hydra.sweep.dir, "
            "and it goes on in a new folder"
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
    if sweeper.sampler.get("seed") is not None:  # or it would repeat its first draws
        sweeper.sampler.seed += len(done)


def _study(function: Any, sweeper: DictConfig, file: Path, **settings: Any) -> optuna.Study:
    storage = RDBStorage(f"sqlite:///{file}", engine_kwargs=dict(sweeper.storage.engine_kwargs))
    return function(study_name=sweeper.study_name, storage=storage, **settings)
