"""Joint distributions of several stochastic layers, each normal given those drawn before it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaelab.distributions.normal import DiagonalNormal

Pick = Callable[[DiagonalNormal], Tensor]


def _none() -> Tensor:
    raise NotImplementedError("the layers of p(z) have no KL")


class LayerPass(NamedTuple):
    """What one pass through the layers has met.

    Attributes:
        z: (*, D), the layers side by side.
        layers: The distribution of each given those before it, over rows (N, d), N = prod(*).
        kl: Gives that of q by layer (N, L); only the ELBO asks for it.
    """

    z: Tensor
    layers: list[DiagonalNormal]
    kl: Callable[[], Tensor] = _none


class Layers(Distribution):
    """log p(z) = sum_l log p(z_l | the layers before it).

    Arguments:
        walk: From the sizes in front of the batch, and z (*, D) or, if that is None, what takes it
            from each layer's distribution, to a Walk.
        parts: From z (*, D) to its layers (N, d), in the order of the walk.
        zeros: (*batch, D), which says the shape and where it is kept.
    """

    has_rsample = True
    support: Any = constraints.real_vector

    def __init__(
        self,
        walk: Callable[[torch.Size, Tensor | None, Pick], LayerPass],
        parts: Callable[[Tensor], list[Tensor]],
        zeros: Tensor,
    ):
        self.walk, self.parts, self.zeros = walk, parts, zeros
        super().__init__(zeros.shape[:-1], zeros.shape[-1:], validate_args=False)

    @property
    def mode(self) -> Tensor:
        """Each layer at its mean, given those before it at theirs."""
        return self.walk(torch.Size(), None, lambda layer: layer.mean).z

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.walk(torch.Size(sample_shape), None, DiagonalNormal.rsample).z

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample(sample_shape)

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        walk = self.walk(torch.Size(sample_shape), None, DiagonalNormal.rsample)
        return walk.z, self._log_prob(walk)

    def rsample_and_kl(self) -> tuple[Tensor, Tensor]:
        """z (*batch, D) and by layer its KL from the prior given the layers before (*batch, L)."""
        walk = self.walk(torch.Size(), None, DiagonalNormal.rsample)
        return walk.z, walk.kl().reshape(*self.batch_shape, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        extra = value.ndim - 1 - len(self.batch_shape)
        return self._log_prob(self.walk(value.shape[:extra], value, DiagonalNormal.rsample))

    def _log_prob(self, walk: LayerPass) -> Tensor:
        parts = zip(walk.layers, self.parts(walk.z), strict=True)
        total = torch.stack([layer.log_prob(z) for layer, z in parts]).sum(0)
        return total.reshape(walk.z.shape[:-1])
