"""A bottom-up hierarchy of stochastic layers, as in the IWAE paper: `model=bottom_up`.

Reference: Importance Weighted Autoencoders (Burda et al., 2016), section 5 and appendix C,
arXiv:1509.00519
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaelab.distributions.layers import HierarchicalNormal, LayerPass, LayerSampler
from vaelab.distributions.normal import DiagonalNormal, StandardNormal
from vaelab.models import base, mlp
from vaelab.models.base import check_sizes
from vaelab.models.ladder import check_latent_dim, check_normal_layers
from vaelab.runtime.errors import UserError
from vaelab.vae import VAE


class BottomUp(VAE):
    """A VAE with a bottom-up posterior and a top-down prior over its stochastic layers.

    q(z|x) = q(z_1|x) q(z_2|z_1) ... and p(x, z) = p(x|z_1) p(z_1|z_2) ... p(z_L) with
    p(z_L) = N(0, I). z holds the layers from the bottom up. The term of layer l in the KL is
    log q(z_l|z_l-1) - log p(z_l|z_l+1) at one sample z: the sum over layers estimates the KL, but
    a single term does not estimate a KL.
    """

    layered = True

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        check_normal_layers(self)
        up = encoder(self.encoder_shape)
        check_latent_dim(self.latent_dim, up.latents)
        return up, decoder((self.likelihood.outputs, *self.shape[1:]))

    def encode(self, x: Tensor) -> HierarchicalNormal:
        first = self.posterior(self.run_encoder(x))

        def run_layers(size: torch.Size, z: Tensor | None, sample_layer: LayerSampler) -> LayerPass:
            shape = (*size, *first.mean.shape)
            rows = (
                statistic.expand(shape).flatten(0, -2)
                for statistic in (first.mean, first.log_scale)
            )
            given_parts = None if z is None else self._split_layers(z)
            layers, parts = [DiagonalNormal(*rows)], []
            for number, step in enumerate([*self.encoder.steps[1:], None]):
                if given_parts is None:
                    parts.append(sample_layer(layers[-1]))
                else:
                    parts.append(given_parts[number])
                if step is not None:
                    layers.append(self.posterior(self.run_network(step, parts[-1])))

            def kl() -> Tensor:
                terms = zip(layers, self._prior_layers(parts), parts, strict=True)
                return torch.stack([q.log_prob(z) - p.log_prob(z) for q, p, z in terms], -1)

            if z is None:
                z = torch.cat(parts, -1).reshape(*shape[:-1], -1)
            return LayerPass(z, layers, kl)

        zeros = x.new_zeros(x.shape[0], self.latent_dim)
        return HierarchicalNormal(run_layers, self._split_layers, zeros)

    def run_encoder(self, x: Tensor) -> Tensor:
        """Compute the parameters of q(z_1|x) for images x (B, *shape)."""
        return self.run_network(self.encoder.steps[0], self.prepare_encoder_input(x))

    def latents(self) -> HierarchicalNormal:
        def run_layers(size: torch.Size, z: Tensor | None, sample_layer: LayerSampler) -> LayerPass:
            if z is not None:
                return LayerPass(z, self._prior_layers(self._split_layers(z)))
            zeros = next(self.parameters()).new_zeros(size.numel(), self.encoder.latents[-1])
            layers: list[DiagonalNormal] = [StandardNormal(zeros)]
            parts = [sample_layer(layers[0])]
            for step in reversed(self.decoder.steps[1:]):
                layers.insert(0, self.posterior(self.run_network(step, parts[0])))
                parts.insert(0, sample_layer(layers[0]))
            return LayerPass(torch.cat(parts, -1).reshape(*size, -1), layers)

        zeros = next(self.parameters()).new_zeros(self.latent_dim)
        return HierarchicalNormal(run_layers, self._split_layers, zeros)

    def decode(self, z: Tensor) -> Distribution:
        return super().decode(z[..., : self.encoder.latents[0]])

    def _split_layers(self, z: Tensor) -> list[Tensor]:
        """Split z (*, latent_dim) into its layers (N, d_l), from the bottom up."""
        return list(z.reshape(-1, self.latent_dim).split(self.encoder.latents, -1))

    def _prior_layers(self, parts: list[Tensor]) -> list[DiagonalNormal]:
        """Return p(z_l | z_l+1) of each layer, from the bottom up."""
        pairs = zip(self.decoder.steps[1:], parts[1:], strict=True)
        top = StandardNormal(torch.zeros_like(parts[-1]))
        layers = (self.posterior(self.run_network(step, above)) for step, above in pairs)
        return [*layers, top]


class Encoder(nn.Module):
    """One MLP per stochastic layer, from x or the layer below to the parameters of q(z_l).

    Arguments:
        hidden: The widths of each MLP, from the bottom up.
        latents: The size of each layer of z, from the bottom up.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
        latents: Sequence[int] = (100, 50),
        activation: str = "Tanh",
    ):
        super().__init__()
        self.latents = list(latents)
        check_hidden_widths(hidden, self.latents)
        steps = [
            mlp.Encoder(below, 2 * size, widths, activation)
            for below, size, widths in zip(
                [shape, *([size] for size in latents)], latents, hidden, strict=False
            )
        ]
        self.steps = nn.ModuleList(steps)


class Decoder(base.Decoder):
    """The mirror image of the encoder: from z_1 to x, and from z_l+1 to the parameters of p(z_l).

    Arguments:
        hidden: The widths of each MLP of the encoder; the decoder reverses them.
        latents: The size of each layer of z, from the bottom up.
    """

    bias_per_channel = False

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
        latents: Sequence[int] = (100, 50),
        activation: str = "Tanh",
    ):
        super().__init__()
        check_hidden_widths(hidden, latents)
        steps = [mlp.Decoder(latents[0], shape, hidden[0], activation)]
        for (below, size), widths in zip(pairwise(latents), hidden[1:], strict=True):
            steps.append(mlp.Decoder(size, [2 * below], widths, activation))
        self.steps = nn.ModuleList(steps)

    def forward(self, z: Tensor) -> Tensor:
        return self.steps[0](z)

    @property
    def output(self) -> Any:
        first: Any = self.steps[0]
        return first.output


def check_hidden_widths(hidden: Sequence[Sequence[int]], latents: Sequence[int]) -> None:
    """Raise a ValueError unless there is one list of widths for each layer of z."""
    check_sizes("model.latents", list(latents))
    if not latents or len(hidden) != len(latents):
        raise UserError(
            f"model.hidden={[list(widths) for widths in hidden]} needs one list of widths for "
            f"each of model.latents={list(latents)}"
        )
