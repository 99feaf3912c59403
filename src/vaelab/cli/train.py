"""Train: `vaelab train model=conv loss=bce`, a multirun with -m, and `resume=<folder>`."""

import logging
import os
import sys
import warnings
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path
from omegaconf import DictConfig

from vaelab.cli.secrets import find_secret
from vaelab.runs.compose import add_own_options
from vaelab.runs.ownership import command_locks
from vaelab.runs.resolved import record_config, resolve_values
from vaelab.runtime import own_project, slurm, trusted_config
from vaelab.runtime.errors import UserError
from vaelab.runtime.installation import CONF
from vaelab.runtime.overrides import is_resume_command
from vaelab.sweeps.multirun import read_finished_value, remove_new_keys, was_interrupted


def train_composed(cfg: DictConfig) -> float:
    """Train a config that Hydra has composed, or return the value of a finished job."""
    folder = Path(cfg.folder)
    if str(folder) != HydraConfig.get().runtime.output_dir:
        raise UserError(f"folder={folder}: set hydra.run.dir, or hydra.sweep.dir with -m")
    if (value := read_finished_value(folder)) is not None:
        return value
    own_project.extend_import_path()  # a launcher may have started this process
    _make_recordable(cfg, folder)
    from vaelab.train import train  # slow to import, and not needed for --help

    prepare_process()
    return train(cfg, resume=was_interrupted(folder))


def _make_recordable(cfg: DictConfig, folder: Path) -> None:
    """Make sure that the run of a config can be opened again, and record the values it depends on.

    Raises:
        UserError: If the config names classes that are not trusted, or contains a secret.
    """
    changed = resolve_values(cfg)
    if secret := find_secret(f"{key}={value}" for key, value in changed.items()):
        raise UserError(secret)
    trusted_config.check_config(cfg)
    multirun = Path(to_absolute_path(HydraConfig.get().sweep.dir))  # of this job, if it has one
    is_changed = remove_new_keys(cfg, multirun) or bool(changed)
    if is_changed and not slurm.is_worker_rank():
        record_config(cfg, folder)


def prepare_process() -> None:
    """Silence messages that say nothing about the run, and avoid repeated searches for a GPU.

    Without a GPU, Lightning makes torch open the driver's library again in every step.
    """
    import torch

    if torch.cuda.device_count() == 0:
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    silence_messages()


def silence_messages() -> None:
    """Silence messages of Lightning that say nothing about the run."""
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*could not find the monitored key.*")
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_is_informative)


def _is_informative(entry: logging.LogRecord) -> bool:
    """False for advertisements, absent devices, and what a training always does."""
    message = entry.getMessage()
    return not (
        "/lit" in message.lower()
        or "available: False" in message
        or message.startswith("Loading `train_dataloader`")
        or message.startswith("`Trainer.fit` stopped")
    )


def main() -> None:
    """Resume the run folder of `resume=`, or let Hydra compose a new run or a multirun."""
    if is_resume_command(sys.argv[1:]):
        from vaelab.cli.resume import resume_run

        resume_run(sys.argv[1:])
    else:
        add_own_options()
        compose = hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
        with command_locks():
            compose(train_composed)()
