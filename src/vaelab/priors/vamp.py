"""The VampPrior, a mixture of posteriors of learned pseudo-inputs: `prior=vamp`.

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
from vaelab.runtime.seeding import Stream, seeded_generator


class Vamp(Prior):
    """p(z) = 1/K sum_k q(z|u_k). With all training images as u it is q(z), the best prior there is.

    The pseudo-inputs u (K, *shape) are kept within the range of the images they start from.

    Arguments:
        components: K. They start at training images.
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
        if posterior.density and not posterior.random:
            raise ValueError(
                f"prior=vamp is a mixture of posteriors, but those of {type(posterior).__name__} "
                "are points: set prior=codes or pixelcnn"
            )
        if not posterior.exact_density:
            raise ValueError(
                "prior=vamp asks for the density of every code under the posterior of other "
                f"images, where {type(posterior).__name__} has rounding errors without bound: set "
                "another prior=, or posterior=diagonal"
            )
        if posterior.relaxed:
            raise ValueError(
                "prior=vamp asks for the density of the codes it is trained on, which "
                f"{type(posterior).__name__} relaxes: set prior=categorical"
            )

    def check_encoder(self, encoder: nn.Module) -> None:
        if any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in encoder.modules()):
            raise ValueError(
                "prior=vamp encodes its pseudo-inputs, whose statistics batch normalization would "
                "mix with those of the images: set model.normalization=group"
            )

    def forward(self, encode: Callable[..., Distribution]) -> MixtureSameFamily:
        return make_mixture(self.uniform, encode(_Clamp.apply(self.inputs, *self.range)))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        chosen = torch.randperm(len(x), generator=seeded_generator(Stream.SPLIT, len(x)))
        repeats = -(-len(self.inputs) // len(x))
        self.inputs.copy_(x[chosen.repeat(repeats)[: len(self.inputs)]])
        self.range.copy_(torch.stack([x.min(), x.max()]))


class _Clamp(torch.autograd.Function):
    """clamp, with a gradient outside too where it points back inside.

    Without it a pixel that has once gone past the edge, where bits begin, would stay there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(x, low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (x, low, high) = gradients, ctx.saved_tensors
        out = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))  # descent leads away
        return gradient.masked_fill(out, 0), None, None
