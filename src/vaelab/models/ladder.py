"""A top-down hierarchy of stochastic layers: `model=ladder`, or `model=ladder_conv`.

References:
    Ladder Variational Autoencoders (Sonderby et al., 2016), arXiv:1602.02282
    Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016), section 4
    and appendix C.3, arXiv:1606.04934
    NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat and Kautz, 2020), equation 2 (q as a
    difference from p), arXiv:2007.03898
"""

import math
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaelab.distributions.layers import HierarchicalNormal, LayerPass, LayerSampler
from vaelab.distributions.normal import DiagonalNormal
from vaelab.models import base
from vaelab.models.base import build_activation, check_sizes
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.runtime.errors import UserError
from vaelab.vae import VAE


class LadderPass(NamedTuple):
    """The result of one top-down pass through the layers.

    Attributes:
        z: The latents (*, latent_dim).
        p: p(z_l | z_above) of each layer.
        q: q(z_l | z_above, x) of each layer; empty if no x was given.
        state: The state (N, ...) after the last layer, which the decoder maps to p(x|z).
        fingerprint: What the results depended on when they were computed.
    """

    z: Tensor
    p: list[DiagonalNormal]
    q: list[DiagonalNormal]
    state: Tensor
    fingerprint: tuple[Any, ...]


class Ladder(VAE):
    """A VAE with a top-down prior and posterior over its stochastic layers.

    p(z) = prod_l p(z_l | z_above) and q(z|x) = prod_l q(z_l | z_above, x), all normal.

    The encoder computes features of x from the bottom up. A state passes through the layers from
    the top down: p(z_l) is computed from the state, q(z_l) from the state and the features of its
    level, and p(x|z) from the state after the last layer. z holds the layers from the top down. The
    encoder's parameters of q are added to those of p.

    One top-down pass gives the KL of each layer, log p(z) and the state for p(x|z). The model
    therefore caches the last pass, one for each thread, and `latents()` and `decode(z)` reuse it if
    they get the tensor z of that pass and nothing has changed since. Copies and pickles of the
    model start with an empty cache.
    """

    layered = True

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        check_normal_layers(self)
        outputs = (self.likelihood.outputs, *self.shape[1:])
        down = decoder(outputs)
        check_latent_dim(self.latent_dim, down.latents)
        self._cache = threading.local()
        return encoder(self.encoder_shape), down

    def encode(self, x: Tensor) -> HierarchicalNormal:
        features = self._compute_features(x)

        def run_layers(size: torch.Size, z: Tensor | None, sample_layer: LayerSampler) -> LayerPass:
            rows = [level.expand(*size, *level.shape).flatten(0, len(size)) for level in features]
            lead = torch.Size([*size, x.shape[0]])
            ladder_pass = self._descend(lead, z, sample_layer, rows)

            def kl() -> Tensor:
                pairs = zip(ladder_pass.q, ladder_pass.p, strict=True)
                return torch.stack([q.elementwise_kl(p).sum(-1) for q, p in pairs], -1)

            return LayerPass(ladder_pass.z, ladder_pass.q, kl)

        zeros = x.new_zeros(x.shape[0], self.latent_dim)
        return HierarchicalNormal(run_layers, self._split_layers, zeros)

    def run_encoder(self, x: Tensor) -> Tensor:
        """Compute the features (B, ...) of the highest level for images x (B, *shape)."""
        return self._compute_features(x)[-1]

    def latents(self) -> HierarchicalNormal:
        def run_layers(size: torch.Size, z: Tensor | None, sample_layer: LayerSampler) -> LayerPass:
            lead = torch.Size([*size, *self.condition_shape]) if z is None else z.shape[:-1]
            ladder_pass = self._cached_pass(z) or self._descend(lead, z, sample_layer)
            return LayerPass(ladder_pass.z, ladder_pass.p)

        zeros = self.decoder.start.new_zeros(*self.condition_shape, self.latent_dim)
        return HierarchicalNormal(run_layers, self._split_layers, zeros)

    def decode(self, z: Tensor) -> Distribution:
        ladder_pass = self._cached_pass(z) or self._descend(z.shape[:-1], z)
        out = self.run_network(self.decoder, ladder_pass.state)
        return self.make_likelihood(out.reshape(*z.shape[:-1], *out.shape[1:]))

    @property
    def condition_shape(self) -> torch.Size:
        """The batch shape of p(z): () without labels, or with one label for all z."""
        return torch.Size()

    def make_start(self, lead: torch.Size) -> Tensor:
        """Return the first state (N, ...) for z (*lead, latent_dim), N = prod(lead)."""
        return self.decoder.start.expand(math.prod(lead), *self.decoder.start.shape)

    def run_prior(self, layer: Any, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parameters of p(z_l) (N, 2 d), and the state (N, ...) that z_l is added to."""
        return self.run_network(layer.prior, state), state

    def _compute_features(self, x: Tensor) -> list[Tensor]:
        """Compute the features (B, ...) of each level for images x (B, *shape), from x up."""
        features, x = [], self.prepare_encoder_input(x)
        for step in self.encoder.steps:
            x = self.run_network(step, x)
            features.append(x)
        return features

    def _cached_pass(self, z: Tensor | None) -> LadderPass | None:
        """Return this thread's last pass if it is valid for z, otherwise None."""
        last = getattr(self._cache, "last", None)
        if last is not None and last.z is z and last.fingerprint == self._fingerprint(last.z):
            return last
        return None

    def _fingerprint(self, z: Tensor) -> tuple[Any, ...]:
        """Return what a pass depends on: versions of z and `start`, training and gradient mode.

        Optimizers update all weights together, so the version of `start` stands for all of them.
        """
        versions = (_tensor_version(z), _tensor_version(self.decoder.start))
        return *versions, self.training, torch.is_grad_enabled()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._cache = threading.local()

    def _split_layers(self, z: Tensor) -> list[Tensor]:
        """Split z (*, latent_dim) into its layers (N, d_l), from the top down."""
        return list(z.reshape(-1, self.latent_dim).split(self.decoder.latents, -1))

    def _descend(
        self,
        lead: torch.Size,
        z: Tensor | None,
        sample_layer: LayerSampler = DiagonalNormal.rsample,
        features: list[Tensor] | None = None,
    ) -> LadderPass:
        """Pass through the layers from the top down and cache the result.

        Arguments:
            lead: The dimensions of z before the last, with product N.
            z: The latents (*lead, latent_dim). If None, each layer is sampled: from q if features
                are given, otherwise from p.
            sample_layer: Takes z_l from the distribution of a layer.
            features: The features (N, ...) of x for each level, from the lowest.
        """
        given_parts = None if z is None else self._split_layers(z)
        state = self.make_start(lead)
        p: list[DiagonalNormal] = []
        q: list[DiagonalNormal] = []
        parts: list[Tensor] = []
        for number, layer in enumerate(self.decoder.layers):
            raw, state = self.run_prior(layer, state)
            p.append(self.posterior(raw))
            if features is not None:
                inputs = torch.cat([state, features[layer.level]], 1)
                q.append(self.posterior(raw + self.run_network(layer.posterior, inputs)))
            if given_parts is None:
                parts.append(sample_layer((q or p)[-1]))
            else:
                parts.append(given_parts[number])
            merged = state + self.run_network(layer.merge, parts[-1])
            state = self.run_network(layer.below, merged)
        if z is None:
            z = torch.cat(parts, -1).reshape(*lead, -1)
        ladder_pass = LadderPass(z, p, q, state, self._fingerprint(z))
        self._cache.last = ladder_pass
        return ladder_pass


def _tensor_version(x: Tensor) -> int:
    """Return how often x was written to; inference tensors do not count this and give 0."""
    return 0 if x.is_inference() else x._version


def check_normal_layers(vae: VAE) -> None:
    """Raise a ValueError unless the posterior and the prior are the normal defaults."""
    if not isinstance(vae.posterior, Diagonal) or not isinstance(vae.prior, UnitNormal):
        raise UserError(
            f"{type(vae).__name__} has normal layers of its own and takes no other posterior or "
            "prior: set posterior=diagonal and prior=normal, or model=mlp or conv"
        )


def check_latent_dim(latent_dim: int, latents: Sequence[int]) -> None:
    """Raise a ValueError unless latent_dim is the sum of the sizes of all layers."""
    if latent_dim != sum(latents):
        raise UserError(
            f"latent_dim={latent_dim}, but the layers of the model have "
            f"{' + '.join(map(str, latents))} latents: set latent_dim={sum(latents)}"
        )


class StochasticLayer(nn.Module):
    """The networks of one stochastic layer with state (N, H) and latents z_l (N, d).

    Arguments:
        level: The level of the features that q uses; 0 is next to x.
        prior: Maps the state to the parameters of p(z_l) (N, 2 d).
        posterior: Maps the concatenated state and features to what is added to these parameters
            for q(z_l).
        merge: Maps z_l to what is added to the state.
        below: Maps the state to that of the next layer.
    """

    def __init__(
        self,
        level: int,
        prior: nn.Module,
        posterior: nn.Module,
        merge: nn.Module,
        below: nn.Module,
    ):
        super().__init__()
        self.level, self.prior, self.posterior = level, prior, posterior
        self.merge, self.below = merge, below


class Encoder(nn.Module):
    """Fully connected blocks that compute the features of x, one block per level.

    Arguments:
        hidden: The width of each level, from x up.
    """

    def __init__(
        self, shape: Sequence[int], hidden: Sequence[int] = (400, 200), activation: str = "SiLU"
    ):
        super().__init__()
        check_sizes("model.hidden", list(hidden))
        widths = pairwise([math.prod(shape), *hidden])
        steps = [_make_dense_block(inputs, outputs, activation) for inputs, outputs in widths]
        self.steps = nn.ModuleList([nn.Sequential(nn.Flatten(), steps[0]), *steps[1:]])


class Decoder(base.Decoder):
    """The stochastic layers from the top down, and a linear layer from the last state to x.

    Arguments:
        hidden: The width of each level, from x up.
        latents: The size of z_l in each level, from x up.
        groups: The number of stochastic layers in each level.

    Attributes:
        latents: The size of z_l in each layer, from the top down.
    """

    bias_per_channel = False

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (400, 200),
        latents: Sequence[int] = (20, 10),
        groups: int = 1,
        activation: str = "SiLU",
    ):
        super().__init__()
        check_levels("model.hidden", hidden, latents, groups)
        self.shape = tuple(shape)
        self.start = nn.Parameter(torch.zeros(hidden[-1]))
        self.latents = [size for size in reversed(latents) for _ in range(groups)]
        layers = []
        for level in reversed(range(len(hidden))):
            width, size = hidden[level], latents[level]
            for group in range(groups):
                is_last_of_level = group == groups - 1 and level > 0
                below = ResidualBlock(width, activation)
                if is_last_of_level:
                    below = _make_dense_block(width, hidden[level - 1], activation)
                layers.append(
                    StochasticLayer(
                        level,
                        prior=scale_down_weights(nn.Linear(width, 2 * size)),
                        posterior=nn.Sequential(
                            _make_dense_block(2 * width, width, activation),
                            scale_down_weights(nn.Linear(width, 2 * size)),
                        ),
                        merge=nn.Linear(size, width),
                        below=below,
                    )
                )
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(hidden[0], math.prod(shape))

    def forward(self, state: Tensor) -> Tensor:
        return self.head(state).unflatten(-1, self.shape)

    @property
    def output(self) -> Any:
        return self.head


def check_levels(key: str, widths: Sequence[int], latents: Sequence[int], groups: int) -> None:
    """Raise a ValueError unless each level has a width, a size of z_l and at least one group."""
    check_sizes(key, list(widths))
    check_sizes("model.latents", list(latents))
    check_sizes("model.groups", [groups])
    if not widths or len(widths) != len(latents):
        raise UserError(
            f"model.latents={list(latents)} needs a size for each of {key}={list(widths)}"
        )


@torch.no_grad()
def scale_down_weights(layer: Any) -> Any:
    """Divide the weights of a layer by 10 and set its bias to 0, so that p and q are near N(0, I).

    Returns:
        The same layer.
    """
    layer.weight.mul_(0.1)
    layer.bias.zero_()
    return layer


class ResidualBlock(nn.Module):
    """A fully connected residual block, h + W act(V h)."""

    def __init__(self, width: int, activation: str):
        super().__init__()
        self.change = nn.Sequential(
            nn.Linear(width, width), build_activation(activation), nn.Linear(width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def _make_dense_block(inputs: int, outputs: int, activation: str) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, outputs), build_activation(activation), ResidualBlock(outputs, activation)
    )
