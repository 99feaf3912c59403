"""The LightningModule: training and validation steps, logging, optimizer.

The only mean over images is taken here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vaelab.metrics.terms import MeanTerms
from vaelab.objectives.base import Objective
from vaelab.runtime.errors import UserError
from vaelab.runtime.private_api import accumulates_gradients
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.schedules.base import Schedule
from vaelab.schedules.constant import ConstantSchedule
from vaelab.training.base import Batch, TrainableModule
from vaelab.training.nan_guard import NaNGuard, OnNaN
from vaelab.vae import VAE


class VAEModule(TrainableModule):
    """Trains a VAE on the `loss` of an objective and logs its terms as train/... and val/...

    The noise of validation batch n is derived from (seed, n), so that the same weights give the
    same value in every epoch and with any number of processes.

    Arguments:
        vae: The model.
        objective: What training minimises.
        optimizer: Called with the groups of parameters.
        schedule: The learning rate schedule.
        seed: The seed of the run.
        compile: Compile the objective with torch.compile.
        channels_last: Store the channels of a pixel next to each other, which convolutions prefer.
        on_nan: What to do about a NaN or infinite loss or gradient: see training/nan_guard.py.

    Raises:
        UserError: If the objective cannot train the model.
    """

    vae: VAE

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        schedule: Schedule,
        seed: int = 0,
        compile: bool = False,
        channels_last: bool = True,
        on_nan: OnNaN = "stop",
    ):
        super().__init__()
        if vae.layered and not objective.supports_layers:
            raise UserError(
                f"{type(objective).__name__} supports one stochastic layer only, but the model has "
                "several: set objective=elbo or iwae, or model=mlp or conv"
            )
        objective.prepare(vae)
        self.vae = vae
        self.objective = objective
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.seed = seed
        self.guard = NaNGuard(on_nan)
        self.validation = MeanTerms()
        self.latest: dict[str, float] = {}  # training metrics for the progress bar
        if compile:
            self.objective.compile()
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "guard" in checkpoint:  # older checkpoints have none
            self.guard.load_state_dict(checkpoint["guard"])

    def on_train_start(self) -> None:
        self.guard.start(self)

    def terms(self, batch: Batch, step: int | None = None) -> dict[str, Tensor]:
        """Compute the terms of the objective; autocast applies to the networks only.

        Arguments:
            batch: Images (B, *shape) and labels (B, ...).
            step: The number of optimizer steps taken; None is that of the trainer.

        Returns:
            Named terms (B,) or () in nats per image, `loss` among them.
        """
        x, y = batch
        step = self.global_step if step is None else step
        self.vae.posterior.anneal(step)
        with self.vae.autocast_networks_only(x.device.type):
            return self.objective(self.vae.condition_on(y), x, step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.guard.record_batch(self, batch, batch_idx)
        terms = self.terms(batch)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        logged = every and (self.global_step + 1) % every == 0
        if logged and not accumulates_gradients(self.trainer):
            self._log_training(terms)
        loss = terms["loss"].mean()
        self.guard.record_loss(loss)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.guard.check_gradients(optimizer)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.guard.settle(self)

    def _log_training(self, terms: dict[str, Tensor]) -> None:
        """Log to the loggers directly: Lightning's `log` takes longer than the step itself."""
        means = torch.stack([term.detach().float().mean() for term in terms.values()])
        means = self.trainer.strategy.reduce(means, reduce_op="mean").tolist()
        learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        logged = {f"train/{name}": mean for name, mean in zip(terms, means, strict=True)}
        logged |= {f"train/{name}": count for name, count in self.guard.logged_counts().items()}
        logged |= {"train/lr": learning_rate, "epoch": self.current_epoch}
        monitored = self.objective.monitor.removeprefix("val/")
        self.latest = {monitored: logged[f"train/{monitored}"]}
        for logger in self.trainer.loggers:
            logger.log_metrics(logged, self.global_step)
            logger.save()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        number = batch_idx * self.trainer.world_size + self.global_rank
        counted = number < self.trainer.val_dataloaders.num_batches  # type: ignore[union-attr]
        with seeded_noise(Stream.EVALUATION, self.seed, number):
            terms = self.terms(batch)
        self.validation.update(terms, counted)

    def on_validation_epoch_end(self) -> None:
        for name, mean in self.validation.compute().items():
            key = f"val/{name}"
            # Every process has the same mean already; sync_dist only silences a warning.
            self.log(key, mean.float(), prog_bar=key == self.objective.monitor, sync_dist=True)
        self.validation.reset()

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients; Lightning would refuse a fused optimizer with bf16-mixed."""
        clips_norm = gradient_clip_algorithm in (None, "norm")
        if gradient_clip_val and clips_norm and self.trainer.precision == "bf16-mixed":
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the model's parameters, and a critic's with a learning rate of their own."""
        groups: list[dict[str, Any]] = [{"params": list(self.vae.parameters())}]
        if critic := list(self.objective.parameters()):
            groups.append({"params": critic, "lr": self.objective.lr})
        return groups

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameter_groups())
        if isinstance(self.schedule, ConstantSchedule):
            return optimizer
        total = max(self.trainer.estimated_stepping_batches, 1)  # trainer.max_steps=0 has none
        scheduler = LambdaLR(optimizer, lambda step: self.schedule.factor(step, total))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
