"""The regularised autoencoder with deterministic latents: `objective=rae`.

Reference: From Variational to Deterministic Autoencoders (Ghosh et al., 2020), equations 4 to 8,
arXiv:1903.12436
"""

import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from vaelab.objectives.autoencoder import Autoencoder
from vaelab.objectives.base import apply_spectral_norm, check_non_negative
from vaelab.runtime.errors import UserError

if TYPE_CHECKING:
    from vaelab.vae import VAE

Regularizer = Literal["l2", "gradient_penalty", "spectral_norm", "none"]


class RAE(Autoencoder):
    """Reconstruction, plus a penalty on the latents and a regularizer R of the decoder.

        loss = -log p(x|z) + embedding |z|^2 / 2 + weight * R

    Training fits no prior. To sample images, fit a density to the latents afterwards (sampler=).

    Arguments:
        embedding: The weight of the penalty on the latents, beta in the paper.
        weight: The weight of R, lambda in the paper.
        regularizer: `l2`: R = |theta|^2 / 2 of the decoder's parameters. `gradient_penalty`:
            R = |J|^2 / 2 in the Frobenius norm, J = d E[p(x|z)] / d z, estimated from one random
            direction. `spectral_norm`: R = 0, and the largest singular value of every layer of the
            decoder is 1. `none`: R = 0.

    Raises:
        UserError: If a weight is negative or not finite.
    """

    monitor = "val/objective"

    def __init__(
        self, embedding: float = 0.1, weight: float = 0.01, regularizer: Regularizer = "l2"
    ):
        super().__init__()
        check_non_negative(embedding=embedding, weight=weight)
        self.embedding, self.weight = embedding, weight
        self.regularizer: Regularizer = regularizer

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if vae.posterior.has_density:
            raise UserError(
                "objective=rae needs deterministic latents, but the posterior is "
                f"{type(vae.posterior).__name__}: set posterior=deterministic"
            )
        if self.regularizer == "spectral_norm":
            for layer in [module for module in vae.decoder.modules() if _has_weight_matrix(module)]:
                apply_spectral_norm(layer)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z = vae.encode(x).rsample()
        reconstruction = -vae.decode(z).log_prob(x)
        embedding = z.square().sum(-1) / 2
        smoothness = self._regularize(vae, z)
        loss = reconstruction + self.embedding * embedding + self.weight * smoothness
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "embedding": embedding,
            "smoothness": smoothness,
            "objective": -loss,
        }

    def _regularize(self, vae: "VAE", z: Tensor) -> Tensor:
        """Compute R, (B,) for the gradient penalty and () otherwise."""
        if self.regularizer == "l2":
            return _half_squared_norm(vae.decoder)
        if self.regularizer == "gradient_penalty":
            return _gradient_penalty(vae, z)
        return z.new_zeros(())


def _half_squared_norm(module: nn.Module) -> Tensor:
    """Compute |theta|^2 / 2 () of all parameters."""
    return torch.stack([weight.square().sum() for weight in module.parameters()]).sum() / 2


def _has_weight_matrix(layer: nn.Module) -> bool:
    """True for linear and convolutional layers, whose weight has two or more dimensions."""
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 1


def _gradient_penalty(vae: "VAE", z: Tensor) -> Tensor:
    """Estimate |J|^2 / 2 (B,) of the decoder's mean from one direction v for each image.

    E |J v|^2 = |J|^2,    v ~ N(0, I)
    """
    v = torch.randn_like(z)
    with warnings.catch_warnings(), torch.inference_mode(False):  # there older torch returns 0
        warnings.simplefilter("ignore", FutureWarning)  # raised inside torch
        with forward_ad.dual_level():  # torch.func.jvp does not allow running statistics
            mean = vae.decode(forward_ad.make_dual(z + 0, v + 0)).mean
            jvp: Any = forward_ad.unpack_dual(mean).tangent
    return jvp.square().flatten(1).sum(1) / 2
