"""Start and resume a multirun: `vaelab resume multirun/<folder>`.

The same command with hydra.sweep.dir=<folder> resumes it as well. Finished jobs do not run again:
the sweeper gets their recorded value. Missing jobs run, and failed jobs are tried again.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vaelab.runs import untrusted
from vaelab.runs.old_names import rename_old_targets
from vaelab.runs.ownership import (
    get_command_locks,
    has_default_name,
    owned_multirun,
    owned_new_folder,
)
from vaelab.runs.paths import MULTIRUN_RECORD, VALUE
from vaelab.runs.recorded_words import describe_word, is_safe_word
from vaelab.runtime import slurm
from vaelab.runtime.errors import UserError
from vaelab.runtime.files import atomic_write
from vaelab.runtime.installation import train_command
from vaelab.runtime.overrides import quote_for_shell, quote_override
from vaelab.runtime.own_project import project_flags

CHANGEABLE = ("n_trials",)  # settings of a sweeper that may differ when a multirun is resumed
SAFE_HYDRA_WORD = re.compile(  # Hydra's own words that only say how many jobs run, and where
    r"\+?hydra(?:\.mode|/launcher|/sweeper|\.sweeper\.n_\w+|\.launcher\.(?:n_jobs|timeout_min|partition"
    r"|nodes|tasks_per_node|cpus_per_task|gpus_per_node|mem_gb|ray\.(?:init|remote)\.num_\w+))=[\w.-]+"
)
# The folder of the multirun that this command runs, from its start to its end. Hydra creates the
# callback that sets it, so the command line's entry point has no other way to know the folder.
active_folder: ContextVar[Path | None] = ContextVar("active_folder", default=None)


def start_multirun(config: DictConfig) -> None:
    """Record the command of a multirun in its folder, which becomes the active one.

    Raises:
        UserError: If the folder holds anything but this multirun.
    """
    folder = _own_sweep_folder(config)
    is_resumed = folder.is_dir() and any(folder.iterdir())
    request = _request_of(OmegaConf.create(OmegaConf.to_yaml(config)))  # as it is recorded
    recorded = _read_request(folder) if is_resumed else None
    if is_resumed and recorded != _drop_new_keys(request, recorded):
        raise UserError(
            f"hydra.sweep.dir={folder} holds something other than this multirun: choose another "
            f"folder, or resume the multirun in it: {resume_hint(folder)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if is_resumed:  # Hydra writes the record again, from the same config
        remove_new_keys(config, folder)
    with atomic_write(folder / MULTIRUN_RECORD) as part:
        OmegaConf.save(config, part)
    active_folder.set(folder)
    print(f"to resume this multirun after an interruption: {resume_hint(folder)}", flush=True)
    if "optuna" in config.hydra.sweeper._target_:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from vaelab.sweeps.optuna_study import requeue_trials  # Optuna is an extra

        if is_resumed:
            with read_write(config):
                requeue_trials(config.hydra.sweeper, folder)


def _own_sweep_folder(config: DictConfig) -> Path:
    """Own the folder of a multirun until the end of the command, and return it."""
    locks, folder = get_command_locks(), Path(config.hydra.sweep.dir)
    if not has_default_name(config.hydra.sweep):
        locks.enter_context(owned_multirun(folder))
        return folder
    folder = locks.enter_context(owned_new_folder(folder))
    with read_write(config):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quote_override(folder)}")  # of jobs
    return folder


def expand_resume_command(words: list[str]) -> list[str]:
    """Replace `resume=<folder of a multirun>` by the recorded words of that multirun.

    Raises:
        UserError: If the record, which may be untrusted, has words that could start a program.
    """
    for word in words:
        key, _, folder = word.partition("=")
        if key == "resume" and (record := Path(folder, MULTIRUN_RECORD)).is_file():
            config_words, hydra_words = _read_recorded_words(record)
            _check_recorded_words(folder, config_words, hydra_words)
            others = [other for other in words if other not in (word, "-m", "--multirun")]
            sweep_dir = f"hydra.sweep.dir={quote_override(folder)}"
            return ["-m", *config_words, *hydra_words, sweep_dir, *others]
    return words


def _read_recorded_words(record: Path) -> tuple[list[str], list[str]]:
    """Return the recorded words that change the config, and Hydra's own but the folder."""
    hydra = untrusted.get_table(untrusted.read_yaml(record), "hydra")
    overrides = untrusted.get_table(hydra, "overrides")
    config_words, hydra_words = (
        [str(word) for word in overrides.get(key) or []] for key in ("task", "hydra")
    )
    return config_words, [word for word in hydra_words if not word.startswith("hydra.sweep.dir=")]


