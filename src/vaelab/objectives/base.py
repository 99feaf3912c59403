"""The contract of an objective, and the functions that objectives are built from."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence
from torch.nn.utils.parametrizations import spectral_norm

from vaelab.distributions.layers import HierarchicalNormal
from vaelab.distributions.normal import DiagonalNormal
from vaelab.distributions.one_hot import OneHotAndNormal
from vaelab.kl.base import KLWeighting
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Objective(nn.Module):
    """The loss that training minimises.

    An objective may have parameters, such as those of a critic. The optimizer trains them in a
    separate parameter group with the learning rate `lr`. Statistics of the batch are computed from
    the images of one process; under trainer=ddp they are not reduced over processes.

    A run keeps the weights with the largest value of `criterion`, which is what is trained: minus
    the loss with the KL term in its final form. Only validations after a step with the final weight
    of the KL are compared (`has_arrived`); until the first of them, the latest weights are kept.
    The losses of critics are left out, because a critic that improves makes them incomparable.

    Attributes:
        min_images: The fewest images of a batch for which the terms are defined.
        evaluated_images: The number of images that are evaluated, set before each evaluation batch
            if it is known.
        monitor: The logged metric that sweeps compare runs by; larger is better.
        criterion: The logged metric that the best weights of a run have the largest value of. It is
            `monitor` if training maximises that, and else the term `criterion`.
        trains_bound: True if training maximises `monitor` where the final KL has weight 1.
        dataset_size: The number of training images, set before the first step if it is known.
        needs_dataset_size: True if it cannot train without that number.
        lr: The learning rate of the objective's parameters.
        supports_layers: True if it can train a model with several stochastic layers.
        needs_start: True if training must start from a finished run, given by start=.
        trains_own_loss: True if it can train a prior with a loss of its own.
        maximises_likelihood: True if the reconstruction term of the loss is -log p(x|z).
    """

    monitor = "val/elbo"
    trains_bound = True
    min_images = 1
    evaluated_images: int | None = None
    supports_layers = False
    dataset_size: int | None = None
    needs_dataset_size = False
    lr: float | None = None
    needs_start = False
    trains_own_loss = False
    maximises_likelihood = True

    def prepare(self, vae: "VAE") -> None:
        """Check that the objective can train the model, and build what depends on the model.

        It is called once. By default the posterior must have a density and samples that vary.

        Raises:
            UserError: If the objective cannot train this model.
        """
        name, posterior = type(self).__name__, type(vae.posterior).__name__
        if not vae.posterior.has_density:
            raise UserError(
                f"{name} needs a posterior with a density, but {posterior} is a point mass: set "
                "objective=autoencoder, or another posterior= (diagonal, full, iaf, ...)"
            )
        if not vae.posterior.is_random:
            raise UserError(
                f"{name} needs a posterior whose samples vary, but {posterior} maps an image to a "
                "single point, so the KL has no gradient: set objective=vq, or another posterior= "
                "(diagonal, full, iaf, ...)"
            )

    def start(self, vae: "VAE", x: Tensor, y: Tensor) -> None:
        """Initialize what depends on the trained model that a new run starts from.

        It is called after the weights of start= are loaded.

        Arguments:
            x: Training images (N, *shape).
            y: Their labels (N, ...).
        """

    def check_range(self, low: float, high: float) -> None:
        """Raise a UserError if the objective cannot compare pixels between low and high."""

    def check_training(self, vae: "VAE") -> None:
        """Check what matters only while the model is trained; `prepare` checks the rest.

        Raises:
            UserError: If the training would not maximise what it claims to.
        """

    @property
    def weighting(self) -> KLWeighting | None:
        """The weighting of the KL; None if the objective has none."""
        return getattr(self, "kl", None)

    @property
    def criterion(self) -> str:
        is_plain = self.weighting is None or self.weighting.is_plain
        return self.monitor if self.trains_bound and is_plain else "val/criterion"

    def has_arrived(self, steps: int) -> bool:
        """Return True if the last of so many optimizer steps minimised the final loss."""
        return self.weighting is None or self.weighting.has_arrived(steps)

    @abstractmethod
    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        """Compute the named terms of the loss, in nats per image.

        Arguments:
            vae: The model.
            x: Images (B, *shape).
            step: The number of optimizer steps taken.

        Returns:
            `loss`, the terms of `monitor` and `criterion`, and others to log. Each term is (B,), or
            () for a statistic of the batch, summed over pixels and latent dimensions; the caller
            averages over images. Only the gradient of `loss` is used for training, so its value may
            differ from the objective.
        """


def sample_with_log_prob(q: Distribution, samples: int | None = None) -> tuple[Tensor, Tensor]:
    """Sample z from q with the reparameterisation trick, and compute log q(z|x).

    Arguments:
        q: The posterior q(z|x), with batch shape (B,) and event shape (D,).
        samples: The number of samples for each image; None is one sample without a dimension.

    Returns:
        z (samples, B, D) and log q(z|x) (samples, B) in nats, or (B, D) and (B,) for None.
    """
    size = torch.Size() if samples is None else torch.Size([samples])
    if sample_both := getattr(q, "rsample_and_log_prob", None):  # a flow computes both in one pass
        return sample_both(size)
    z = q.rsample(size)
    return z, q.log_prob(z)


def sample_with_kl(q: Distribution, p: Distribution) -> tuple[Tensor, Tensor]:
    """Sample z from q with the reparameterisation trick, and compute KL(q || p).

    The KL is exact where a closed form is known. Otherwise it is estimated from the same sample:

        KL(q || p) = E_q[log q(z) - log p(z)]

    Returns:
        z (B, D) and the KL in nats, to be summed over its last dimension: (B, D) by latent
        dimension, (B, L) by stochastic layer (each exact, given the samples of the layers before
        it), or (B, 1) if only the total is known.
    """
    if isinstance(q, HierarchicalNormal):
        return q.rsample_and_kl()
    kl = closed_form_kl(q, p)
    if kl is not None:
        return q.rsample(), kl
    z, log_q = sample_with_log_prob(q)
    return z, (log_q - p.log_prob(z)).unsqueeze(-1)


def closed_form_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """Compute KL(q || p) in nats, or return None if no closed form is known.

    Returns:
        (B, D) by latent dimension if the dimensions of q and of p are independent, (B, 1) if only
        the total is known, or None.
    """
    try:
        if isinstance(q, DiagonalNormal) and isinstance(p, DiagonalNormal):
            return q.elementwise_kl(p)
        if isinstance(q, OneHotAndNormal) and isinstance(p, OneHotAndNormal):
            return q.kl_per_variable(p)
        if isinstance(q, Independent) and isinstance(p, Independent):
            return kl_divergence(q.base_dist, p.base_dist)
        return kl_divergence(q, p).unsqueeze(-1)
    except NotImplementedError:
        return None


def sample_prior(p: Distribution, count: int) -> Tensor:
    """Sample z (count, D) from a prior, without a gradient.

    A prior that depends on labels has one distribution for each image, and gives one sample each.
    """
    return p.sample() if p.batch_shape else p.sample(torch.Size([count]))


def importance_terms(
    vae: "VAE", x: Tensor, z: Tensor, log_q: Tensor, p: Distribution
) -> tuple[Tensor, Tensor]:
    """Compute the two terms of the log importance weights of samples z.

        log w = log p(x|z) - (log q(z|x) - log p(z)),    E_q[log w] = ELBO

    Arguments:
        x: Images (B, *shape).
        z, log_q: Samples (samples, B, D) of q(z|x) and their log q(z|x) (samples, B).
        p: The prior p(z).

    Returns:
        log p(x|z) and log q(z|x) - log p(z), each (samples, B).

    Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8, arXiv:1509.00519
    """
    return vae.decode(z).log_prob(x), log_q - p.log_prob(z)


def log_mean_exp(x: Tensor) -> Tensor:
    """Compute log(1/K sum_k exp(x_k)) over the K rows of x."""
    return x.logsumexp(0) - math.log(len(x))


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Treat the parameters of these modules as constants inside the `with` block.

    Gradients flow through the modules to their inputs, but not to their parameters. This holds for
    everything that the block computes, even if other modules call these.
    """
    parameters = [w for module in modules for w in module.parameters() if w.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def check_no_parameters(module: nn.Module, message: str) -> None:
    """Raise a ValueError with this message if the module has trainable parameters."""
    if any(parameter.requires_grad for parameter in module.parameters()):
        raise UserError(message)


def check_no_missing_values(vae: "VAE", objective: str) -> None:
    """Raise a UserError if x may have missing values, which a comparison of whole images cannot."""
    if vae.missing:
        raise UserError(
            f"objective={objective} compares whole images, which data with missing values do not "
            "have: set objective=elbo, or another that uses log p(x|z) only"
        )


def check_prior_is_fixed(vae: "VAE", objective: Objective) -> None:
    """Raise a ValueError if the prior is learned, which an objective without a KL cannot do."""
    check_no_parameters(
        vae.prior,
        f"{type(objective).__name__} has no KL that would train the prior "
        f"({type(vae.prior).__name__}): set prior=normal (prior=codes for posterior=vq)",
    )


def apply_spectral_norm(layer: Any) -> None:
    """Divide a layer's weight by its largest singular value, so that the layer keeps norm 1.

    A weight of 0, as at the start of the last layer of a residual block, cannot be normalised, so
    it is first initialised at random.
    """
    if not layer.weight.any():
        layer.reset_parameters()
    spectral_norm(layer)


def check_non_negative(**settings: float) -> None:
    """Raise a ValueError unless every setting is a finite number of at least 0."""
    for name, value in settings.items():
        if not 0 <= value < math.inf:
            raise UserError(f"objective.{name}={value}: it must be a finite number, not negative")


def check_at_least_one(**settings: int) -> None:
    """Raise a ValueError unless every setting is at least 1."""
    for name, value in settings.items():
        if value < 1:
            raise UserError(f"objective.{name}={value}: it must be at least 1")
