"""The plain autoencoder, without a KL: `objective=autoencoder`.

Reference: Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov,
2006)
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vaelab.objectives.base import Objective, check_prior_is_fixed

if TYPE_CHECKING:
    from vaelab.vae import VAE


class Autoencoder(Objective):
    """The reconstruction error alone, at one sample of z for each image.

        loss = -log p(x|z),    z ~ q(z|x)

    The loss is not a bound on log p(x), so no ELBO is logged.
    """

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
