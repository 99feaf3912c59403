"""Checks of a whole config, made before anything is built or written."""

import inspect
import os
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer

from vaelab.runs.config_keys import check_keys_are_read, list_config_keys
from vaelab.runs.config_types import check_types
from vaelab.runs.factories import GIVEN
from vaelab.runtime import slurm
from vaelab.runtime.errors import UserError
from vaelab.runtime.precision import warn_if_bf16_is_slow

PRECISIONS = ("32-true", "32", "bf16-mixed", "16-mixed")
AUTO = "auto"  # for evaluate.images and evaluate.samples: follow from the length of the training
REFUSED_IN_TRAINER = {  # arguments that a run sets itself or does not use, and what to write
    "logger": "choose loggers by logger=, as in logger=csv",
    "callbacks": "choose callbacks by callbacks=, as in callbacks=[default,ema], or "
    "+callbacks.<name>._target_=<class>",
    "default_root_dir": "set the folder of a run by hydra.run.dir=<folder>",
    "enable_checkpointing": "write ~callbacks.checkpoint to keep no checkpoints",
    "fast_dev_run": "write trainer=smoke, which takes two steps",
    "limit_test_batches": "set evaluate.images=<number> for the evaluation at the end of a run",
    "limit_predict_batches": "a run predicts nothing: leave it out",
    "inference_mode": "it has no effect during a fit: leave it out",
    "use_distributed_sampler": "vaelab divides every batch among the processes: leave it out",
    "plugins": "a run writes checkpoints by a plugin of its own: leave it out, or use VAEModule in "
    "your own Trainer",
    "barebones": "a run consists of metrics and checkpoints: leave it out; scripts/benchmark.py "
    "measures the time of a step",
    "enable_autolog_hparams": "a run always logs its config: leave it out",
    "model_registry": "a run uploads no model: leave it out",
}
POSITIVE_IN_TRAINER = {
    "max_epochs": ", or -1 for no limit",
    "max_steps": ", or -1 for no limit",
    "limit_train_batches": ", or null for all",
}
LEAST_OF_TRAINER = {  # values that Lightning does not check
    "accumulate_grad_batches": (1, ""),
    "check_val_every_n_epoch": (1, ", or null"),
    "log_every_n_steps": (0, ""),
    "min_epochs": (0, ", or null"),
    "min_steps": (0, ", or null"),
    "num_nodes": (1, ""),
    "num_sanity_val_steps": (-1, ""),
    "val_check_interval": (1e-9, ""),
}


def check_run_config(cfg: DictConfig) -> None:
    """Check the config of a run.

    Raises:
        UserError: If a value cannot be used, or would have no effect.
    """
    if "resume" in cfg:
        raise UserError(f"+resume={cfg.resume} would start a new run: write resume={cfg.resume}")
    check_keys_are_read(cfg, sorted({*map(str, cfg)} - {*list_config_keys(), GIVEN}))
    check_types(cfg)
    _check_evaluation_size(cfg)
    _check_seed(cfg.seed)
    _check_kl_is_used(cfg)
    _check_optimizer(cfg)
    _check_trainer(cfg)
    _check_callbacks(cfg.callbacks)
    _check_published(cfg.published)


def check_samples(samples: Any) -> None:
    """Raise UserError unless `samples` is a positive integer."""
    _check_positive("samples", samples)


def _check_positive(name: str, value: Any, others: str = "") -> None:
    if type(value) is not int or value < 1:
        raise UserError(f"{name}={value}: it must be an integer of at least 1{others}")


def _check_evaluation_size(cfg: DictConfig) -> None:
    """Check the numbers of images and samples of the evaluation at the end of a run."""
    settings = cfg.get("evaluate") or {}
    for name, value in (("samples", cfg.samples), ("evaluate.samples", settings.get("samples"))):
        if value not in (AUTO, None):
            _check_positive(name, value, f", or {AUTO}")
    images = settings.get("images")
    if images not in (AUTO, None):
        _check_positive("evaluate.images", images, f", or {AUTO}, or null for all images")


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


def _check_optimizer(cfg: DictConfig) -> None:
    """Refuse a learning rate of 0, and classes that would be built without the parameters."""
    if cfg.optimizer.get("lr") == 0:
        raise UserError("optimizer.lr=0 trains nothing: set a positive learning rate")
    for name, node in (
        ("optimizer", cfg.optimizer),
        ("schedule.scheduler", cfg.schedule.get("scheduler")),
    ):
        if node is not None and not node.get("_partial_"):
            raise UserError(
                f"{name} needs the key _partial_: true, because its class is called with the "
                "parameters of the model only later"
            )


