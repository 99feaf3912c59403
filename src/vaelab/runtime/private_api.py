"""Every private attribute of Lightning, Hydra and OmegaConf that vaelab uses.

A function says why the public interface is not enough. tests/runtime/test_private_api.py fails if
one of them disappears, and if another module uses a private attribute of these packages.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lightning_fabric.loggers.csv_logs import _ExperimentWriter
from omegaconf import DictConfig
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

TrainingEpochLoop = _TrainingEpochLoop  # the loop over the batches of an epoch has no public name
JobCommand = Callable[[int], tuple[Sequence[str], str]]


def accumulates_gradients(trainer: Any) -> bool:
    """True if the current batch only accumulates gradients; no public attribute tells."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def is_last_training_batch(trainer: Any) -> bool:
    """True after the last batch of an epoch or the last step of a training.

    The public `is_last_batch` does not take max_steps into account.
    """
    return trainer.fit_loop.epoch_loop._is_training_done


def restore_loader_state(trainer: Any) -> None:
    """Restore the position in an epoch: a schedule may have created the data loader before."""
    trainer.fit_loop._load_combined_loader_states()


def get_evaluation_loader(trainer: Any, number: int) -> Any:
    """Return a data loader of the running evaluation.

    The public `val_dataloaders` still returns those of the fit in a later `Trainer.validate`.
    """
    return trainer._evaluation_loop._combined_loader.flattened[number]


def attached_trainer(module: Any) -> Any:
    """Return the trainer of a module or None, where the public property would raise."""
    return module._trainer


def averaged_model(callback: Any) -> Any:
    """Return the averaged weights of a WeightAveraging callback, None before the training."""
    return callback._average_model


def latest_averaged_step(callback: Any) -> int:
    """Return the optimizer step of a WeightAveraging callback's latest update."""
    return callback._latest_update_step


def get_experiment(logger: Any) -> Any:
    """Return what a logger logs to, or None; the public property would create it."""
    return logger._experiment


def set_experiment(logger: Any, experiment: Any) -> None:
    """Set what a logger logs to, where a subclass creates it; Lightning's own methods read it."""
    logger._experiment = experiment


def set_tensorboard_option(logger: Any, name: str, value: Any) -> None:
    """Set an option of the SummaryWriter that a TensorBoardLogger will create."""
    logger._kwargs[name] = value


class MetricsWriter(_ExperimentWriter):
    """The writer of Lightning's CSVLogger for a folder that holds other files.

    Lightning's own warns about them and has no public way to replace how the header is extended.
    """

    def rewrite_with_columns(self, columns: list[str]) -> None:
        """Write the file again with more columns."""
        super()._rewrite_with_new_header(columns)

    def _check_log_dir_exists(self) -> None:
        pass

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self.rewrite_with_columns(fieldnames)


def set_job_command(command: JobCommand) -> None:
    """Set the command that Lightning's ddp launcher starts the other processes with.

    Its own command repeats the whole command line, which would begin a multirun again.
    """
    from pytorch_lightning.strategies.launchers import subprocess_script

    subprocess_script._hydra_subprocess_cmd = command


def job_result(job: Any) -> Any:
    """Return what a Hydra job returned or raised; the public property raises the error."""
    return job._return_value


def config_node(cfg: DictConfig, key: str) -> Any:
    """Return the node of a key without resolving its interpolations."""
    return cfg._get_node(key)


def get_dataset_fingerprint(dataset: Any) -> str:
    """Return the hash of a data set of the library datasets; its public API has none."""
    return dataset._fingerprint
