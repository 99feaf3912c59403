"""The VampPrior, a mixture of the posteriors of learned pseudo-inputs: `prior=vamp`.

Reference: VAE with a VampPrior (Tomczak and Welling, 2018), equation 9, arXiv:1705.07120
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MixtureSameFamily

from vaelab.distributions.mixture import make_mixture
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior, check_at_least_one
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_generator


class Vamp(Prior):
    """The prior p(z) = 1/K sum_k q(z|u_k) with pseudo-inputs u (K, *shape).

    If the pseudo-inputs are all training images, p(z) is the aggregate posterior q(z), which is the
    prior with the highest ELBO on them. The pseudo-inputs are clamped to the range of the training
    images.

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x.
        components: K. The pseudo-inputs are initialized with training images.

    Raises:
        UserError: If components is below 1.
    """

    support = None
    uniform: Tensor
    range: Tensor

    def __init__(self, latent_dim: int, shape: Sequence[int], components: int = 500):
        super().__init__(latent_dim, shape)
        check_at_least_one(components=components)
        self.inputs = nn.Parameter(torch.rand(components, *self.shape))
        self.register_buffer("uniform", torch.zeros(components), persistent=False)
        self.register_buffer("range", torch.tensor([0.0, 1.0]))

    def prepare(self, posterior: Posterior) -> None:
        if posterior.has_density and not posterior.is_random:
            raise UserError(
                f"prior=vamp is a mixture of posteriors, but those of {type(posterior).__name__} "
                "are points: set prior=codes or prior=pixelcnn"
            )
        if not posterior.has_exact_density:
            raise UserError(
                "prior=vamp needs the density of every z under the posteriors of other images, "
                f"but the density of {type(posterior).__name__} has unbounded rounding errors "
                "there: set another prior=, or posterior=diagonal"
            )
        if posterior.is_relaxed:
            raise UserError(
                "prior=vamp needs the density of the samples that it is trained on, but "
                f"{type(posterior).__name__} relaxes its samples: set prior=categorical"
            )

    def check_encoder(self, encoder: nn.Module) -> None:
        if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in encoder.modules()):
            raise UserError(
                "prior=vamp encodes pseudo-inputs, and batch normalization would mix their "
                "statistics with those of the images: set model.normalization=group"
            )

    def forward(self, encode: Callable[..., Distribution]) -> MixtureSameFamily:
        return make_mixture(self.uniform, encode(_Clamp.apply(self.inputs, *self.range)))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        order = torch.randperm(len(x), generator=seeded_generator(Stream.SPLIT, len(x)))
        repeats = -(-len(self.inputs) // len(x))
        self.inputs.copy_(x[order.repeat(repeats)[: len(self.inputs)]])
        self.range.copy_(torch.stack([x.min(), x.max()]))


class _Clamp(torch.autograd.Function):
    """torch.clamp, but values outside the range keep a gradient that moves them back into it.

    Binary images start at the ends of the range. With torch.clamp, a pseudo-input pixel that has
    left the range would have no gradient and could never return.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(x, low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (x, low, high) = gradients, ctx.saved_tensors
        moves_away = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))  # by descent
        return gradient.masked_fill(moves_away, 0), None, None
