"""A continuous flow that is fitted to the latents: `sampler=flow_matching`.

Reference: Flow Matching for Generative Modeling (Lipman et al., 2023), arXiv:2210.02747
"""

from functools import partial

import torch
from torch import Tensor

from vaelab.distributions.probability_flow import Solver
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.flow_matching import FlowMatching
from vaelab.samplers.base import check_at_least_one
from vaelab.samplers.learned import LearnedSampler
from vaelab.vae import VAE


class FlowMatchingSampler(LearnedSampler):
    """The ODE of `prior=flow_matching`, from T e with e ~ N(0, I) and temperature T.

    It is for runs that keep their own prior. A run with `objective=prior prior=flow_matching`
    trains the same network on new samples of q(z|x) in each step, and can use labels.

    Arguments:
        width: The width of the MLP, for latents without a grid.
        channels: The number of channels of the U-Net, for latents with a grid.
        blocks: The number of residual blocks, see `FlowMatching`.
        ode_steps, solver: The number of steps of the ODE, and its solver, euler or heun.
        steps, patience, batch_size, lr: See `LearnedSampler`; the value on held-out latents is
            minus the loss.
    """

    family = FlowMatching

    def __init__(
        self,
        temperature: float = 1.0,
        width: int = 256,
        channels: int = 32,
        blocks: int = 3,
        ode_steps: int = 20,
        solver: Solver = "heun",
        steps: int = 10_000,
        patience: int = 3000,
        batch_size: int = 256,
        lr: float = 1e-3,
    ):
        super().__init__(temperature, steps, patience, batch_size, lr)
        check_at_least_one(width=width, channels=channels, blocks=blocks, ode_steps=ode_steps)
        self.build_prior = partial(
            self.family,
            width=width,
            channels=channels,
            blocks=blocks,
            repeats=1,
            ode_steps=ode_steps,
            solver=solver,
        )
        self.latent_shape: tuple[int, ...] | None = None

    def prepare(self, vae: VAE) -> None:
        super().prepare(vae)
        self.latent_shape = vae.prior.latent_shape

    def build_network(self, latents: Tensor) -> FlowMatching:
        prior = self.build_prior(latents.shape[-1], ())
        prior.latent_shape = self.latent_shape or prior.latent_shape
        prior.prepare(Diagonal(latents.shape[-1]))
        return prior

    def log_prob(self, latents: Tensor) -> Tensor:
        """Compute minus the loss (B,) of latents (B, latent_dim)."""
        return -self.network.compute_loss(latents)

    def sample_standardized(self, n: int) -> Tensor:
        noise = torch.randn(n, self.network.latent_dim, device=self.mean.device)
        return self.network(None).transport(self.temperature * noise)
