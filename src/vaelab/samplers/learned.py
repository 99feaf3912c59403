"""What the samplers that train a network on the codes have in common."""

import math
from abc import abstractmethod
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.runtime.distributed import progress_bar
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.samplers.base import FittedSampler, check_at_least_one

HELD_OUT = 10  # one code in so many, for early stopping
EVERY = 100  # steps between two looks at them


class LearnedSampler(FittedSampler):
    """Maximises the mean of log p(z), or of a bound on it, by Adam; its rate falls as a cosine.

    The weights kept are the best on a tenth of the codes that is held out.

    Arguments:
        steps: The largest number of steps.
        patience: Steps without a better value after which it stops.
        batch_size: Codes in a step.
        lr: The learning rate at the start.
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
            raise ValueError(f"sampler.lr={lr}: it must lie between 0 and 1")
        self.steps, self.patience, self.batch_size, self.lr = steps, patience, batch_size, lr

    @abstractmethod
    def build(self, codes: Tensor) -> nn.Module:
        """An untrained network for such codes."""

    @abstractmethod
    def log_prob(self, codes: Tensor) -> Tensor:
        """log p(z) of codes (B, latent_dim), or a bound on it from below, (B,)."""

    def groups(self) -> list[dict[str, Any]]:
        """The parameters, as the optimizer wants them."""
        return [{"params": list(self.network.parameters())}]

    @torch.enable_grad()
    def learn(self, codes: Tensor) -> None:
        self.network = self.build(codes).to(codes)
        held_out, rest = self._parts(codes)
        optimizer = torch.optim.Adam(self.groups(), self.lr)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        best, kept, found = -math.inf, {}, 0
        bar = progress_bar(range(self.steps), f"fitting {self.name}")
        for step in bar:
            self._step(rest, optimizer)
            rate.step()
            if (step + 1) % EVERY and step + 1 < self.steps:
                continue
            value = self._value(held_out)
            if not math.isfinite(value):
                raise ValueError(f"sampler.lr={self.lr}: the fit has diverged, lower it")
            if value > best:
                best, kept, found = value, deepcopy(self.network.state_dict()), step
            bar.set_postfix_str(f"{value:.3f} nats, best {best:.3f}")
            if step - found >= self.patience:
                break
        bar.close()
        self.network.load_state_dict(kept)
        self.network.eval()

    def _parts(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(codes)).to(codes.device)
        count = max(1, len(codes) // HELD_OUT)
        return codes[order[:count]], codes[order[count:]]

    def _step(self, codes: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.network.train()
        batch = torch.randint(len(codes), (self.batch_size,)).to(codes.device)
        optimizer.zero_grad()
        (-self.log_prob(codes[batch]).mean()).backward()
        optimizer.step()

    @torch.no_grad()
    def _value(self, codes: Tensor) -> float:
        """The mean over codes, with the same noise every time."""
        self.network.eval()
        with seeded_noise(Stream.EVALUATION):
            return self.log_prob(codes).mean().item()