def _check_recorded_words(
    folder: str, config_words: Iterable[str], hydra_words: Iterable[str]
) -> None:
    unsafe = [word for word in hydra_words if not SAFE_HYDRA_WORD.fullmatch(word)]
    unsafe += [word for word in config_words if not is_safe_word(word)]
    if unsafe:
        raise UserError(
            f"resume={folder}: the recorded command contains {describe_word(unsafe[0])}, which is "
            "not accepted from an untrusted folder: type the whole command again, with "
            f"hydra.sweep.dir={quote_override(folder)}"
        )


def resume_hint(folder: Path) -> str:
    """Return the command that resumes a multirun."""
    path = f"./{folder}" if str(folder).startswith("~") else folder  # not the home folder
    return f"{train_command()} {quote_for_shell(f'resume={path}')}{project_flags()}"


def explain_sweep_error(error: Exception, rows: Iterable[Mapping[str, Any]]) -> Exception:
    """Return what to tell the user about an error of a sweeper after its jobs have run.

    A sweeper that looks for the best job fails with words of its own if there is none.

    Arguments:
        rows: Those of `read_jobs`.
    """
    reasons = [row.get("failed") for row in rows]
    if not reasons or not all(reasons):
        return error
    return UserError(
        f"no trial ended with a number: all {len(reasons)} failed, the first because of: "
        f"{reasons[0]}"
    )


def read_finished_value(job: Path) -> float | None:
    """Return the recorded value of a finished job, None if the job still has to run.

    Arguments:
        job: The folder of the job.
    """
    file = job / VALUE
    if not file.is_file():
        return None
    try:
        value = float(untrusted.read_message(file))
    except ValueError:  # the file is damaged: the finished job is evaluated again
        return None
    print(f"job {job.name} has finished before with value {value:g}")
    return value


def was_interrupted(folder: Path) -> bool:
    """True if the folder holds a partially finished job of a multirun or of a requeued task."""
    may_be_resumed = (
        slurm.was_requeued() or slurm.is_worker_rank() or HydraConfig.get().mode == RunMode.MULTIRUN
    )
    return may_be_resumed and any(path.name != ".hydra" for path in folder.iterdir())


def _read_request(folder: Path) -> Any:
    record = folder / MULTIRUN_RECORD
    if not record.is_file():
        return None
    return _request_of(rename_old_targets(untrusted.read_config(record)))


def remove_new_keys(config: DictConfig, multirun: Path) -> bool:
    """Remove the keys from a config that the record of its multirun lacks; True if there are any.

    A newer version of vaelab that resumes a multirun thus treats all of its jobs alike.
    """
    if not (multirun / MULTIRUN_RECORD).is_file():
        return False
    new = config.keys() - untrusted.read_config(multirun / MULTIRUN_RECORD).keys()
    with read_write(config), open_dict(config):
        for key in new:
            del config[key]
    return bool(new)


def _drop_new_keys(request: Any, recorded: Any) -> Any:
    """Return a request without the keys that a recorded one lacks.

    The words of both are compared too, so such keys are the defaults of a newer version of vaelab.
    """
    if isinstance(request, dict) and isinstance(recorded, dict):
        common = request.keys() & recorded.keys()
        return {key: _drop_new_keys(request[key], recorded[key]) for key in common}
    if isinstance(request, tuple) and isinstance(recorded, tuple):
        return tuple(map(_drop_new_keys, request, recorded))
    return request


def _request_of(config: Any) -> Any:
    """Return what a multirun asks for: config, words and sweeper, without where its jobs run."""
    request: Any = OmegaConf.to_container(config, resolve=False)
    hydra = request.pop("hydra")
    sweeper = {key: value for key, value in hydra["sweeper"].items() if key not in CHANGEABLE}
    return request, hydra["overrides"]["task"], sweeper
