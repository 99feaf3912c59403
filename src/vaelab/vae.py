"""The model: encoder, posterior, prior, decoder and likelihood put together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaelab.likelihoods.base import Likelihood
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior

EXCESS = 0.5  # nats, above what the codes of a small Bernoulli decoder cost at its start
QUIETED = 256  # images that this is found from
TRIES = 20


class VAE(nn.Module):
    """q(z|x), p(z) and p(x|z) as distributions; what fits what is worked out here.

    Attributes:
        layered: Whether z is of several stochastic layers, with networks between them.
        conditional: Whether it has to be `condition_on` the labels of its images.

    Arguments:
        shape: Of one x, (C, H, W) for pictures.
        latent_dim: The number of latent dimensions.
        encoder, decoder: From an architecture, called as models/base.py says.
        posterior: Called with latent_dim.
        prior: Called with latent_dim and shape.
        likelihood: Called with shape.
    """

    layered = False
    conditional = False

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        posterior: Callable[[int], Posterior],
        prior: Callable[[int, Sequence[int]], Prior],
        likelihood: Callable[[Sequence[int]], Likelihood],
    ):
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"latent_dim={latent_dim}: it must be at least 1")
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self._autocast: Callable[[], AbstractContextManager] = nullcontext
        self.posterior = posterior(latent_dim)
        self.prior = prior(latent_dim, self.shape)
        self.likelihood = likelihood(self.shape)
        if self.prior.support not in (None, self.posterior.support):
            theirs, ours = (
                "real vectors" if part.support is constraints.real_vector else part.support
                for part in (self.posterior, self.prior)
            )
            raise ValueError(
                f"the posterior lives on {theirs} and the prior on {ours}: choose a prior= on the "
                "posterior's support"
            )
        self.prior.prepare(self.posterior)
        self.encoder, self.decoder = self.build_networks(encoder, decoder)
        self.prior.check_encoder(self.encoder)

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        """Encoder and decoder with the sizes that posterior and likelihood ask for."""
        outputs = (self.likelihood.outputs, *self.shape[1:])
        return encoder(self.shape, self.posterior.inputs), decoder(self.latent_dim, outputs)

    def encode(self, x: Tensor) -> Distribution:
        """Images (B, *shape) to q(z|x)."""
        return self.posterior(self.read(x))

    def encode_with_frozen_copy(self, x: Tensor) -> tuple[Distribution, Distribution]:
        """q(z|x), and the same again with its parameters cut: a gradient of its log density is one
        by z alone."""
        out = self.read(x)
        return self.posterior(out), self.posterior(out.detach())

    def read(self, x: Tensor) -> Tensor:
        """Images (B, *shape) to the parameters of q(z|x) (B, posterior.inputs)."""
        return self._run(self.encoder, x)

    def decode(self, z: Tensor) -> Distribution:
        """Codes (*, latent_dim) to p(x|z), with batch shape (*)."""
        out = self._run(self.decoder, z.reshape(-1, z.shape[-1]))
        return self.likelihood(out.reshape(*z.shape[:-1], *out.shape[1:]))

    def latents(self) -> Distribution:
        """The prior p(z)."""
        return self.posterior.prior_on_z(self.prior(self.encode))

    def check_labels(self, y: Tensor) -> None:
        """Refuse labels that it cannot be given."""

    def condition_on(self, y: Tensor) -> Self:
        """The model with the labels of its images known; this one has no use for them."""
        return self

    def initialize(self, x: Tensor) -> None:
        """Start from images x (N, *shape): the output bias where p(x|z) fits them without any z."""
        self.decoder.initialize(self.likelihood.initialize(x, self.decoder.shared))
        self.prior.initialize(x)
        x = x[:: -(-len(x) // QUIETED)]
        with torch.no_grad():
            self.posterior.initialize(self.read(x))
        self._reduce_initial_noise(x)

    @torch.no_grad()
    def _reduce_initial_noise(self, x: Tensor) -> None:
        """Divide the output weights by 10 until random codes cost at most EXCESS nats.

        As drawn, their noise costs a normal of small scale hundreds of nats. A decoder learns first
        to do without it, and so without its codes, and does not come back to them: collapse.
        """
        z = self.encode(x).rsample()
        fit = self.decode(torch.zeros_like(z)).log_prob(x).mean()
        for _ in range(TRIES):
            if not fit - self.decode(z).log_prob(x).mean() > EXCESS:
                return
            self.decoder.shrink(0.1)

    @contextmanager
    def autocast_networks_only(self, device: str) -> Iterator[None]:
        """Inside, encoder and decoder alone follow the autocast that is on outside.

        Flows, mixtures and all that is computed from distributions is then float32.
        """
        if not torch.is_autocast_enabled(device):
            yield
            return
        self._autocast = partial(torch.autocast, device, torch.get_autocast_dtype(device))
        try:
            with torch.autocast(device, enabled=False):
                yield
        finally:
            self._autocast = nullcontext

    def _run(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """What a network makes of x, in float32 at least, as distributions want it."""
        with self._autocast():
            out = network(x)
        return out.to(torch.promote_types(out.dtype, torch.float32))
