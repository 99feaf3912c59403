"""What the samplers that train a network on the codes have in common."""

from abc import abstractmethod
from copy import deepcopy

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vaelab.noise import Stream, noise
from vaelab.samplers.base import Fitted, check_at_least_one

HELD_OUT = 10  # one code in so many, for early stopping


class Learned(Fitted):
    """Maximises the mean of log p(z), or of a bound on it, by Adam.

    The weights kept are the best on a tenth of the codes that is held out.

    Arguments:
        epochs: The largest number of passes through the codes.
        patience: Epochs without a better value after which it stops.
        batch_size: Codes in a step.
        lr: The learning rate.
    """

    network: nn.Module

    def __init__(
        self,
        temperature: float = 1.0,
        epochs: int = 100,
        patience: int = 10,
        batch_size: int = 256,
        lr: float = 1e-3,
    ):
        super().__init__(temperature)
        check_at_least_one(epochs=epochs, patience=patience, batch_size=batch_size)
        if not 0 < lr < 1:
            raise ValueError(f"sampler.lr={lr}: it must lie between 0 and 1")
        self.epochs, self.patience, self.batch_size, self.lr = epochs, patience, batch_size, lr

    @abstractmethod
    def build(self, codes: Tensor) -> nn.Module:
        """An untrained network for such codes."""

    @abstractmethod
    def log_prob(self, codes: Tensor) -> Tensor:
        """log p(z) of codes (B, latent_dim), or a bound on it from below, (B,)."""

    @torch.enable_grad()
    def learn(self, codes: Tensor) -> None:
        self.network = self.build(codes).to(codes)
        held_out, rest = self._parts(codes)
        optimizer = torch.optim.Adam(self.network.parameters(), self.lr)
        best, kept, waited = -torch.inf, deepcopy(self.network.state_dict()), 0
        progress = tqdm(range(self.epochs), f"fitting {self.name}", leave=False, disable=None)
        for _ in progress:
            self._pass_through(rest, optimizer)
            value = self._value(held_out)
            waited += 1
            if value > best:
                best, kept, waited = value, deepcopy(self.network.state_dict()), 0
            progress.set_postfix_str(f"{value:.3f} nats, best {best:.3f}")
            if waited >= self.patience:
                break
        progress.close()
        self.network.load_state_dict(kept)
        self.network.eval()

    def _parts(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(codes)).to(codes.device)
        count = max(1, len(codes) // HELD_OUT)
        return codes[order[:count]], codes[order[count:]]

    def _pass_through(self, codes: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.network.train()
        for batch in torch.randperm(len(codes)).to(codes.device).split(self.batch_size):
            optimizer.zero_grad()
            (-self.log_prob(codes[batch]).mean()).backward()
            optimizer.step()

    @torch.no_grad()
    def _value(self, codes: Tensor) -> float:
        """The mean over codes, with the same noise every time."""
        self.network.eval()
        with noise(Stream.EVALUATION):
            return self.log_prob(codes).mean().item()
