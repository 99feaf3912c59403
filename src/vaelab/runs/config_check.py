"""Checks of a whole config, made before anything is built or written."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig

from vaelab.runs.config_types import check_types
from vaelab.runtime import slurm
from vaelab.runtime.errors import UserError
from vaelab.runtime.precision import warn_if_bf16_is_slow

PRECISIONS = ("32-true", "32", "bf16-mixed", "16-mixed")


def check_run_config(cfg: DictConfig) -> None:
    """Check the config of a run.

    Raises:
        UserError: If a value cannot be used, or would have no effect.
    """
    check_types(cfg)
    check_samples(cfg.samples)
    _check_seed(cfg.seed)
    _check_kl_is_used(cfg)
    _check_trainer(cfg.trainer)
    _check_callbacks(cfg.callbacks)
    _check_published(cfg.published)


def check_samples(samples: Any) -> None:
    """Raise UserError unless `samples` is a positive integer."""
    if type(samples) is not int or samples < 1:
        raise UserError(f"samples={samples}: it must be an integer of at least 1")


def is_published_value(value: Any) -> bool:
    """True for a number from a paper with its source: {value: 84.78, source: IWAE table 1}."""
    return (
        isinstance(value, Mapping)
        and {"value", "source"} <= value.keys()
        and type(value["value"]) in (int, float)
    )


def _check_published(published: Any) -> None:
    if published is not None and not is_published_value(published):
        raise UserError(
            f"published={published}: give a number and its source, as in "
            "published='{value: 84.78, source: IWAE table 1}'"
        )


def _check_seed(seed: Any) -> None:
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: it must be an integer from 0 to {2**32 - 1}")


def _check_kl_is_used(cfg: DictConfig) -> None:
    """Refuse a choice of kl= that the objective would ignore."""
    is_default = cfg.kl.get("beta") == 1 and len(cfg.kl) == 2
    if "kl" not in cfg.objective and not is_default:
        raise UserError("this objective has no weighted KL term: leave out kl= and its keys")


def _check_callbacks(callbacks: DictConfig) -> None:
    """Refuse averaged or selected weights that no checkpoint would keep."""
    names = [name for name in ("ema", "early_stopping") if name in callbacks]
    if names and "checkpoint" not in callbacks:
        raise UserError(
            f"callbacks={names[0]} needs callbacks.checkpoint, which keeps the weights: set "
            f"callbacks=[default,{names[0]}]"
        )


def _check_trainer(trainer: DictConfig) -> None:
    """Refuse values that Lightning does not check, and more processes than devices."""
    if trainer.accumulate_grad_batches < 1:
        raise UserError(
            f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches}: it must be at "
            "least 1"
        )
    if str(trainer.precision) not in PRECISIONS:
        raise UserError(
            f"trainer.precision={trainer.precision}: choose from {', '.join(PRECISIONS)}"
        )
    if trainer.precision == "bf16-mixed":
        on_cpu = trainer.accelerator == "cpu" or not torch.cuda.is_available()
        warn_if_bf16_is_slow("trainer.precision=bf16-mixed", on_cpu)
    _check_devices(trainer)


def _check_devices(trainer: DictConfig) -> None:
    devices, accelerator = trainer.devices, trainer.accelerator
    gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    uses_gpus = gpus > 0 or accelerator in ("gpu", "cuda")
    available, kind = (gpus, "GPUs") if uses_gpus else (os.cpu_count() or 1, "cores")
    if type(devices) is not int and not uses_gpus:
        raise UserError(f"trainer.devices={devices}: give the number of processes")
    if trainer.get("num_nodes", 1) > 1 and slurm.count_tasks() == 1:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}: several machines need srun or torchrun in "
            "front of the command, as docs/scale.md shows"
        )
    if type(devices) is int and accelerator in ("auto", "cpu", "gpu", "cuda"):
        if not 1 <= devices <= max(available, 1):
            raise UserError(
                f"trainer.devices={devices}: this machine has {available} {kind}, so set 1 to "
                f"{max(available, 1)}"
            )
        if devices > 1 and "strategy" not in trainer:
            raise UserError(f"trainer.devices={devices}: several processes need trainer=ddp")
