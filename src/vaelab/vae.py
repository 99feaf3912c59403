"""The VAE: an encoder, a posterior, a prior, a decoder and a likelihood as one model."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaelab.distributions.masked import Masked, fill_from_other_rows
from vaelab.distributions.standardization import Standardization
from vaelab.likelihoods.base import Likelihood
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior
from vaelab.runtime.errors import UserError

MAX_INITIAL_COST = 0.5  # nats; a small Bernoulli decoder costs less than this when training starts
INITIALIZATION_IMAGES = 256
MAX_REDUCTIONS = 20


class VAE(nn.Module):
    """A variational autoencoder that gives q(z|x), p(z) and p(x|z) as distributions.

    The number of encoder outputs and of decoder channels follows from the posterior and the
    likelihood.

    Attributes:
        layered: True if z consists of several stochastic layers with networks between them.
        conditional: True if the model needs the labels of its images, see `condition_on`.
        latent_shape: (c, *grid) if the latents of a vector z form feature maps with c channels, in
            the order of distributions/grid.py, and (latent_dim,) if they form no grid.
        is_initialized: True if `initialize` was called, or trained weights were loaded.
        prior_labels: Labels (B,) of the images of a batch, for a prior that learns p(z|y).
        standardization: What `data.standardize=true` did to x; None for x as it is.
        recipe: How `vaelab.make_model` built it, for the record of its run; None otherwise.

    Arguments:
        shape: The shape of one x: (C,) for tables, (C, L) for series, (C, H, W) for images and
            (C, D, H, W) for volumes.
        latent_dim: The number of latent dimensions; None = that of latent_size.
        encoder, decoder: Build the networks of an architecture, see models/base.py.
        posterior: Builds the posterior from latent_dim.
        prior: Builds the prior from latent_dim and shape.
        likelihood: Builds the likelihood from shape.
        latent_size: Computes latent_dim from shape, for an architecture whose latents form a grid.
            With one grid for all of them it also has a method `compute_grid` of shape.
        missing: True if entries of x may be missing, which is NaN. The encoder then gets x with 0
            in their place, and as many channels (columns of a table) again, which are 1 where x is
            observed. log p(x|z) is that of the observed entries.

    Raises:
        UserError: If latent_dim is not positive or unknown, or posterior and prior have different
            supports.
    """

    layered = False
    conditional = False
    is_initialized = False
    prior_labels: Tensor | None = None
    recipe: Any = None
    x_mean: Tensor | None
    x_deviation: Tensor | None

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int | None,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        posterior: Callable[[int], Posterior],
        prior: Callable[[int, Sequence[int]], Prior],
        likelihood: Callable[[Sequence[int]], Likelihood],
        latent_size: Callable[[Sequence[int]], int] | None = None,
        missing: bool = False,
    ):
        super().__init__()
        self.register_buffer("x_mean", None)  # in no state until there is a standardization
        self.register_buffer("x_deviation", None)
        if latent_dim is None:
            if latent_size is None:
                raise UserError("latent_dim=null: this model needs a number, as in latent_dim=20")
            latent_dim = latent_size(shape)
        if latent_dim < 1:
            raise UserError(f"latent_dim={latent_dim}: it must be at least 1")
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.missing = missing
        self._autocast: Callable[[], AbstractContextManager] = nullcontext
        self.posterior = posterior(latent_dim)
        self.prior = prior(latent_dim, self.shape)
        self.latent_shape = _find_latent_shape(latent_size, self.shape, latent_dim)
        self.prior.latent_shape = self.latent_shape
        self.likelihood = likelihood(self.shape)
        if missing and self.likelihood.condition is not None:
            raise UserError(
                f"p(x|z) is given {self.likelihood.condition}, which missing values change: set "
                "loss.exposure=none"
            )
        if self.prior.support not in (None, self.posterior.support):
            posterior_support, prior_support = (
                "real vectors" if part.support is constraints.real_vector else part.support
                for part in (self.posterior, self.prior)
            )
            raise UserError(
                f"the posterior lives on {posterior_support} and the prior on {prior_support}: "
                "choose a prior= with the posterior's support"
            )
        self.prior.prepare(self.posterior)
        self.encoder, self.decoder = self.build_networks(encoder, decoder)
        self.prior.check_encoder(self.encoder)

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        """Build the encoder and the decoder with the output sizes that the other parts need."""
        outputs = (self.likelihood.outputs, *self.shape[1:])
        return encoder(self.encoder_shape, self.posterior.inputs), decoder(
            self.decoder_inputs, outputs
        )

    @property
    def decoder_inputs(self) -> int:
        """The length of what the decoder gets of z."""
        return self.posterior.decoder_inputs or self.latent_dim

    @property
    def samples_take_labels(self) -> bool:
        """True if new images are generated for labels."""
        return self.conditional or self.prior.classes is not None

    @property
    def encoder_shape(self) -> tuple[int, ...]:
        """The shape of what the encoder gets of one x."""
        channels, *rest = self.shape
        return (2 * channels, *rest) if self.missing else self.shape

    def prepare_encoder_input(self, x: Tensor) -> Tensor:
        """Return what the encoder gets of x (B, *shape): (B, *encoder_shape)."""
        x = self.likelihood.transform_encoder_input(x)
        if not self.missing:
            return x
        observed = ~x.isnan()
        return torch.cat([torch.where(observed, x, 0), observed.to(x.dtype)], 1)

    def encode(self, x: Tensor) -> Distribution:
        """Return q(z|x) with batch shape (B,) for images x (B, *shape)."""
        return self.posterior(self.run_encoder(x))

    def encode_with_frozen_copy(self, x: Tensor) -> tuple[Distribution, Distribution]:
        """Return q(z|x) and a copy whose parameters are detached.

        The log density of the copy has a gradient with respect to z only.
        """
        out = self.run_encoder(x)
        return self.posterior(out), self.posterior(out.detach())

    def run_encoder(self, x: Tensor) -> Tensor:
        """Compute the parameters of q(z|x) (B, posterior.inputs) for images x (B, *shape)."""
        return self.run_network(self.encoder, self.prepare_encoder_input(x))

    def decode(self, z: Tensor) -> Distribution:
        """Return p(x|z) with batch shape (*) for latents z (*, latent_dim)."""
        z = self.prepare_decoder_input(z)
        out = self.run_network(self.decoder, z.reshape(-1, z.shape[-1]))
        return self.make_likelihood(out.reshape(*z.shape[:-1], *out.shape[1:]))

    def prepare_decoder_input(self, z: Tensor) -> Tensor:
        """Return what the decoder gets of latents z (*, latent_dim)."""
        return self.posterior.embed(z)

    def make_likelihood(self, out: Tensor) -> Distribution:
        """Return p(x|z) for decoder output (*, outputs, *shape[1:])."""
        p = self.likelihood(out)
        return Masked(p) if self.missing else p

    def latents(self) -> Distribution:
        """Return the prior p(z)."""
        return self.posterior.prior_on_z(self.prior(self.encode))

    @property
    def standardization(self) -> Standardization | None:
        if self.x_mean is None or self.x_deviation is None:
            return None
        return Standardization(self.x_mean, self.x_deviation)

    @standardization.setter
    def standardization(self, value: Standardization | None) -> None:
        for part in value or ():
            try:
                fits = torch.broadcast_shapes(part.shape, self.shape) == self.shape
            except RuntimeError:
                fits = False
            if not fits:
                raise UserError(
                    f"the mean of x has shape {list(part.shape)}, but x has {list(self.shape)}"
                )
        self.x_mean, self.x_deviation = value or (None, None)

    def to_data_units(self, x: Tensor) -> Tensor:
        """Return x (B, *shape) of the model in the units of the data."""
        return x if self.standardization is None else self.standardization.undo(x)

    def check_labels(self, y: Tensor) -> None:
        """Raise a ValueError if the model cannot be conditioned on these labels."""
        if self.prior.classes is not None:
            check_classes(y, self.prior.classes, "prior.classes")

    def condition_on(self, y: Tensor) -> Self:
        """Return the model conditioned on labels y; an unconditional model returns itself.

        With an unconditional model whose prior learns p(z|y), `latents` is still p(z), and the
        training of the prior gets the labels.
        """
        if self.prior.classes is None:
            return self
        model = copy.copy(self)
        model.prior_labels = y
        return model

    def initialize(self, x: Tensor) -> None:
        """Initialize the output bias so that p(x|z) fits images x (N, *shape) without using z.

        Prior and posterior initialize themselves on the same images. Likelihood and prior get
        missing entries from other images, see `fill_from_other_rows`.
        """
        complete = fill_from_other_rows(x) if self.missing else x
        self.decoder.initialize(self.likelihood.initialize(complete, self.decoder.bias_per_channel))
        self.prior.initialize(complete)
        x = x[:: -(-len(x) // INITIALIZATION_IMAGES)]
        with torch.no_grad():
            self.posterior.initialize(self.run_encoder(x))
        self._reduce_initial_noise(x)
        self.is_initialized = True

    @torch.no_grad()
    def _reduce_initial_noise(self, x: Tensor) -> None:
        """Divide the output weights by 10 until random latents cost at most MAX_INITIAL_COST nats.

        With the default initialization, the noise of the latents costs a normal likelihood of
        small scale hundreds of nats. The decoder would first learn to ignore the noise, and the
        latents with it, and would not recover: posterior collapse.
        """
        z = self.encode(x).rsample()
        log_prob_without_noise = self.decode(torch.zeros_like(z)).log_prob(x).mean()
        for _ in range(MAX_REDUCTIONS):
            cost = log_prob_without_noise - self.decode(z).log_prob(x).mean()
            if not cost > MAX_INITIAL_COST:
                return
            self.decoder.scale_output_weights(0.1)

    @contextmanager
    def autocast_networks_only(self, device: str) -> Iterator[None]:
        """Restrict an active autocast to the encoder and the decoder inside this context.

        Flows, mixtures and all computations on distributions then run in float32.
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

    def run_network(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Apply a network to x and return its output in float32 or float64."""
        with self._autocast():
            out = network(x)
        return out.to(torch.promote_types(out.dtype, torch.float32))


def _find_latent_shape(latent_size: Any, shape: Sequence[int], latent_dim: int) -> tuple[int, ...]:
    """Return (c, *grid), or (latent_dim,) if the latents form no grid."""
    compute_grid = getattr(latent_size, "compute_grid", None)
    grid = compute_grid(shape) if compute_grid else ()
    channels, rest = divmod(latent_dim, math.prod(grid))
    return (latent_dim,) if rest else (channels, *grid)


def check_classes(y: Tensor, classes: int, setting: str) -> None:
    """Refuse labels y (N, ...) that are not classes from 0 to `classes` - 1.

    Arguments:
        setting: The key of the number of classes, for the message.
    """
    if y.ndim != 1 or y.is_floating_point():
        raise UserError(
            f"{setting}={classes}: the data have no classes, but labels of the type {y.dtype} and "
            f"the shape {list(y.shape)}: leave it out"
        )
    low, high = (int(y.min()), int(y.max())) if len(y) else (0, 0)
    if low < 0 or high >= classes:
        raise UserError(
            f"{setting}={classes}, but the data have labels from {low} to {high}: set "
            f"{setting}={high + 1}" + (" and number the classes from 0" if low < 0 else "")
        )
