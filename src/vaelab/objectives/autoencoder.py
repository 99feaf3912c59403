"""Reconstruction alone, without a KL: `objective=autoencoder`.

Reference: Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov,
2006)
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import Objective, check_prior_is_fixed

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Autoencoder(Objective):
    """loss = -log p(x|z) at one z of q(z|x). Nothing bounds log p(x), so no ELBO is logged."""

    monitor = "val/log_p"

    def prepare(self, vae: "VAE") -> None:
        check_prior_is_fixed(vae, self)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        reconstruction = -vae.decode(vae.encode(x).rsample()).log_prob(x)
        return {
            "loss": reconstruction,
            "reconstruction": reconstruction,
            "log_p": -reconstruction,
        }
