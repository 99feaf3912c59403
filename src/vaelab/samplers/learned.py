"""The base class of samplers that train a network on the latents."""

import math
from abc import abstractmethod
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.runtime.distributed import progress_bar
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.samplers.base import FittedSampler, check_at_least_one

MIN_LATENTS = 100  # of which 10 are held out
HELD_OUT_RATIO = 10  # one in so many latents is held out for early stopping
VALIDATION_INTERVAL = 100  # steps


class LearnedSampler(FittedSampler):
    """A sampler that maximizes the mean of log p(z), or of a lower bound, with Adam.

    The learning rate decays to 0 on a cosine. A tenth of the latents is held out, and the weights
    with the best value on them are kept. At least 100 latents are needed.

    Arguments:
        steps: The maximum number of optimizer steps.
        patience: The number of steps without improvement after which training stops.
        batch_size: The number of latents in a step.
        lr: The initial learning rate.

    Raises:
        UserError: If a setting is out of range.
    """

    network: Any

    def __init__(
        self,
        temperature: float = 1.0,
        steps: int = 3000,
        patience: int = 1000,
        batch_size: int = 256,
        lr: float = 1e-3,
    ):
        super().__init__(temperature)
        check_at_least_one(steps=steps, patience=patience, batch_size=batch_size)
        if not 0 < lr < 1:
            raise UserError(f"sampler.lr={lr}: it must lie between 0 and 1")
        self.steps, self.patience, self.batch_size, self.lr = steps, patience, batch_size, lr

    @abstractmethod
    def build_network(self, latents: Tensor) -> nn.Module:
        """Build an untrained network for latents (N, latent_dim)."""

    @abstractmethod
    def log_prob(self, latents: Tensor) -> Tensor:
        """Compute log p(z), or a lower bound on it, (B,) of latents (B, latent_dim)."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups for the optimizer."""
        return [{"params": list(self.network.parameters())}]

    def min_latents(self, latent_dim: int) -> int:
        return MIN_LATENTS

    @torch.enable_grad()
    def fit_standardized(self, latents: Tensor) -> None:
        self.network = self.build_network(latents).to(latents)
        held_out, training = self._split_held_out(latents)
        optimizer = torch.optim.Adam(self.parameter_groups(), self.lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        best_value, best_weights, best_step = -math.inf, {}, 0
        bar = progress_bar(range(self.steps), f"fitting {self.name}")
        for step in bar:
            self._take_step(training, optimizer)
            scheduler.step()
            if (step + 1) % VALIDATION_INTERVAL and step + 1 < self.steps:
                continue
            value = self._validate(held_out)
            if not math.isfinite(value):
                raise UserError(f"sampler.lr={self.lr}: the fit has diverged, lower it")
            if value > best_value:
                best_value, best_step = value, step
                best_weights = deepcopy(self.network.state_dict())
            bar.set_postfix_str(f"{value:.3f} nats, best {best_value:.3f}")
            if step - best_step >= self.patience:
                break
        bar.close()
        self.network.load_state_dict(best_weights)
        self.network.eval()

    def _split_held_out(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Split latents at random into the held-out ones and those for training."""
        order = torch.randperm(len(latents)).to(latents.device)
        count = max(1, len(latents) // HELD_OUT_RATIO)
        return latents[order[:count]], latents[order[count:]]

    def _take_step(self, latents: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.network.train()
        batch = torch.randint(len(latents), (self.batch_size,)).to(latents.device)
        optimizer.zero_grad()
        (-self.log_prob(latents[batch]).mean()).backward()
        optimizer.step()

    @torch.no_grad()
    def _validate(self, latents: Tensor) -> float:
        """Compute the mean of log_prob, with the same noise at every step."""
        self.network.eval()
        with seeded_noise(Stream.EVALUATION):
            return self.log_prob(latents).mean().item()