def _check_trainer(cfg: DictConfig) -> None:
    """Refuse arguments that would have no effect, and values that Lightning does not check."""
    trainer = cfg.trainer
    arguments = inspect.signature(Trainer.__init__).parameters
    for key, hint in REFUSED_IN_TRAINER.items():
        value = trainer.get(key)
        if value is not None and value != arguments[key].default:
            raise UserError(f"trainer.{key}={value}: {hint}")
    for key, (least, rest) in LEAST_OF_TRAINER.items():
        value = trainer.get(key)
        if type(value) in (int, float) and not value >= least:
            raise UserError(f"trainer.{key}={value}: it must be at least {least}{rest}")
    for key, rest in POSITIVE_IN_TRAINER.items():
        value = trainer.get(key)
        if type(value) in (int, float) and value == 0:
            raise UserError(f"trainer.{key}={value} trains nothing: set at least 1{rest}")
    _check_clipping(cfg)
    for key in ("limit_train_batches", "limit_val_batches"):
        if trainer.get("overfit_batches") and trainer[key] is not None:
            raise UserError(
                f"trainer.overfit_batches={trainer.overfit_batches} would replace trainer.{key}="
                f"{trainer[key]}: set trainer.{key}=null"
            )
    if str(trainer.precision) not in PRECISIONS:
        raise UserError(
            f"trainer.precision={trainer.precision}: choose from {', '.join(PRECISIONS)}"
        )
    on_cpu = trainer.accelerator == "cpu" or not torch.cuda.is_available()
    if trainer.precision == "16-mixed" and on_cpu:
        raise UserError("trainer.precision=16-mixed needs a GPU: set bf16-mixed or 32-true")
    if trainer.precision == "bf16-mixed":
        warn_if_bf16_is_slow("trainer.precision=bf16-mixed", on_cpu)
    _check_devices(trainer)
    if trainer.get("sync_batchnorm") and (on_cpu or "strategy" not in trainer):
        raise UserError(
            "trainer.sync_batchnorm=true needs several processes on GPUs: set trainer=ddp"
        )


def _check_clipping(cfg: DictConfig) -> None:
    """Refuse a clipping of gradients that would not happen."""
    value, algorithm = cfg.trainer.gradient_clip_val, cfg.trainer.get("gradient_clip_algorithm")
    if value is not None and not value > 0:
        raise UserError(f"trainer.gradient_clip_val={value}: it must be positive, or null")
    if algorithm is not None and value is None:
        raise UserError(
            f"trainer.gradient_clip_algorithm={algorithm} needs trainer.gradient_clip_val"
        )
    if value is not None and cfg.trainer.precision == "16-mixed" and cfg.optimizer.get("fused"):
        raise UserError(
            "trainer.precision=16-mixed with trainer.gradient_clip_val needs optimizer.fused=false"
        )


def _check_devices(trainer: DictConfig) -> None:
    devices, accelerator = trainer.devices, trainer.accelerator
    gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    uses_gpus = gpus > 0 or accelerator in ("gpu", "cuda")
    available, kind = (gpus, "GPUs") if uses_gpus else (os.cpu_count() or 1, "cores")
    is_list = OmegaConf.is_list(devices) and uses_gpus
    if type(devices) is not int and not is_list:
        raise UserError(
            f"trainer.devices={devices}: give the number of processes"
            + (", or a list of the numbers of GPUs" if uses_gpus else "")
        )
    strategy = trainer.get("strategy", "auto")
    if isinstance(strategy, str) and strategy != "auto":
        raise UserError(
            f"trainer.strategy={strategy}: write trainer=ddp for several processes, or "
            "trainer.strategy._target_=<class> for a strategy of your own"
        )
    if trainer.get("num_nodes", 1) > 1 and slurm.count_tasks() == 1:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}: several machines need srun or torchrun in "
            "front of the command, as docs/scale.md shows"
        )
    count: int = len(devices) if is_list else devices  # type: ignore[arg-type]
    if accelerator in ("auto", "cpu", "gpu", "cuda"):
        if not 1 <= count <= max(available, 1):
            raise UserError(
                f"trainer.devices={devices}: this machine has {available} {kind}, so set 1 to "
                f"{max(available, 1)}"
            )
        if count > 1 and strategy == "auto":
            raise UserError(f"trainer.devices={devices}: several processes need trainer=ddp")
