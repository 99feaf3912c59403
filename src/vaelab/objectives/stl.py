"""The path derivative gradient ("sticking the landing"): `objective=stl`.

Reference: Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational
Inference (Roeder et al., 2017), equation 6, arXiv:1703.09194
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaelab.kl.base import KLWeighting
from vaelab.objectives.base import importance_terms
from vaelab.objectives.iwae import IWAE
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE


class STL(IWAE):
    """The bound L_K of IWAE, with the path derivative for the encoder phi.

        d L_K / d phi = sum_k v_k (d log w_k / d z_k) (d z_k / d phi),    v_k = w_k / sum_j w_j

    The full gradient also has the score terms -v_k d log q(z_k|x) / d phi at fixed z_k. For one
    sample the score term has mean 0, and its noise remains even where q(z|x) is the exact
    posterior; without it, the gradient is 0 for every sample there. For more samples the path
    derivative is biased (Tucker et al., 2019); objective=dreg is not.

    Arguments:
        kl: The weighting of the KL.
        samples: K.
    """

    supports_layers = False

    def __init__(self, kl: KLWeighting, samples: int = 1):
        super().__init__(kl, samples)

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if not vae.posterior.has_exact_density:
            raise UserError(
                f"{type(self).__name__} needs the gradient of log q(z|x) with respect to z, in "
                f"which {type(vae.posterior).__name__} has unbounded rounding errors: set "
                "objective=elbo or iwae, or posterior=diagonal"
            )

    def sample_importance_terms(
        self, vae: "VAE", x: Tensor, samples: int, weight: float
    ) -> tuple[Tensor, Tensor]:
        q, frozen_q = vae.encode_with_frozen_copy(x)
        z = q.rsample(torch.Size([samples]))
        log_p, kl = importance_terms(vae, x, z, frozen_q.log_prob(z), vae.latents())
        if z.requires_grad:
            normalised = (log_p - weight * kl).detach().softmax(0)
            factors = self.gradient_factors(normalised, weight)
            z.register_hook(lambda gradient: gradient * factors.unsqueeze(-1))
        return log_p, kl

    def gradient_factors(self, normalised: Tensor, weight: float) -> Tensor:
        """Return the factors (samples, B) of the gradient with respect to each sample z_k.

        Arguments:
            normalised: v_k (samples, B), the importance weights divided by their sum.
            weight: The weight of the KL.
        """
        return torch.ones_like(normalised)
