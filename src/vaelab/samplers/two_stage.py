"""A second VAE that is fitted to the latents: `sampler=two_stage`.

Reference: Diagnosing and Enhancing VAE Models (Dai and Wipf, 2019), section 4, arXiv:1903.05789
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from vaelab.likelihoods.gaussian import Gaussian
from vaelab.models.mlp import Decoder, Encoder
from vaelab.objectives.base import sample_with_kl
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.samplers.base import check_at_least_one
from vaelab.samplers.learned import LearnedSampler
from vaelab.vae import VAE

SCALE_LR_FACTOR = 10  # the learning rate of s is larger than lr by this factor


class TwoStageSampler(LearnedSampler):
    """A VAE on latents with p(z|u) = N(z; m(u), s^2 I) and u ~ N(0, T^2 I) at temperature T.

    Images lie near a manifold of lower dimension than their space, but their latents fill all of
    R^latent_dim. A VAE with as many latents u as dimensions of z can therefore match the
    distribution of z. The scale s is learned, and samples include its noise.

    Arguments:
        hidden: The widths of the encoder; the decoder reverses them.
        steps, patience, batch_size, lr: See `LearnedSampler`.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        hidden: Sequence[int] = (256, 256),
        steps: int = 5000,
        patience: int = 2000,
        batch_size: int = 256,
        lr: float = 1e-3,
    ):
        super().__init__(temperature, steps, patience, batch_size, lr)
        check_at_least_one(hidden=min(hidden, default=1))
        self.hidden = list(hidden)

    def build_network(self, latents: Tensor) -> VAE:
        dim = latents.shape[-1]
        return VAE(
            (dim,),
            latent_dim=dim,
            encoder=partial(Encoder, hidden=self.hidden),
            decoder=partial(Decoder, hidden=self.hidden),
            posterior=Diagonal,
            prior=UnitNormal,
            likelihood=partial(Gaussian, scale="learned"),
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the networks and the scale s as two groups.

        s has a larger learning rate; otherwise it would still be too large when the networks have
        converged.
        """
        scale = list(self.network.likelihood.parameters())
        networks = [*self.network.encoder.parameters(), *self.network.decoder.parameters()]
        return [{"params": networks}, {"params": scale, "lr": SCALE_LR_FACTOR * self.lr}]

    def log_prob(self, latents: Tensor) -> Tensor:
        """Compute the ELBO (B,) of latents (B, latent_dim)."""
        u, kl = sample_with_kl(self.network.encode(latents), self.network.latents())
        return self.network.decode(u).log_prob(latents) - kl.sum(-1)

    def sample_standardized(self, n: int) -> Tensor:
        u = self.temperature * self.network.latents().sample((n,))
        return self.network.decode(u).sample()
