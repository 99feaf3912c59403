"""Stochastic layers from the bottom up, as in the IWAE paper: `model=bottom_up`.

Reference: Importance Weighted Autoencoders (Burda et al., 2016), section 5 and appendix C,
arXiv:1509.00519
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaelab.distributions.layers import LayerPass, Layers, Pick
from vaelab.distributions.normal import DiagonalNormal, StandardNormal
from vaelab.models import base, mlp
from vaelab.models.base import check_sizes
from vaelab.models.ladder import check_latents, check_normals
from vaelab.vae import VAE


class BottomUp(VAE):
    """q(z|x) = q(z_1|x) q(z_2|z_1) ..., p(x, z) = p(x|z_1) p(z_1|z_2) ... p(z_L), p(z_L) = N(0, I).

    z holds the layers from the bottom up. The KL of layer l is log q(z_l|z_l-1) - log p(z_l|z_l+1)
    at one z: their sum is an estimate of the KL, none of them is one by itself.
    """

    layered = True

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        check_normals(self)
        up = encoder(self.shape)
        check_latents(self.latent_dim, up.latents)
        return up, decoder((self.likelihood.outputs, *self.shape[1:]))

    def encode(self, x: Tensor) -> Layers:
        first = self.posterior(self.read(x))

        def walk(size: torch.Size, z: Tensor | None, pick: Pick) -> LayerPass:
            shape = (*size, *first.mean.shape)
            rows = (each.expand(shape).flatten(0, -2) for each in (first.mean, first.log_scale))
            given = None if z is None else self._parts(z)
            layers, parts = [DiagonalNormal(*rows)], []
            for number, step in enumerate([*self.encoder.steps[1:], None]):
                parts.append(pick(layers[-1]) if given is None else given[number])
                if step is not None:
                    layers.append(self.posterior(self._run(step, parts[-1])))

            def kl() -> Tensor:
                above = zip(layers, self._given_above(parts), parts, strict=True)
                return torch.stack([q.log_prob(z) - p.log_prob(z) for q, p, z in above], -1)

            if z is None:
                z = torch.cat(parts, -1).reshape(*shape[:-1], -1)
            return LayerPass(z, layers, kl)

        return Layers(walk, self._parts, x.new_zeros(x.shape[0], self.latent_dim))

    def read(self, x: Tensor) -> Tensor:
        """Images to the parameters of q(z_1|x)."""
        return self._run(self.encoder.steps[0], x)

    def latents(self) -> Layers:
        def walk(size: torch.Size, z: Tensor | None, pick: Pick) -> LayerPass:
            if z is not None:
                return LayerPass(z, self._given_above(self._parts(z)))
            zeros = next(self.parameters()).new_zeros(size.numel(), self.encoder.latents[-1])
            layers: list[DiagonalNormal] = [StandardNormal(zeros)]
            parts = [pick(layers[0])]
            for step in reversed(self.decoder.steps[1:]):
                layers.insert(0, self.posterior(self._run(step, parts[0])))
                parts.insert(0, pick(layers[0]))
            return LayerPass(torch.cat(parts, -1).reshape(*size, -1), layers)

        return Layers(walk, self._parts, next(self.parameters()).new_zeros(self.latent_dim))

    def decode(self, z: Tensor) -> Distribution:
        return super().decode(z[..., : self.encoder.latents[0]])

    def _parts(self, z: Tensor) -> list[Tensor]:
        return list(z.reshape(-1, self.latent_dim).split(self.encoder.latents, -1))

    def _given_above(self, parts: list[Tensor]) -> list[DiagonalNormal]:
        """p(z_l | z_l+1) of each layer, from the bottom up."""
        pairs = zip(self.decoder.steps[1:], parts[1:], strict=True)
        top = StandardNormal(torch.zeros_like(parts[-1]))
        return [*(self.posterior(self._run(step, above)) for step, above in pairs), top]


class Encoder(nn.Module):
    """From x, or the layer below, through the layers of `hidden` to the parameters of each q."""

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
        latents: Sequence[int] = (100, 50),
        activation: str = "Tanh",
    ):
        super().__init__()
        self.latents = list(latents)
        check_layers(hidden, self.latents)
        steps = [
            mlp.Encoder(below, 2 * size, widths, activation)
            for below, size, widths in zip(
                [shape, *([size] for size in latents)], latents, hidden, strict=False
            )
        ]
        self.steps = nn.ModuleList(steps)


class Decoder(base.Decoder):
    """The encoder turned around: z_1 to x, and z_l+1 to the parameters of p(z_l)."""

    shared = False

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
        latents: Sequence[int] = (100, 50),
        activation: str = "Tanh",
    ):
        super().__init__()
        check_layers(hidden, latents)
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


def check_layers(hidden: Sequence[Sequence[int]], latents: Sequence[int]) -> None:
    check_sizes("model.latents", list(latents))
    if not latents or len(hidden) != len(latents):
        raise ValueError(
            f"model.hidden={[list(each) for each in hidden]} needs one list of widths for each of "
            f"model.latents={list(latents)}"
        )
