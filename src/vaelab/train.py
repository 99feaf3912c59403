"""One run: seed, build, fit, evaluate."""

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from vaelab.callbacks.checkpoint import Checkpoint
from vaelab.callbacks.early_stopping import EarlyStopping
from vaelab.callbacks.pictures import Pictures
from vaelab.callbacks.resume_state import ResumeState
from vaelab.data.base import TrainingBatches
from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.likelihood import check_samples, evaluate
from vaelab.loggers import run_summary
from vaelab.loggers.base import ResumableLogger
from vaelab.loggers.wandb import Wandb
from vaelab.runs import metrics_file, provenance
from vaelab.runs.build import build_from_config
from vaelab.runs.checkpoints import AtomicCheckpointIO, find_latest_checkpoint, read_checkpoint
from vaelab.runs.config_check import check_types
from vaelab.runs.paths import FAILURE, LOCK, VALUE
from vaelab.runs.run import Run
from vaelab.runtime import precision, slurm
from vaelab.runtime.files import locked
from vaelab.runtime.metric_names import METRICS
from vaelab.training.ddp import ddp_process_group
from vaelab.training.loop import use_short_loop

INITIAL_IMAGES = 10_000  # that the output bias is fitted to
PRECISIONS = ("32-true", "32", "bf16-mixed", "16-mixed")


