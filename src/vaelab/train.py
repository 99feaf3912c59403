"""One run: check the config, load the data, build, fit, evaluate, report."""

import math
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    Callback,
    LearningRateFinder,
    ProgressBar,
    StochasticWeightAveraging,
    Timer,
)
from pytorch_lightning.loggers import Logger

from vaelab.callbacks.checkpoint import Checkpoint
from vaelab.callbacks.early_stopping import EarlyStopping
from vaelab.callbacks.pictures import Pictures
from vaelab.callbacks.resume_state import ResumeState
from vaelab.data.base import TrainingBatches
from vaelab.data.description import announce_data
from vaelab.evaluation.likelihood import evaluate
from vaelab.evaluation.size import configure_run_evaluation
from vaelab.loggers.base import ResumableLogger, RunTracker
from vaelab.loggers.run_summary import log_run_summary
from vaelab.posteriors.quantizer import Quantizer
from vaelab.runs.checkpoints import AtomicCheckpointIO, find_latest_checkpoint, read_checkpoint
from vaelab.runs.completion import STAGES, find_missing_stages, write_missing_stages
from vaelab.runs.config_check import check_run_config
from vaelab.runs.metrics_file import all_finite, print_numbers, read_run_metrics, write_numbers
from vaelab.runs.optimizer_settings import drop_unused_optimizer_settings
from vaelab.runs.ownership import owned
from vaelab.runs.paths import FAILURE, VALUE
from vaelab.runs.provenance import collect_provenance, count_sizes, read_choices, write_provenance
from vaelab.runs.resolved import record_config, resolve_precision
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config
from vaelab.runtime.errors import TrainingStopped, UserError, error_log
from vaelab.runtime.files import expand_home
from vaelab.runtime.metric_names import METRICS, name_data
from vaelab.runtime.own_project import format_resume_command
from vaelab.runtime.slurm import is_worker_rank, requeue_on_signal
from vaelab.training.ddp import ddp_process_group
from vaelab.training.loop import use_short_loop

INITIAL_IMAGES = 10_000  # at most so many training images initialize the output bias
REFUSED_CALLBACKS = {
    StochasticWeightAveraging: "the best checkpoint would replace its averaged weights after the "
    "training: use callbacks=[default,ema]",
    BatchSizeFinder: "the run would record another batch size: set data.batch_size",
    LearningRateFinder: "the run would record another learning rate: set optimizer.lr",
}


@requeue_on_signal()
def train(
    cfg: DictConfig,
    resume: bool = False,
    started: str = ".",
    stages: Sequence[str] | None = None,
) -> float:
    """Train a model, keep the best weights, evaluate them on the test images, write metrics.json.

    Arguments:
        resume: Continue the interrupted run in cfg.folder from its last checkpoint, if any.
        started: The folder in which the command was started, for relative paths of data.
        stages: What a resumed run still has to do; None is what its folder lacks.

    Returns:
        What the objective monitors at the kept weights, by default the validation ELBO in nats per
        image; NaN without validation images.

    Raises:
        UserError: If the config cannot be trained, or the results are NaN or infinite.
    """
    drop_unused_optimizer_settings(cfg)
    is_changed = resolve_precision(cfg) or cfg.latent_dim is None
    is_changed = is_changed or cfg.objective.get("network") == "auto"  # they follow from the data
    check_run_config(cfg)
    folder = Path(cfg.folder)
    with owned(folder), error_log(folder), _announced_interruption(folder):
        if stages is None:
            stages = find_missing_stages(folder) if resume else STAGES
        if "figures" not in stages:  # neither data nor weights are needed
            if stages:
                print("the run is complete but for its report")
            value = _finish_report(folder, is_missing="report" in stages)
            print(folder)
            return value
        seed_everything(cfg.seed, verbose=False)
        run = RunParts.build(cfg, started)
        if is_changed and not is_worker_rank():
            record_config(cfg, folder)
        return train_run(run, resume, stages)


