"""The LightningModule: step, log, optimizer. The only mean over images is here."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vaelab.metrics.terms import Terms
from vaelab.noise import noise, seed_from
from vaelab.objectives.base import Objective
from vaelab.schedules.base import Schedule
from vaelab.vae import VAE

Batch = Sequence[Tensor]


class VAEModule(LightningModule):
    """Trains a VAE on the `loss` of an objective and logs its terms as train/... and val/...

    Validation batch n draws its noise from (seed, n), so the same weights give the same value at
    every epoch and with any number of processes.

    Arguments:
        optimizer: Called with the parameters.
        compile: Whether torch.compile makes one kernel graph of the objective.
    """

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Schedule,
        seed: int = 0,
        compile: bool = False,
    ):
        super().__init__()
        self.vae = vae
        self.objective = objective
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.seed = seed
        self.validation = Terms()
        if compile:
            self.objective.compile()

    def on_train_start(self) -> None:
        torch.manual_seed(seed_from(self.seed, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, y = batch
        terms = self.objective(self.vae.given(y), x, self.global_step)
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log_training(terms)
        return terms["loss"].mean()

    def _log_training(self, terms: dict[str, Tensor]) -> None:
        means = {f"train/{name}": term.detach().mean() for name, term in terms.items()}
        self.log_dict(means, sync_dist=True)
        self.log("train/lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, y = batch
        number = batch_idx * self.trainer.world_size + self.global_rank
        with noise(self.seed, number):
            self.validation.update(self.objective(self.vae.given(y), x, self.global_step))

    def on_validation_epoch_end(self) -> None:
        for name, mean in self.validation.compute().items():
            key = f"val/{name}"
            # every process has the mean already; sync_dist only tells Lightning so
            self.log(key, mean.float(), prog_bar=key == self.objective.monitor, sync_dist=True)
        self.validation.reset()

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameters())
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = LambdaLR(optimizer, lambda step: self.schedule.factor(step, total))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
