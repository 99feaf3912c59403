"""The path derivative ("sticking the landing"): `objective=stl`.

Reference: Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational
Inference (Roeder et al., 2017), equation 6, arXiv:1703.09194
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import importance_terms
from vaelab.objectives.iwae import IWAE

if TYPE_CHECKING:
    from vaelab.vae import VAE


class STL(IWAE):
    """L_K, whose gradient by the encoder leaves out d log q(z|x) at fixed z.

    What is left out has mean 0 for one draw, and its noise does not vanish where q is the
    posterior: there this gradient is 0 in every draw. For more draws than one it is biased
    (Tucker et al., 2019): objective=dreg is not.
    """

    layers = False

    def __init__(self, kl: KLWeighting, samples: int = 1):
        super().__init__(kl, samples)

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if not vae.posterior.exact_density:
            raise ValueError(
                f"{type(self).__name__} asks for the slope of log q(z|x) at given z, where "
                f"{type(vae.posterior).__name__} has rounding errors without bound: set "
                "objective=elbo or iwae, or posterior=diagonal"
            )

    def draw(self, vae: "VAE", x: Tensor, samples: int, weight: float) -> tuple[Tensor, Tensor]:
        q, fixed_q = vae.encode_with_frozen_copy(x)
        z = q.rsample(torch.Size([samples]))
        log_p, kl = importance_terms(vae, x, z, fixed_q.log_prob(z), vae.latents())
        if z.requires_grad:
            factors = self.factors((log_p - weight * kl).detach().softmax(0), weight)
            z.register_hook(lambda gradient: gradient * factors.unsqueeze(-1))
        return log_p, kl

    def factors(self, normalised: Tensor, weight: float) -> Tensor:
        """What the gradient by each draw is multiplied by, given the weights normalised over k."""
        return torch.ones_like(normalised)
