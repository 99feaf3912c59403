"""Several stochastic layers from the top down: `model=ladder`, and in convolutions `ladder_conv`.

References:
    Ladder Variational Autoencoders (Sonderby et al., 2016), arXiv:1602.02282
    Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016), section 4
    and appendix C.3, arXiv:1606.04934
    NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat and Kautz, 2020), equation 2 (q as a
    difference from p), arXiv:2007.03898
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaelab.distributions.layers import LayerPass, Layers, Pick
from vaelab.distributions.normal import DiagonalNormal
from vaelab.models import base
from vaelab.models.base import activation_named, check_sizes
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.vae import VAE


class LadderPass(NamedTuple):
    """What the way down has met: z (*, D), by layer p and q, and the state (N, ...) at its end."""

    z: Tensor
    p: list[DiagonalNormal]
    q: list[DiagonalNormal]
    state: Tensor
    made: tuple[Any, ...]


class Ladder(VAE):
    """p(z) = prod_l p(z_l | z_above), q(z|x) = prod_l q(z_l | z_above, x), each normal.

    Features of x go up; a state comes down through the layers, and p, q and the decoder all read
    it: p(z_l) is made of the state, q(z_l) of the state and the features of its level. z holds the
    layers from the top down. What the encoder says of q is added to the parameters of p.

    One way down gives the KL by layer, log p(z) and the state that p(x|z) is made of; so the last
    one is kept, for the same z.
    """

    layered = True

    def build_networks(
        self, encoder: Callable[..., Any], decoder: Callable[..., Any]
    ) -> tuple[Any, Any]:
        check_normals(self)
        outputs = (self.likelihood.outputs, *self.shape[1:])
        down = decoder(outputs)
        check_latents(self.latent_dim, down.latents)
        self._last: LadderPass | None = None
        return encoder(self.shape), down

    def encode(self, x: Tensor) -> Layers:
        features = self._features(x)

        def walk(size: torch.Size, z: Tensor | None, pick: Pick) -> LayerPass:
            rows = [each.expand(*size, *each.shape).flatten(0, len(size)) for each in features]
            found = self._descend(torch.Size([*size, x.shape[0]]), z, pick, rows)

            def kl() -> Tensor:
                pairs = zip(found.q, found.p, strict=True)
                return torch.stack([q.kl(p).sum(-1) for q, p in pairs], -1)

            return LayerPass(found.z, found.q, kl)

        return Layers(walk, self._parts, x.new_zeros(x.shape[0], self.latent_dim))

    def read(self, x: Tensor) -> Tensor:
        """The features of the highest level (B, ...)."""
        return self._features(x)[-1]

    def latents(self) -> Layers:
        def walk(size: torch.Size, z: Tensor | None, pick: Pick) -> LayerPass:
            found = self._known(z) or self._descend(size, z, pick)
            return LayerPass(found.z, found.p)

        return Layers(walk, self._parts, self.decoder.start.new_zeros(self.latent_dim))

    def decode(self, z: Tensor) -> Distribution:
        found = self._known(z) or self._descend(z.shape[:-1], z)
        out = self._run(self.decoder, found.state)
        return self.likelihood(out.reshape(*z.shape[:-1], *out.shape[1:]))

    def _features(self, x: Tensor) -> list[Tensor]:
        found = []
        for step in self.encoder.steps:
            x = self._run(step, x)
            found.append(x)
        return found

    def _known(self, z: Tensor | None) -> LadderPass | None:
        last = self._last
        return last if last and last.z is z and last.made == self._making(last.z) else None

    def _making(self, z: Tensor) -> tuple[Any, ...]:
        """What z and all that is made of it depend on: values, weights, mode, and gradients."""
        versions = (_version(z), _version(self.decoder.start))
        return *versions, self.training, torch.is_grad_enabled()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}  # whose graph cannot be copied

    def _parts(self, z: Tensor) -> list[Tensor]:
        return list(z.reshape(-1, self.latent_dim).split(self.decoder.latents, -1))

    def _descend(
        self,
        lead: torch.Size,
        z: Tensor | None,
        pick: Pick = DiagonalNormal.rsample,
        features: list[Tensor] | None = None,
    ) -> LadderPass:
        """Down through the layers, with z (*lead, D) given, or picked from q, without x from p.

        Arguments:
            features: Of x, (N, ...) for each level from the lowest, N = prod(lead).
        """
        given = None if z is None else self._parts(z)
        state = self.decoder.start.expand(math.prod(lead), *self.decoder.start.shape)
        p: list[DiagonalNormal] = []
        q: list[DiagonalNormal] = []
        parts: list[Tensor] = []
        for number, layer in enumerate(self.decoder.layers):
            raw = self._run(layer.prior, state)
            p.append(self.posterior(raw))
            if features is not None:
                seen = torch.cat([state, features[layer.level]], 1)
                q.append(self.posterior(raw + self._run(layer.posterior, seen)))
            parts.append(pick((q or p)[-1]) if given is None else given[number])
            state = self._run(layer.below, state + self._run(layer.merge, parts[-1]))
        if z is None:
            z = torch.cat(parts, -1).reshape(*lead, -1)
        self._last = LadderPass(z, p, q, state, self._making(z))
        return self._last


def _version(x: Tensor) -> int:
    """How often x was written to, which inference tensors do not count."""
    return 0 if x.is_inference() else x._version


def check_normals(vae: VAE) -> None:
    """The layers are normals of their own, so no other posterior or prior can be chosen."""
    if not isinstance(vae.posterior, Diagonal) or not isinstance(vae.prior, UnitNormal):
        raise ValueError(
            f"{type(vae).__name__} has normal layers of its own: set posterior=diagonal and "
            "prior=normal, or model=mlp or conv"
        )


def check_latents(latent_dim: int, latents: Sequence[int]) -> None:
    if latent_dim != sum(latents):
        raise ValueError(
            f"the layers of the model have {' + '.join(map(str, latents))} latents: "
            f"set latent_dim={sum(latents)}"
        )


class StochasticLayer(nn.Module):
    """The networks of one stochastic layer: state (N, H) and z (N, d).

    Arguments:
        level: Of the features that q reads, 0 next to x.
        prior: State to the parameters of p(z_l) (N, 2 d).
        posterior: State and features side by side to what q(z_l) adds to them.
        merge: z_l to what it adds to the state.
        below: State to that of the next layer.
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
    """Features of x: `hidden` gives the width of each level, from x up."""

    def __init__(
        self, shape: Sequence[int], hidden: Sequence[int] = (400, 200), activation: str = "SiLU"
    ):
        super().__init__()
        check_sizes("model.hidden", list(hidden))
        widths = pairwise([math.prod(shape), *hidden])
        steps = [_dense(here, there, activation) for here, there in widths]
        self.steps = nn.ModuleList([nn.Sequential(nn.Flatten(), steps[0]), *steps[1:]])


