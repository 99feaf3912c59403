"""The LightningModule: step, log, optimizer. The only mean over images is here."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vaelab.metrics.terms import MeanTerms
from vaelab.objectives.base import Objective
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.schedules.base import Schedule
from vaelab.schedules.constant import ConstantSchedule
from vaelab.training.nan_guard import NaNGuard, OnNaN
from vaelab.vae import VAE

Batch = Sequence[Tensor]


class VAEModule(LightningModule):
    """Trains a VAE on the `loss` of an objective and logs its terms as train/... and val/...

    Validation batch n draws its noise from (seed, n), so the same weights give the same value at
    every epoch and with any number of processes.

    Arguments:
        optimizer: Called with the groups of parameters.
        compile: Whether torch.compile compiles the objective.
        channels_last: Whether convolutions keep the channels of a pixel together in memory.
        on_nan: What is done about a loss or gradient that is not finite: see guard.py.
    """

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
        if vae.layered and not objective.layers:
            raise ValueError(
                f"{type(objective).__name__} knows no more than one layer of latents: set "
                "objective=elbo or iwae, or model=mlp or conv"
            )
        objective.prepare(vae)
        self.vae = vae
        self.objective = objective
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.seed = seed
        self.guard = NaNGuard(on_nan)
        self.validation = MeanTerms()
        self.latest: dict[str, float] = {}  # of the training, for the progress bar
        if compile:
            self.objective.compile()
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "guard" in checkpoint:  # an older one has none
            self.guard.load_state_dict(checkpoint["guard"])

    def on_train_start(self) -> None:
        self.guard.start(self)

    def terms(self, batch: Batch, step: int | None = None) -> dict[str, Tensor]:
        """The terms of the objective; of an autocast only the networks take notice.

        Arguments:
            step: The optimizer steps so far; None is those of the training.
        """
        x, y = batch
        step = self.global_step if step is None else step
        self.vae.posterior.anneal(step)
        with self.vae.autocast_networks_only(x.device.type):
            return self.objective(self.vae.condition_on(y), x, step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.guard.remember(self, batch, batch_idx)
        terms = self.terms(batch)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        logged = every and (self.global_step + 1) % every == 0
        if logged and not self.trainer.fit_loop._should_accumulate():
            self._log_training(terms)
        loss = terms["loss"].mean()
        self.guard.note(loss)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.guard.check(optimizer)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.guard.settle(self)

    def _log_training(self, terms: dict[str, Tensor]) -> None:
        """Straight to the loggers: Lightning's `log` takes longer than the step does."""
        means = torch.stack([term.detach().float().mean() for term in terms.values()])
        means = self.trainer.strategy.reduce(means, reduce_op="mean").tolist()
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        logged = {f"train/{name}": mean for name, mean in zip(terms, means, strict=True)}
        logged |= {f"train/{name}": count for name, count in self.guard.counted().items()}
        logged |= {"train/lr": rate, "epoch": self.current_epoch}
        watched = self.objective.monitor.removeprefix("val/")
        self.latest = {watched: logged[f"train/{watched}"]}
        for logger in self.trainer.loggers:
            logger.log_metrics(logged, self.global_step)
            logger.save()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        number = batch_idx * self.trainer.world_size + self.global_rank
        counted = number < self.trainer.val_dataloaders.total  # type: ignore[union-attr]
        with seeded_noise(Stream.EVALUATION, self.seed, number):
            terms = self.terms(batch)
        self.validation.update(terms, counted)

    def on_validation_epoch_end(self) -> None:
        for name, mean in self.validation.compute().items():
            key = f"val/{name}"
            # every process has the mean already; sync_dist only tells Lightning so
            self.log(key, mean.float(), prog_bar=key == self.objective.monitor, sync_dist=True)
        self.validation.reset()

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning, which refuses a fused optimizer under autocast also where bf16 is fine."""
        norm = gradient_clip_algorithm in (None, "norm")
        if gradient_clip_val and norm and self.trainer.precision == "bf16-mixed":
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The model's parameters, and those of a critic with their own learning rate."""
        groups: list[dict[str, Any]] = [{"params": list(self.vae.parameters())}]
        if critic := list(self.objective.parameters()):
            groups.append({"params": critic, "lr": self.objective.lr})
        return groups

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameter_groups())
        if isinstance(self.schedule, ConstantSchedule):
            return optimizer
        total = self.trainer.estimated_stepping_batches
        scheduler = LambdaLR(optimizer, lambda step: self.schedule.factor(step, total))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
