"""Joint distributions of several stochastic layers of latents."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaelab.distributions.normal import DiagonalNormal

LayerSampler = Callable[[DiagonalNormal], Tensor]  # returns z_l, such as a sample or the mean


def _raise_no_kl() -> Tensor:
    raise NotImplementedError("only the layers of q(z|x) have a KL divergence, not those of p(z)")


class LayerPass(NamedTuple):
    """The result of one pass through all layers.

    Attributes:
        z: The concatenated layers (*, D).
        layers: The distribution of each layer given the preceding layers, over rows (N, d) with
            N = prod(*).
        kl: Returns the KL divergence of q(z|x) from p(z) by layer (N, L). It is a function because
            only the ELBO needs the result. For p(z) it raises NotImplementedError.
    """

    z: Tensor
    layers: list[DiagonalNormal]
    kl: Callable[[], Tensor] = _raise_no_kl


class HierarchicalNormal(Distribution):
    """The joint distribution of L layers, each a diagonal normal given the preceding layers.

    log p(z) = sum_l log p(z_l | the preceding layers).

    Arguments:
        run_layers: A function of the sample shape, z and a LayerSampler that runs a LayerPass. If z
            (*, D) is None, the LayerSampler returns the z_l of each layer from its distribution.
        split_layers: A function that splits z (*, D) into layers (N, d), in the order of
            `LayerPass.layers`.
        zeros: (*batch, D), which sets the batch and event shape.
    """

    has_rsample = True
    support: Any = constraints.real_vector

    def __init__(
        self,
        run_layers: Callable[[torch.Size, Tensor | None, LayerSampler], LayerPass],
        split_layers: Callable[[Tensor], list[Tensor]],
        zeros: Tensor,
    ):
        self.run_layers, self.split_layers, self.zeros = run_layers, split_layers, zeros
        super().__init__(zeros.shape[:-1], zeros.shape[-1:], validate_args=False)

    @property
    def mode(self) -> Tensor:
        """The mean of each layer given the means of the preceding layers (*batch, D)."""
        return self.run_layers(torch.Size(), None, lambda layer: layer.mean).z

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.run_layers(torch.Size(sample_shape), None, DiagonalNormal.rsample).z

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self.rsample(sample_shape)

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:  # noqa: B008
        """Sample z (*sample_shape, *batch, D) and compute its log density in the same pass."""
        layer_pass = self.run_layers(torch.Size(sample_shape), None, DiagonalNormal.rsample)
        return layer_pass.z, self._log_prob(layer_pass)

    def rsample_and_kl(self) -> tuple[Tensor, Tensor]:
        """Sample z (*batch, D) and estimate KL(q(z|x) || p(z)) by layer (*batch, L) from it."""
        layer_pass = self.run_layers(torch.Size(), None, DiagonalNormal.rsample)
        return layer_pass.z, layer_pass.kl().reshape(*self.batch_shape, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        sample_dims = value.ndim - 1 - len(self.batch_shape)
        sample_shape = value.shape[:sample_dims]
        return self._log_prob(self.run_layers(sample_shape, value, DiagonalNormal.rsample))

    def _log_prob(self, layer_pass: LayerPass) -> Tensor:
        pairs = zip(layer_pass.layers, self.split_layers(layer_pass.z), strict=True)
        total = torch.stack([layer.log_prob(z) for layer, z in pairs]).sum(0)
        return total.reshape(layer_pass.z.shape[:-1])
