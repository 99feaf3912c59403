"""The contract of an objective, and the steps that every objective is written in."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence
from torch.nn.utils.parametrizations import spectral_norm

from vaelab.distributions.layers import Layers
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHots

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Objective(nn.Module):
    """What training minimises.

    Its own parameters, those of a critic, are a group of the one optimizer, with their own `lr`.
    Statistics of the batch are those of the images of one process: under trainer=ddp of a share.

    Attributes:
        monitor: The logged value that checkpoints and sweeps watch; larger is better.
        dataset_size: The number of training images, known before the first step.
        lr: The learning rate of its own parameters.
        layers: Whether it can train a model of several stochastic layers.
        needs_start: Whether it goes on from a finished run, which start= names.
        minimises_likelihood: Whether -log p(x|z) is what it minimises beside the KL.
    """

    monitor = "val/elbo"
    layers = False
    dataset_size: int | None = None
    lr: float | None = None
    needs_start = False
    minimises_likelihood = True

    def prepare(self, vae: "VAE") -> None:
        """Called once: refuse a model that it cannot train, and build what depends on the model.

        By default one without a density q(z|x) is refused, and one whose draws are all the same.
        """
        if not vae.posterior.density:
            raise ValueError(
                f"{type(vae.posterior).__name__} is no density, so there is no KL for "
                f"{type(self).__name__}: set objective=autoencoder, or another posterior="
            )
        if not vae.posterior.random:
            raise ValueError(
                f"{type(vae.posterior).__name__} gives each image one code, so its KL has no "
                f"gradient for {type(self).__name__}: set objective=vq, or another posterior="
            )

    @abstractmethod
    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        """Images x (B, *shape) to named terms in nats per image, `loss` among them.

        A term is (B,), or () for a statistic of the batch. Sums run over pixels and latent
        dimensions; the mean over images is the caller's. The gradient of `loss` is the method's,
        its value need not be.
        """


def sample_with_log_prob(q: Distribution, samples: int | None = None) -> tuple[Tensor, Tensor]:
    """Reparameterised z (samples, B, D) and log q(z|x) (samples, B); (B, D) and (B,) for None."""
    size = torch.Size() if samples is None else torch.Size([samples])
    if both := getattr(q, "rsample_and_log_prob", None):  # of a flow, in one pass
        return both(size)
    z = q.rsample(size)
    return z, q.log_prob(z)


def sample_with_kl(q: Distribution, p: Distribution) -> tuple[Tensor, Tensor]:
    """Reparameterised z (B, D) and KL(q || p) in nats, to be summed over its last dimension.

    The closed form of the KL where there is one; of several layers that of each (B, L) given the
    draws of those before it; else its estimate log q(z) - log p(z) (B, 1).
    """
    if isinstance(q, Layers):
        return q.rsample_and_kl()
    kl = closed_form_kl(q, p)
    if kl is not None:
        return q.rsample(), kl
    z, log_q = sample_with_log_prob(q)
    return z, (log_q - p.log_prob(z)).unsqueeze(-1)


def closed_form_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) by latent dimension (B, D) where q and p have independent dimensions.

    In all (B, 1) where it is only known in all; None where it is not.
    """
    try:
        if isinstance(q, DiagonalNormal) and isinstance(p, DiagonalNormal):
            return q.kl(p)
        if isinstance(q, OneHots) and isinstance(p, OneHots):
            return q.kl(p)
        if isinstance(q, Independent) and isinstance(p, Independent):
            return kl_divergence(q.base_dist, p.base_dist)
        return kl_divergence(q, p).unsqueeze(-1)
    except NotImplementedError:
        return None


def sample_prior(p: Distribution, count: int) -> Tensor:
    """Draws (count, D) of a prior, one for each image where it depends on the image's label."""
    return p.sample() if p.batch_shape else p.sample(torch.Size([count]))


def importance_terms(
    vae: "VAE", x: Tensor, z: Tensor, log_q: Tensor, p: Distribution
) -> tuple[Tensor, Tensor]:
    """log p(x|z) and log q(z|x) - log p(z) of draws z, each (samples, B).

    Their difference is the log importance weight log p(x, z) - log q(z|x), whose mean is the ELBO.

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
    """
    return vae.decode(z).log_prob(x), log_q - p.log_prob(z)


def log_mean_exp(x: Tensor) -> Tensor:
    """log of the mean of exp(x) over the first dimension."""
    return x.logsumexp(0) - math.log(len(x))


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Inside, these modules are constants: gradients go through them and not to their parameters.

    It holds for what is computed inside, however it is that they come to be called.
    """
    weights = [w for module in modules for w in module.parameters() if w.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def check_no_parameters(module: nn.Module, reason: str) -> None:
    """Refuse parts with parameters that an objective would leave as they are."""
    if any(weight.requires_grad for weight in module.parameters()):
        raise ValueError(reason)


def check_prior_is_fixed(vae: "VAE", objective: Objective) -> None:
    """Refuse a learned prior where there is no KL."""
    name = type(objective).__name__
    reason = "has no KL that would train the prior: set prior=normal (codes for posterior=vq)"
    check_no_parameters(vae.prior, f"{name} {reason}")


def normalize_spectrally(layer: Any) -> None:
    """Keep the largest singular value of a layer's weight at 1, which a weight of 0 has none of.

    So one that begins at 0, as the last of a residual block does, begins at random instead.
    """
    if not layer.weight.any():
        layer.reset_parameters()
    spectral_norm(layer)


def check_not_negative(**settings: float) -> None:
    for name, value in settings.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"objective.{name}={value}: it must be a finite number, not negative")


def check_at_least_one(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"objective.{name}={value}: it must be at least 1")
