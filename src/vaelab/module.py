"""The LightningModule: training, validation, test and prediction steps, logging, optimizer.

The only mean over images is taken here.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Self, cast

import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vaelab.distributions.point_estimates import estimate_mean_twice, mean_at_total, mode_or_mean
from vaelab.kl.constant import ConstantWeight
from vaelab.metrics.terms import MeanTerms
from vaelab.objectives.base import Objective
from vaelab.objectives.elbo import ELBO
from vaelab.runtime.build import build_from_config
from vaelab.runtime.distributed import broadcast_from_first_process
from vaelab.runtime.errors import UserError
from vaelab.runtime.private_api import accumulates_gradients, get_evaluation_loader
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.runtime.trusted_config import check_config
from vaelab.schedules.base import LearningRateSchedule
from vaelab.schedules.constant import ConstantSchedule
from vaelab.training.base import TrainableModule
from vaelab.training.batches import count_images, count_new_images, read_batch
from vaelab.training.loop import ShortLoop
from vaelab.training.nan_guard import NaNGuard, OnNaN
from vaelab.vae import VAE

DEFAULT_LEARNING_RATE = 0.001  # that of conf/optimizer/adam.yaml
NEVER = 2**62  # a frequency, in epochs

OptimizerBuilder = Callable[[list[dict[str, Any]]], Optimizer]


class VAEModule(TrainableModule):
    """Trains a VAE on the `loss` of an objective and logs its terms as train/... and val/...

    It works in any Lightning Trainer: `Trainer(max_epochs=5).fit(VAEModule(vae), loader)`. A batch
    is x, (x,), (x, y), or a dict with x and optionally y, see `read_batch`. `validate` and `test`
    give the means of the terms over all images, and `predict` gives latents.

    The noise of evaluation batch n is derived from (seed, n), so that the same weights give the
    same value in every epoch, and with vaelab's data sets for any number of processes.

    Arguments:
        vae: The model. It is initialized from the first training batch, unless `vae.initialize`
            was called before.
        objective: What training minimises; None is minus the ELBO.
        optimizer: Called with the groups of parameters; None is Adam with a learning rate of 0.001.
        schedule: The learning rate schedule; None is a constant learning rate.
        seed: The seed of the run.
        compile: Compile the objective with torch.compile.
        channels_last: Store the channels of a pixel next to each other, which convolutions prefer.
        on_nan: What to do about a NaN or infinite loss or gradient: see training/nan_guard.py.

    Attributes:
        config: The plain config that builds the module, which checkpoints then contain; set by a
            run of vaelab.

    Raises:
        UserError: If the objective cannot train the model.
    """

    vae: VAE

    def __init__(
        self,
        vae: VAE,
        objective: Objective | None = None,
        optimizer: OptimizerBuilder | None = None,
        schedule: LearningRateSchedule | None = None,
        seed: int = 0,
        compile: bool = False,
        channels_last: bool = True,
        on_nan: OnNaN = "stop",
    ):
        super().__init__()
        objective = objective or ELBO(ConstantWeight())
        if vae.layered and not objective.supports_layers:
            raise UserError(
                f"{type(objective).__name__} supports one stochastic layer only, but the model has "
                "several: set objective=elbo or iwae, or model=mlp or conv"
            )
        if vae.prior.has_own_loss and not objective.trains_own_loss:
            raise UserError(
                f"{type(vae.prior).__name__} has a loss of its own and cannot be trained by "
                f"{type(objective).__name__}: train the model with prior=normal first, and then "
                "this prior with objective=prior start=<run>"
            )
        objective.prepare(vae)
        self.vae = vae
        self.objective = objective
        self.make_optimizer = optimizer or partial(torch.optim.Adam, lr=DEFAULT_LEARNING_RATE)
        self.schedule = schedule or ConstantSchedule()
        self.seed = seed
        self.guard = NaNGuard(on_nan)
        self.means = nn.ModuleList()  # MeanTerms of each evaluation loader
        self.latest: dict[str, float] = {}  # training metrics for the progress bar
        self.config: dict[str, Any] | None = None
        self.steps_taken = 0  # optimizer steps of a finished training, or of a loaded checkpoint
        if compile:
            self.objective.compile()
        if channels_last:
            _store_channels_last(self)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = "cpu",
        hparams_file: Any = None,
        strict: bool | None = True,
        weights_only: bool | None = True,
        **arguments: Any,
    ) -> Self:
        """Build the module and load the weights of a checkpoint.

        A checkpoint of a vaelab run contains the config that builds its module, which may only name
        trusted classes. For all others, pass the model: `load_from_checkpoint(path, vae=vae)`.

        Arguments:
            checkpoint_path: A path or a file object.
            map_location: The device, as in torch.load.
            hparams_file: A yaml file with a config, instead of that in the checkpoint.
            strict: Require the same names of weights.
            weights_only: As in torch.load; False runs code that the file may contain.
            arguments: Those of the class. Without vae=, they replace values of the config.

        Raises:
            UserError: If there is no config and no vae=, or the config names other classes.
        """
        checkpoint = torch.load(
            checkpoint_path, map_location, weights_only=weights_only is not False
        )
        if "vae" in arguments:
            module = cls(**arguments)
        else:
            config = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY)
            module = cls._build(OmegaConf.load(hparams_file) if hparams_file else config, arguments)
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"], strict=strict is not False)
        return module.to(next(iter(checkpoint["state_dict"].values())).device)

    @classmethod
    def _build(cls, config: Any, arguments: dict[str, Any]) -> Self:
        """Build a module from a config that anybody may have written."""
        if not isinstance(config, Mapping) or "_target_" not in config:
            raise UserError(
                "this checkpoint has no config: pass the model whose weights it contains, as in "
                "VAEModule.load_from_checkpoint(path, vae=vae)"
            )
        node = OmegaConf.create({"module": config})
        check_config(node)
        if not issubclass(get_object(node.module._target_), cls):
            raise UserError(f"module: {node.module._target_} is not {cls.__name__}")
        module = build_from_config(node.module, **arguments)
        module.config = OmegaConf.to_container(node.module)
        return module

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["guard"] = self.guard.state_dict()
        checkpoint["initialized"] = self.vae.is_initialized
        checkpoint["dataset_size"] = self.objective.dataset_size
        if self.config:
            checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.config

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Older checkpoints, which only runs wrote, have none of these.
        if "guard" in checkpoint:
            self.guard.load_state_dict(checkpoint["guard"])
        self.vae.is_initialized = checkpoint.get("initialized", True)
        if self.objective.dataset_size is None:
            self.objective.dataset_size = checkpoint.get("dataset_size")
        self.steps_taken = checkpoint["global_step"]

    def on_train_start(self) -> None:
        self.objective.check_training(self.vae)
        size = count_images(self.trainer.train_dataloader)
        if size is not None:
            self.objective.dataset_size = size
        if self.objective.needs_dataset_size and self.objective.dataset_size is None:
            raise UserError(
                f"objective: {type(self.objective).__name__} needs the number of training images, "
                "which this data loader does not tell: set module.objective.dataset_size"
            )
        if self.schedule.interval == "validation" and not self.trainer.enable_validation:
            raise UserError(
                f"schedule: {type(self.schedule).__name__} needs validation images: pass a "
                "validation data loader, or set schedule=constant"
            )
        self.guard.start(self)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Initialize the model from the first batch, equally in every process."""
        if self.vae.is_initialized:
            return
        self.vae.initialize(read_batch(batch)[0])
        with torch.no_grad():
            for weight in self.state_dict().values():
                weight.copy_(broadcast_from_first_process(weight))
        self.guard.start(self)  # it keeps copies of the weights

    def on_train_end(self) -> None:
        self.steps_taken = self.global_step

    def forward(self, batch: Any) -> Tensor:
        """Reconstruct images: compute the mean of p(x|z), z being the mode of q(z|x), or its mean.

        Arguments:
            batch: Images or a batch, see `read_batch`.

        Returns:
            Images (B, *shape).
        """
        x, y = read_batch(batch)
        with self.vae.autocast_networks_only(x.device.type):
            model = self.vae.condition_on(y)
            return mean_at_total(model.decode(mode_or_mean(model.encode(x))), x)

    def terms(self, batch: Any, step: int | None = None) -> dict[str, Tensor]:
        """Compute the terms of the objective; autocast applies to the networks only.

        Arguments:
            batch: Images (B, *shape) and labels (B, ...), or another batch, see `read_batch`.
            step: The number of optimizer steps taken; None is that of the trainer.

        Returns:
            Named terms (B,) or () in nats per image, `loss` among them.
        """
        x, y = read_batch(batch)
        step = self.global_step if step is None else step
        self.vae.posterior.anneal(step)
        with self.vae.autocast_networks_only(x.device.type):
            return self.objective(self.vae.condition_on(y), x, step)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = read_batch(batch)
        self.check_batch(len(batch[0]))
        self.guard.record_batch(self, batch, batch_idx)
        terms = self.terms(batch)
        if not isinstance(self.trainer.fit_loop.epoch_loop, ShortLoop):
            means = {f"train/{name}": term.detach().mean() for name, term in terms.items()}
            self.log_dict(means, batch_size=len(batch[0]))
        elif self._is_logged():
            self._log_training(terms)
        loss = terms["loss"].mean()
        self.guard.record_loss(loss)
        return loss if self.trainer.accumulate_grad_batches == 1 else self._weigh(loss, batch_idx)

    def _weigh(self, loss: Tensor, batch_idx: int) -> Tensor:
        """Make the last step of an epoch the mean over its batches, of which there may be fewer.

        Lightning divides every loss by accumulate_grad_batches.
        """
        batches, steps = self.trainer.num_training_batches, self.trainer.accumulate_grad_batches
        if not math.isfinite(batches):
            return loss
        rest = int(batches) % steps
        return loss * (steps / rest) if rest and batch_idx >= batches - rest else loss

    def check_batch(self, images: int) -> None:
        """Raise a UserError if a batch of so many images is too small for the objective."""
        if images < self.objective.min_images:
            raise UserError(
                f"objective: {type(self.objective).__name__} compares the images of a batch, and "
                f"needs at least {self.objective.min_images}, but there is a batch of {images}: "
                "set a larger batch size, and drop_last=True in a data loader of your own"
            )

    def _is_logged(self) -> bool:
        """True if the terms of the next optimizer step of a vaelab run are logged."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        due = every and (self.global_step + 1) % every == 0
        return bool(due) and not accumulates_gradients(self.trainer)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.guard.check_gradients(optimizer)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.guard.settle(self)

    def _log_training(self, terms: dict[str, Tensor]) -> None:
        """Log to the loggers directly: Lightning's `log` takes longer than the step itself."""
        means = torch.stack([term.detach().float().mean() for term in terms.values()])
        means = self.trainer.strategy.reduce(means, reduce_op="mean").tolist()
        learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        logged = {f"train/{name}": mean for name, mean in zip(terms, means, strict=True)}
        logged |= {f"train/{name}": count for name, count in self.guard.logged_counts().items()}
        logged |= {"train/lr": learning_rate, "epoch": self.current_epoch}
        monitored = self.objective.criterion.removeprefix("val/")
        self.latest = {monitored: logged[f"train/{monitored}"]}
        for logger in self.trainer.loggers:
            logger.log_metrics(logged, self.global_step)
            logger.save()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._add_to_means(batch, batch_idx, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._add_to_means(batch, batch_idx, dataloader_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return latents (B, latent_dim): the means of q(z|x), estimated if there is no formula."""
        x, y = read_batch(batch)
        with self._noise_of_batch(batch_idx), self.vae.autocast_networks_only(x.device.type):
            return estimate_mean_twice(self.vae.condition_on(y).encode(x))[0]

    def _noise_of_batch(self, batch_idx: int) -> AbstractContextManager[None]:
        number = batch_idx * self.trainer.world_size + self.global_rank
        return seeded_noise(Stream.EVALUATION, self.seed, number)

    def _add_to_means(self, batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        """Add the terms of an evaluation batch to the means of its data loader."""
        while len(self.means) <= dataloader_idx:
            self.means.append(MeanTerms().to(self.device))
        batch = read_batch(batch)
        is_fitting = self.trainer.state.fn == TrainerFn.FITTING
        images, least = len(batch[0]), self.objective.min_images
        if images < least:  # as a last batch may be: its terms are not defined, and do not count
            if batch_idx == 0 and self.trainer.world_size == 1:
                self.check_batch(images)
            batch = tuple(torch.cat([part] * least) for part in batch)
        loader = get_evaluation_loader(self.trainer, dataloader_idx)
        self.objective.evaluated_images = count_images(loader)
        with self._noise_of_batch(batch_idx):
            terms = self.terms(batch, self.global_step if is_fitting else self.steps_taken)
        place = batch_idx, images, self.global_rank, self.trainer.world_size
        means = cast(MeanTerms, self.means[dataloader_idx])
        means.update(terms, count_new_images(loader, *place) if images >= least else 0)

    def on_validation_epoch_end(self) -> None:
        criterion = self._log_means("val").get(self.objective.criterion)
        is_compared = self.objective.has_arrived(self.global_step)
        if criterion is None or self.trainer.sanity_checking or not is_compared:
            return
        for each in self.trainer.lr_scheduler_configs:
            if each.reduce_on_plateau and self.trainer.state.fn == TrainerFn.FITTING:
                each.scheduler.step(criterion.item())  # type: ignore[arg-type]

    def on_test_epoch_end(self) -> None:
        self._log_means("test")

    def _log_means(self, prefix: str) -> dict[str, Tensor]:
        """Log the means of the terms over the images of each data loader, and return them."""
        logged: dict[str, Tensor] = {}
        for number, means in enumerate(cast(list[MeanTerms], self.means)):
            if means.update_called:  # an earlier evaluation may have had more loaders
                suffix = f"/dataloader_idx_{number}" if number else ""
                values = means.compute()
                logged |= {
                    f"{prefix}/{name}{suffix}": values[name].float().to(self.device)
                    for name in values
                }
            means.reset()
        for key, mean in logged.items():
            shown = key == self.objective.criterion
            # Every process has the same mean already; sync_dist only silences a warning.
            self.log(key, mean, prog_bar=shown, sync_dist=True, add_dataloader_idx=False)
        return logged

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients; Lightning would refuse a fused optimizer with bf16-mixed."""
        if gradient_clip_val and self.trainer.precision == "bf16-mixed":
            by_value = gradient_clip_algorithm == "value"
            clip = nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_
            clip(self.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the model's parameters, and a critic's with a learning rate of their own."""
        groups: list[dict[str, Any]] = [{"params": list(self.vae.parameters())}]
        if critic := list(self.objective.parameters()):
            groups.append({"params": critic, "lr": self.objective.lr})
        return groups

    def build_optimizer(self) -> Optimizer:
        """Build the optimizer of the model and the objective.

        Raises:
            UserError: If the class refuses its arguments, or needs what no step here provides.
        """
        try:
            optimizer = self.make_optimizer(self.parameter_groups())
        except (TypeError, ValueError) as error:
            raise UserError(f"optimizer: {error}") from error
        name = type(optimizer).__name__
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        if closure and closure.default is closure.empty:
            raise UserError(
                f"optimizer: {name} computes the loss several times in a step, each time with "
                "other noise: choose another, such as optimizer=adam"
            )
        if isinstance(optimizer, torch.optim.SparseAdam):
            raise UserError(
                f"optimizer: {name} needs sparse gradients, which no model here has: set "
                "optimizer=adam"
            )
        return optimizer

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer()
        scheduler = self.schedule.build_scheduler(
            optimizer, lambda: self.trainer.estimated_stepping_batches
        )
        if scheduler is None:
            return optimizer
        config: dict[str, Any] = {"scheduler": scheduler, "interval": self.schedule.interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            # Lightning would let it step after the checkpoints at the end of an epoch.
            config |= {"interval": "epoch", "frequency": NEVER}
            config["monitor"] = self.objective.criterion
        return {"optimizer": optimizer, "lr_scheduler": config}


@torch.no_grad()
def _store_channels_last(module: nn.Module) -> None:
    """Store weights of images and volumes with the channels last; series have no such format."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim in formats:
            tensor.data = tensor.data.to(memory_format=formats[tensor.ndim])