@slurm.requeue_on_signal()
def train(cfg: DictConfig, goes_on: bool = False, started: str = ".") -> float:
    """Fit, keep the best weights, evaluate them on the test images, write metrics.json.

    Arguments:
        goes_on: Whether the run was stopped, and cfg.folder holds what there is of it.
        started: The folder in which the run was begun, for the relative paths of its data.

    Returns:
        The best of what the objective monitors, by default the validation ELBO in nats per image;
        nan where nothing is validated.
    """
    _quiet()
    _search_gpus_once()
    check_types(cfg)
    check_samples(cfg.samples)
    _check_seed(cfg.seed)
    _check_kl(cfg)
    _check_trainer(cfg.trainer)
    _check_callbacks(cfg.callbacks)
    provenance.check_published(cfg.published)
    with _alone(Path(cfg.folder)):
        return _train(cfg, goes_on, started)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to write where another training writes; it may have outlived what started it."""
    if slurm.is_worker_rank():  # the first process has the folder
        yield
        return
    with locked(folder / LOCK) as ours:
        if not ours:
            raise ValueError(f"{folder} is being trained by another process: wait, or stop that")
        yield


def _train(cfg: DictConfig, goes_on: bool, started: str) -> float:
    seed_everything(cfg.seed, verbose=False)
    run = Run.build(cfg, started)
    run.data.prepare_data()
    run.data.setup()
    run.vae.likelihood.check(*run.data.range, run.data.pixels)
    for split in run.data.splits.values():
        run.vae.check_labels(split.labels)
    images = run.data.splits["train"].images
    run.vae.initialize(run.data.prepare(images[:: -(-len(images) // INITIAL_IMAGES)]))
    checkpoint = find_latest_checkpoint(Path(cfg.folder, "checkpoints")) if goes_on else None
    if checkpoint is None:
        _start(run)
    run.module.objective.dataset_size = len(images)
    trainer = _trainer(run)
    # What these would refuse during the fit, they refuse here, before anything is started.
    try:
        run.module.make_optimizer(run.module.parameter_groups())
    except ValueError as error:
        raise ValueError(f"optimizer: {error}") from error
    TrainingBatches(run.data.splits["train"], run.data.batch_size, cfg.seed, 0, trainer.world_size)
    failed = True
    try:
        with ddp_process_group():
            if goes_on:
                _go_on(trainer, checkpoint, Path(cfg.folder))
            best = _fit_and_evaluate(run, trainer, checkpoint)
        failed = False
    finally:
        for logger in trainer.loggers:
            if isinstance(logger, Wandb):
                logger.close(failed)
    if trainer.is_global_zero:
        print(cfg.folder)
    return best


def _start(run: Run) -> None:
    """Begin with the weights of another run where start= names one."""
    if run.cfg.start is not None:
        run.begin(Path(str(run.cfg.start)))
    elif run.module.objective.needs_start:
        raise ValueError(
            f"{type(run.module.objective).__name__} goes on from a finished run: say of which run, "
            "as in start=runs/..."
        )


def _go_on(trainer: Trainer, checkpoint: Path | None, folder: Path) -> None:
    """Say where a run goes on; forget how it ended, and let its loggers forget what came later."""
    step = read_checkpoint(checkpoint)["global_step"] if checkpoint else 0
    if trainer.is_global_zero:
        print(f"goes on after step {step}" if checkpoint else "no checkpoint: from the start")
        for name in ("metrics.json", FAILURE, VALUE):
            (folder / name).unlink(missing_ok=True)
    for logger in trainer.loggers:
        if isinstance(logger, ResumableLogger):
            logger.resume_from(step)


def _trainer(run: Run) -> Trainer:
    cfg, validated = run.cfg, run.data.has_validation
    callbacks: list[Callback] = [build_from_config(node) for node in cfg.callbacks.values()]
    callbacks.append(ResumeState())
    loggers: list[Logger] = [build_from_config(node) for node in cfg.logger.values()]
    if any(isinstance(each, EarlyStopping) for each in callbacks) and not validated:
        raise ValueError("callbacks=early_stopping needs validation images: set data.validation")
    trainer: Trainer = build_from_config(
        cfg.trainer,
        limit_val_batches=cfg.trainer.limit_val_batches if validated else 0,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=loggers or False,
        default_root_dir=cfg.folder,
        enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    use_short_loop(trainer)
    return trainer


def _fit_and_evaluate(run: Run, trainer: Trainer, checkpoint: Path | None) -> float:
    cfg, folder = run.cfg, Path(run.cfg.folder)
    if trainer.is_global_zero:  # whose folder is there
        chosen: dict[str, Any] = {"choices": provenance.read_choices(folder)}
        for logger in trainer.loggers:
            logger.log_hyperparams(chosen | OmegaConf.to_container(cfg, resolve=True))  # type: ignore[operator]
        provenance.write_provenance(run, folder)
    trainer.fit(run.module, datamodule=run.data, ckpt_path=checkpoint)

    (sittings,) = (each for each in trainer.callbacks if isinstance(each, ResumeState))  # type: ignore[attr-defined]
    run.step = trainer.global_step
    if trainer.checkpoint_callback:
        best = folder / "checkpoints" / "best.ckpt"
        if not best.exists():  # the fit ended before its first validation
            trainer.save_checkpoint(best, weights_only=False)
        run.load(best)
    run.module.to(trainer.strategy.root_device)
    numbers = evaluate(run, EvaluationConfig(samples=cfg.samples, seed=cfg.seed))
    score = getattr(trainer.checkpoint_callback, "best_score", None)
    if not trainer.is_global_zero:
        return math.nan
    monitor = numbers["monitor"] = run.module.objective.monitor
    if score is not None:
        numbers[monitor.replace("/", "_")] = score
    numbers |= {
        "seed": cfg.seed,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "wall_s": sittings.seconds,
        "resumed": sittings.resumed,
        **run.module.guard.counted_at_end(),
    }
    numbers |= provenance.count_sizes(run) | provenance.collect_provenance(folder)
    metrics_file.write_numbers(numbers, folder / "metrics.json")
    _tell(trainer, run, numbers)
    _report(folder)
    if not all(map(metrics_file.is_finite, numbers.values())):
        raise ValueError("the numbers of this run are not finite: lower optimizer.lr")
    return math.nan if score is None else score


def _tell(trainer: Trainer, run: Run, numbers: dict[str, Any]) -> None:
    for logger in trainer.loggers:
        scalars = {f"test/{name}": numbers[name] for name in METRICS if name in numbers}
        logger.log_metrics(scalars, trainer.global_step)
        logger.save()
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Pictures):
            callback.finish(run)
    run_summary.log_run_summary(
        run, numbers, Path(run.cfg.folder), trainer.loggers, trainer.global_step
    )
    metrics_file.print_numbers(numbers)


def _report(folder: Path) -> None:
    from vaelab.report.write import write_report_or_warn  # needed at the end, if at all

    write_report_or_warn(folder)


def _check_seed(seed: Any) -> None:
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: it must be a whole number from 0 to {2**32 - 1}")


def _check_kl(cfg: DictConfig) -> None:
    """Refuse a choice of kl= that the objective would pass over."""
    if "kl" not in cfg.objective and not (cfg.kl.get("beta") == 1 and len(cfg.kl) == 2):
        raise ValueError("the objective has no KL to be weighted: leave out kl= and its keys")


def _check_callbacks(callbacks: DictConfig) -> None:
    """Refuse to average or to choose weights that nothing keeps."""
    alone = [name for name in ("ema", "early_stopping") if name in callbacks]
    if alone and "checkpoint" not in callbacks:
        raise ValueError(
            f"callbacks={alone[0]} needs callbacks.checkpoint, which keeps the weights: write "
            f"callbacks=[default,{alone[0]}]"
        )


def _check_trainer(trainer: DictConfig) -> None:
    """Refuse more processes than there are devices for them, and what Lightning trips over."""
    if trainer.accumulate_grad_batches < 1:
        raise ValueError("trainer.accumulate_grad_batches must be at least 1")
    if str(trainer.precision) not in PRECISIONS:
        raise ValueError(f"trainer.precision={trainer.precision}: choose from {PRECISIONS}")
    if trainer.precision == "bf16-mixed":
        on_cpu = trainer.accelerator == "cpu" or not torch.cuda.is_available()
        precision.warn_if_bf16_is_slow("trainer.precision=bf16-mixed", on_cpu)
    wanted, kind = trainer.devices, trainer.accelerator
    gpus = torch.cuda.device_count() if kind != "cpu" else 0
    there, name = (gpus, "GPUs") if gpus or kind in ("gpu", "cuda") else (os.cpu_count(), "cores")
    if type(wanted) is not int and name == "cores":
        raise ValueError(f"trainer.devices={wanted}: give the number of processes")
    if trainer.get("num_nodes", 1) > 1 and slurm.count_tasks() == 1:
        raise ValueError(
            f"trainer.num_nodes={trainer.num_nodes} machines need srun or torchrun before the "
            "command: docs/scale.md has it whole"
        )
    if type(wanted) is int and kind in ("auto", "cpu", "gpu", "cuda"):
        if not 1 <= wanted <= (there or 1):
            raise ValueError(f"trainer.devices={wanted}, but this machine has {there} {name}")
        if wanted > 1 and "strategy" not in trainer:
            raise ValueError(f"trainer.devices={wanted} processes need trainer=ddp")


def _search_gpus_once() -> None:
    """Without a GPU, spare torch the search for one that Lightning has it make in every step.

    Lightning asks for a way of counting GPUs that opens the driver's library anew each time.
    """
    if torch.cuda.device_count() == 0:
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def _quiet() -> None:
    """Silence what says nothing about the run: an advert, and advice that does not fit it."""
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*could not find the monitored key.*")
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
        lambda entry: "/lit" not in entry.getMessage().lower()
    )
