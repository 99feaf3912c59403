"""A second VAE, of the codes: `sampler=two_stage`.

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

HASTE = 10  # of the scale


class TwoStageSampler(LearnedSampler):
    """z ~ p(z|u) = N(z; m(u), s^2 I), its noise included, with u ~ N(0, T^2 I).

    The codes fill all of R^latent_dim where images do not fill the space of theirs, so that a VAE
    with as many latents u as z has dimensions can match their distribution. s is learned, and T is
    the temperature.

    Arguments:
        hidden: The widths of the encoder, and of the decoder turned round.
        steps, patience, batch_size, lr: as `Learned` has them.
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

    def build(self, codes: Tensor) -> VAE:
        dim = codes.shape[-1]
        return VAE(
            (dim,),
            latent_dim=dim,
            encoder=partial(Encoder, hidden=self.hidden),
            decoder=partial(Decoder, hidden=self.hidden),
            posterior=Diagonal,
            prior=UnitNormal,
            likelihood=partial(Gaussian, scale="learned"),
        )

    def groups(self) -> list[dict[str, Any]]:
        """Those of s have a rate of their own, or s is still too large when the rest is trained."""
        scale = list(self.network.likelihood.parameters())
        rest = [*self.network.encoder.parameters(), *self.network.decoder.parameters()]
        return [{"params": rest}, {"params": scale, "lr": HASTE * self.lr}]

    def log_prob(self, codes: Tensor) -> Tensor:
        """The ELBO."""
        u, kl = sample_with_kl(self.network.encode(codes), self.network.latents())
        return self.network.decode(u).log_prob(codes) - kl.sum(-1)

    def draw(self, n: int) -> Tensor:
        u = self.temperature * self.network.latents().sample((n,))
        return self.network.decode(u).sample()