class Decoder(base.Decoder):
    """The way down: in each level some layers of its width, the last level next to x.

    Arguments:
        latents: The size of z in each level, from x up.
        groups: Stochastic layers of each level.

    Attributes:
        latents: The size of z in each layer, from the top down.
    """

    shared = False

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
                leaves = group == groups - 1 and level > 0
                below = _Residual(width, activation)
                if leaves:
                    below = _dense(width, hidden[level - 1], activation)
                layers.append(
                    StochasticLayer(
                        level,
                        prior=scale_down(nn.Linear(width, 2 * size)),
                        posterior=nn.Sequential(
                            _dense(2 * width, width, activation),
                            scale_down(nn.Linear(width, 2 * size)),
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
    check_sizes(key, list(widths))
    check_sizes("model.latents", list(latents))
    check_sizes("model.groups", [groups])
    if not widths or len(widths) != len(latents):
        raise ValueError(
            f"model.latents={list(latents)} needs a size for each of {key}={list(widths)}"
        )


@torch.no_grad()
def scale_down(layer: Any) -> Any:
    """A layer with a tenth of its weights, so that p and q begin near N(0, I)."""
    layer.weight.mul_(0.1)
    layer.bias.zero_()
    return layer


class _Residual(nn.Module):
    """h + W act(V h)."""

    def __init__(self, width: int, activation: str):
        super().__init__()
        self.change = nn.Sequential(
            nn.Linear(width, width), activation_named(activation), nn.Linear(width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def _dense(here: int, there: int, activation: str) -> nn.Module:
    return nn.Sequential(
        nn.Linear(here, there), activation_named(activation), _Residual(there, activation)
    )