@contextmanager
def _announced_interruption(folder: Path) -> Iterator[None]:
    """Say how to resume the run if Ctrl-C stops it before or after its training."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise TrainingStopped(signal.SIGINT, format_resume_command(folder)) from error


def train_run(
    run: RunParts,
    resume: bool = False,
    stages: Sequence[str] = STAGES,
    callbacks: Iterable[Callback] = (),
    loggers: Iterable[Logger] = (),
) -> float:
    """Train the model of a run, of which this process owns the folder; see `train`.

    Arguments:
        stages: See `train`.
        callbacks, loggers: More of them than the config names.
    """
    folder = Path(run.cfg.folder)
    _load_data(run)
    checkpoint = find_latest_checkpoint(folder / "checkpoints") if resume else None
    stages = STAGES if checkpoint is None else stages  # the weights of the training are lost
    _initialize_weights(run, is_new=checkpoint is None)
    trainer = _build_trainer(run, callbacks, loggers)
    _check_steps(run, trainer)

    with _closed_tracked_runs(trainer), ddp_process_group():
        if resume:
            _prepare_resume(trainer, checkpoint, folder, stages)
        _record_start(run, trainer, stages)
        trainer.fit(run.module, datamodule=run.data, ckpt_path=checkpoint)
        _load_best_weights(run, trainer)
        _complete_stage(trainer, folder, "training")
        if "evaluation" in stages:
            _evaluate_weights(run, trainer)
        _complete_stage(trainer, folder, "evaluation")
        if trainer.is_global_zero:
            _draw_results(run, trainer, _read_results(folder))
        _complete_stage(trainer, folder, "figures")
        value = _finish_report(folder) if trainer.is_global_zero else math.nan
    if trainer.is_global_zero:
        print(folder)  # after the loggers have said where they are
    return value


def _load_data(run: RunParts) -> None:
    """Read and describe the data set, and check that likelihood, objective and model fit it."""
    run.load_data()
    announce_data(run.data)
    run.vae.likelihood.check_pixels(*run.data.range, run.data.pixels, run.data.column_kinds)
    run.module.objective.check_range(*run.data.range)
    run.vae.check_labels(torch.cat([split.labels for split in run.data.splits.values()]))
    posterior = run.vae.posterior
    if isinstance(posterior, Quantizer):
        run.vae.decoder.check_codes(posterior.dim, posterior.length_setting)


def _initialize_weights(run: RunParts, is_new: bool) -> None:
    """Initialize the model from training images, and take the weights of `start=` in a new run."""
    split, every = (
        run.data.splits["train"],
        -(-len(run.data.splits["train"].images) // INITIAL_IMAGES),
    )
    run.vae.standardization = run.data.standardization
    if not run.vae.is_initialized:
        x = run.data.prepare(split.images[::every])
        if run.data.pixels in ("real", "count", "mixed"):
            run.vae.likelihood.set_floor(x)
        run.vae.initialize(x)
    if is_new and run.cfg.start is not None:
        run.start_from(expand_home(str(run.cfg.start)))
        x = run.data.prepare(split.images[::every])
        run.module.objective.start(run.vae, x, split.labels[::every])
    elif is_new and run.module.objective.needs_start:
        raise UserError(
            f"objective: {type(run.module.objective).__name__} continues from a finished run: "
            "name its folder, as in start=runs/..."
        )


def _build_trainer(
    run: RunParts, more_callbacks: Iterable[Callback], more_loggers: Iterable[Logger]
) -> Trainer:
    cfg, has_validation = run.cfg, run.data.has_validation
    callbacks: list[Callback] = [build_from_config(node) for node in cfg.callbacks.values()]
    callbacks += [*more_callbacks, ResumeState()]
    loggers: list[Logger] = [build_from_config(node) for node in cfg.logger.values()]
    loggers += more_loggers
    _check_callbacks(run, callbacks)
    if not cfg.trainer.get("enable_progress_bar", True):
        callbacks = [each for each in callbacks if not isinstance(each, ProgressBar)]
    trainer: Trainer = build_from_config(
        cfg.trainer,
        limit_val_batches=cfg.trainer.limit_val_batches if has_validation else 0,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=loggers or False,
        default_root_dir=cfg.folder,
        enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
        enable_progress_bar=any(isinstance(each, ProgressBar) for each in callbacks),
        enable_model_summary=cfg.trainer.get("enable_model_summary", False),
        num_sanity_val_steps=cfg.trainer.get("num_sanity_val_steps", 0),
        use_distributed_sampler=False,
    )
    use_short_loop(trainer)
    return trainer


def _check_callbacks(run: RunParts, callbacks: list[Callback]) -> None:
    """Refuse callbacks that a run would make useless, and monitors without validation images."""
    for callback in callbacks:
        for kind, hint in REFUSED_CALLBACKS.items():
            if isinstance(callback, kind):
                raise UserError(f"callbacks: {type(callback).__name__}: {hint}")
    needs = ["callbacks=early_stopping" for each in callbacks if isinstance(each, EarlyStopping)]
    needs += ["schedule=plateau"] if run.module.schedule.interval == "validation" else []
    if needs and not run.data.has_validation:
        raise UserError(f"{needs[0]} needs validation images: set data.validation")
    if needs and run.cfg.trainer.limit_val_batches == 0:
        raise UserError(f"{needs[0]} needs validation images: set trainer.limit_val_batches=null")


def _check_steps(run: RunParts, trainer: Trainer) -> None:
    """Build what the fit would build, so that errors in it leave nothing behind."""
    optimizer = run.module.build_optimizer()
    has_no_end = trainer.max_epochs == trainer.max_steps == -1
    try:
        run.module.schedule.build_scheduler(optimizer, lambda: math.inf if has_no_end else 1)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"schedule: {error}") from error
    run.module.objective.check_training(run.vae)
    train, validation = run.data.splits["train"], run.data.splits["val"]
    batches = TrainingBatches(train, run.data.batch_size, run.cfg.seed, 0, trainer.world_size)
    _check_length(trainer, len(batches))
    run.module.check_batch(batches.min_images)
    if run.data.has_validation:
        run.module.check_batch(len(validation.images))
    size = batches.max_images
    if size > run.data.batch_size and trainer.is_global_zero:
        text = f"the last batch of an epoch has {size} images, so that no batch has a single one"
        print(name_data(text, run.data.shape))


def _check_length(trainer: Trainer, batches: int) -> None:
    """Refuse a training time of 0, and min_epochs and min_steps that the maximum does not allow.

    Arguments:
        batches: The number of batches in an epoch without limit_train_batches.
    """
    timers = [each for each in trainer.callbacks if isinstance(each, Timer)]  # type: ignore[attr-defined]
    if any(each.time_remaining() == 0 for each in timers):
        raise UserError("trainer.max_time trains nothing: set a positive time")
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epoch = -(-batches // trainer.accumulate_grad_batches)  # steps
    max_epochs, max_steps = trainer.max_epochs or -1, trainer.max_steps
    most = min([math.inf, *[max_epochs * epoch] * (max_epochs > 0), *[max_steps] * (max_steps > 0)])
    for name, least in (
        ("min_epochs", (trainer.min_epochs or 0) * epoch),
        ("min_steps", trainer.min_steps or 0),
    ):
        if least > most:
            raise UserError(
                f"trainer.{name}={getattr(trainer, name)} needs {least} optimizer steps, but "
                f"max_epochs and max_steps allow {most}: raise them, or lower trainer.{name}"
            )


@contextmanager
def _closed_tracked_runs(trainer: Trainer) -> Iterator[None]:
    """Close tracked runs at the end, as failed after an error: an open one joins the next job."""
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in trainer.loggers:
            if isinstance(logger, RunTracker):
                logger.close(failed)


def _prepare_resume(
    trainer: Trainer, checkpoint: Path | None, folder: Path, stages: Sequence[str]
) -> None:
    """Remove results of the interrupted run and what its loggers recorded after the checkpoint."""
    step = read_checkpoint(checkpoint)["global_step"] if checkpoint else 0
    if trainer.is_global_zero:
        if "training" not in stages:
            print(f"the training is complete; missing: {', '.join(stages)}")
        elif checkpoint:
            print(f"resuming after step {step}")
        else:
            print("there is no checkpoint: starting from the beginning")
        results = ["metrics.json"] if "evaluation" in stages else []
        for name in (*results, "error.log", FAILURE, VALUE):
            (folder / name).unlink(missing_ok=True)
    for logger in trainer.loggers:
        if isinstance(logger, ResumableLogger):
            logger.resume_from(step)


def _record_start(run: RunParts, trainer: Trainer, stages: Sequence[str]) -> None:
    """Log the config, and write provenance.json, data.json and what the run has to do."""
    if not trainer.is_global_zero:
        return
    folder = Path(run.cfg.folder)
    config: Any = OmegaConf.to_container(run.cfg, resolve=True)
    for logger in trainer.loggers:
        logger.log_hyperparams({"choices": read_choices(folder)} | config)  # type: ignore[operator]
    write_provenance(run, folder)
    write_missing_stages(folder, stages)


def _load_best_weights(run: RunParts, trainer: Trainer) -> None:
    """Load the weights that are kept, or keep those of the last step without checkpoints."""
    run.step = trainer.global_step
    if trainer.checkpoint_callback:
        best = Path(run.cfg.folder, "checkpoints", "best.ckpt")
        if not best.exists():  # the fit ended before its first validation
            trainer.save_checkpoint(best, weights_only=False)
        run.load(best)
    run.module.to(trainer.strategy.root_device)


def _complete_stage(trainer: Trainer, folder: Path, stage: str) -> None:
    """Record that a stage is complete."""
    if trainer.is_global_zero:
        write_missing_stages(folder, STAGES[STAGES.index(stage) + 1 :])


def _evaluate_weights(run: RunParts, trainer: Trainer) -> None:
    """Evaluate the weights on the test images, and write metrics.json."""
    trained = trainer.global_step * _count_step_images(run, trainer)
    config = configure_run_evaluation(run.cfg, trained, len(run.data.splits["test"].images))
    numbers: dict[str, Any] = {**evaluate(run, config)}
    if trainer.is_global_zero:
        score = getattr(trainer.checkpoint_callback, "best_value", None)
        numbers |= _describe_training(run, trainer, score)
        write_numbers(numbers, Path(run.cfg.folder, "metrics.json"))


def _describe_training(run: RunParts, trainer: Trainer, score: float | None) -> dict[str, Any]:
    """Return the numbers of metrics.json that describe the training."""
    (state,) = (each for each in trainer.callbacks if isinstance(each, ResumeState))  # type: ignore[attr-defined]
    monitor = run.module.objective.monitor
    numbers: dict[str, Any] = {"monitor": monitor}
    if score is not None:
        numbers[monitor.replace("/", "_")] = score
    if sentence := _describe_unreached_weight(run, trainer):
        numbers["weight_warning"] = sentence
    numbers |= {
        "seed": run.cfg.seed,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "step_images": _count_step_images(run, trainer),
        "wall_s": state.seconds,
        "resumed": state.resumed,
        **run.module.guard.final_counts(),
    }
    return numbers | count_sizes(run) | collect_provenance(Path(run.cfg.folder))


def _count_step_images(run: RunParts, trainer: Trainer) -> int:
    """Return the number of images of an optimizer step."""
    return run.data.batch_size * trainer.accumulate_grad_batches


def _read_results(folder: Path) -> dict[str, Any]:
    """Read metrics.json, in which NaN and infinity are null."""
    numbers: dict[str, Any] = {**read_run_metrics(folder / "metrics.json")}
    for name, value in numbers.items():
        if value is None and (name in METRICS or name.startswith("kl_")):
            numbers[name] = [math.nan] if name == "kl_per_dimension" else math.nan
    return numbers


def _describe_unreached_weight(run: RunParts, trainer: Trainer) -> str | None:
    """Return a sentence if no weights were chosen by the final weight of the KL, or None."""
    kl, steps = run.module.objective.weighting, trainer.global_step
    if kl is None or steps == 0:
        return None
    option = f"kl={kl.name}"
    if not any(kl.has_arrived(step) for step in range(1, steps + 1)):
        period = getattr(kl, "period", None)
        remedy = "train longer" if period is None else f"set kl.period below {steps}"
        too_long = "" if period is None else f": kl.period={period} is too long for"
        return (
            f"{option} reached {kl.describe_progress(steps)}{too_long or ' in'} the {steps} steps "
            f"of the training, and the last weights are kept: {remedy}"
        )
    checkpoint = trainer.checkpoint_callback
    if isinstance(checkpoint, Checkpoint) and run.data.has_validation and not checkpoint.has_chosen:
        end = "and the last weights are kept: validate more often (trainer.val_check_interval)"
        if kl.has_arrived(1):  # the weight is not the reason
            return f"no validation gave a value, {end}"
        return f"{option}: no validation came after a step with the final weight of the KL, {end}"
    return None


def _draw_results(run: RunParts, trainer: Trainer, numbers: dict[str, Any]) -> None:
    """Log the numbers, and draw and log the figures."""
    folder = Path(run.cfg.folder)
    for logger in trainer.loggers:
        scalars = {f"test/{name}": numbers[name] for name in METRICS if name in numbers}
        logger.log_metrics(scalars, trainer.global_step)
        logger.save()
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Pictures):
            callback.finish(run)
    log_run_summary(run, numbers, folder, trainer.loggers, trainer.global_step)


def _finish_report(folder: Path, is_missing: bool = True) -> float:
    """Print the numbers of a run, write its report if it is missing, and return its best value.

    Raises:
        UserError: If the numbers are NaN or infinite.
    """
    numbers = _read_results(folder)
    print_numbers(numbers)

    from vaelab.report.write import write_report_or_warn  # slow to import

    if is_missing:
        write_report_or_warn(folder)
        write_missing_stages(folder, [])
    if not all(map(all_finite, numbers.values())):
        raise UserError("the numbers of this run are NaN or infinite: lower optimizer.lr")
    value = numbers.get(numbers["monitor"].replace("/", "_"))
    return math.nan if value is None else value
