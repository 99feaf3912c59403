"""One run: seed, build, fit, evaluate."""

import logging
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.loggers import Logger

from vaelab import record
from vaelab.callbacks.pictures import Pictures
from vaelab.ddp import process_group
from vaelab.loggers.wandb import Wandb
from vaelab.run import Run, build
from vaelab.types import check_types

INITIAL_IMAGES = 10_000  # that the output bias is fitted to


def train(cfg: DictConfig) -> float:
    """Fit, keep the best weights, evaluate them on the test images, write metrics.json.

    Returns:
        The best validation ELBO in nats per image; nan where nothing is validated.
    """
    _quiet()
    check_types(cfg)
    _check_devices(cfg.trainer)
    seed_everything(cfg.seed, verbose=False)
    run = Run.build(cfg)
    run.data.prepare_data()
    run.data.setup()
    run.vae.likelihood.check(*run.data.range)
    images = run.data.splits["train"].images
    run.vae.initialize(run.data.prepare(images[:: -(-len(images) // INITIAL_IMAGES)]))

    callbacks: list[Callback] = [build(node) for node in cfg.callbacks.values()]
    loggers: list[Logger] = [build(node) for node in cfg.logger.values()]
    if any(isinstance(each, EarlyStopping) for each in callbacks) and not run.data.validated:
        raise ValueError("callbacks=early_stopping needs validation images: set data.validation")
    trainer: Trainer = build(
        cfg.trainer,
        limit_val_batches=cfg.trainer.limit_val_batches if run.data.validated else 0,
        callbacks=callbacks,
        logger=loggers or False,
        default_root_dir=cfg.folder,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    try:
        with process_group():
            best = _fit_and_evaluate(run, trainer)
    finally:
        for logger in loggers:
            if isinstance(logger, Wandb):
                logger.close()
    if trainer.is_global_zero:
        print(cfg.folder)
    return best


def _fit_and_evaluate(run: Run, trainer: Trainer) -> float:
    cfg, folder = run.cfg, Path(run.cfg.folder)
    for logger in trainer.loggers:
        logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
    started = time.perf_counter()
    trainer.fit(run.module, datamodule=run.data)
    wall = time.perf_counter() - started

    if trainer.checkpoint_callback:
        run.load(folder / "checkpoints" / "best.ckpt")
    run.module.to(trainer.strategy.root_device)
    numbers = record.evaluated(run, "test", cfg.samples)
    if not trainer.is_global_zero:
        return math.nan
    best = getattr(trainer.checkpoint_callback, "best_model_score", None)
    if best is not None:
        numbers["val_elbo"] = best.item()
    numbers |= {
        "seed": cfg.seed,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "wall_s": wall,
        "parameters": sum(weight.numel() for weight in run.vae.parameters()),
    }
    numbers |= record.provenance(folder)
    record.write(numbers, folder / "metrics.json")
    _tell(trainer, run, numbers)
    return numbers.get("val_elbo", math.nan)


def _tell(trainer: Trainer, run: Run, numbers: dict[str, Any]) -> None:
    for logger in trainer.loggers:
        scalars = {f"test/{name}": numbers[name] for name in record.TITLES if name in numbers}
        logger.log_metrics(scalars, trainer.global_step)
        logger.save()
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Pictures):
            callback.draw(trainer, run.module)
    record.show(numbers)


def _check_devices(trainer: DictConfig) -> None:
    """Refuse more processes than there are devices for them."""
    wanted = trainer.devices
    if not isinstance(wanted, int) or trainer.accelerator not in ("auto", "cpu", "gpu", "cuda"):
        return
    gpus = torch.cuda.device_count() if trainer.accelerator != "cpu" else 0
    if gpus or trainer.accelerator in ("gpu", "cuda"):
        if wanted > gpus:
            raise ValueError(f"trainer.devices={wanted}, but this machine has {gpus} GPUs")
    elif wanted > (cores := os.cpu_count() or 1):
        raise ValueError(f"trainer.devices={wanted}, but this machine has {cores} cores")


def _quiet() -> None:
    """Silence what says nothing about the run: an advert, and advice that does not fit it."""
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
        lambda entry: "/lit" not in entry.getMessage().lower()
    )
