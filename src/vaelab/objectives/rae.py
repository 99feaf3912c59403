"""A regularised autoencoder without noise: `objective=rae`.

Reference: From Variational to Deterministic Autoencoders (Ghosh et al., 2020), equations 4 to 8,
arXiv:1903.12436
"""

import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from vaelab.objectives.autoencoder import Autoencoder
from vaelab.objectives.base import check_not_negative, normalize_spectrally

if TYPE_CHECKING:
    from vaelab.vae import VAE

Regularizer = Literal["l2", "gradient_penalty", "spectral_norm", "none"]


class RAE(Autoencoder):
    """reconstruction + embedding |z|^2 / 2 + weight * R, R keeping the decoder smooth.

    There is no prior that samples come from: one is fitted to the codes afterwards.

    Arguments:
        embedding: beta in the paper.
        weight: lambda in the paper.
        regularizer: R. l2 is |theta|^2 / 2 of the decoder's weights; gradient_penalty is
            |d mean / d z|^2 / 2 in the Frobenius norm, from one random direction; spectral_norm
            keeps every layer's largest singular value at 1 instead, and has no weight.
    """

    monitor = "val/objective"

    def __init__(
        self, embedding: float = 0.1, weight: float = 0.01, regularizer: Regularizer = "l2"
    ):
        super().__init__()
        check_not_negative(embedding=embedding, weight=weight)
        self.embedding, self.weight = embedding, weight
        self.regularizer: Regularizer = regularizer

    def prepare(self, vae: "VAE") -> None:
        super().prepare(vae)
        if vae.posterior.density:
            raise ValueError("objective=rae has no noise in its codes: set posterior=deterministic")
        if self.regularizer == "spectral_norm":
            for layer in [each for each in vae.decoder.modules() if _is_linear(each)]:
                normalize_spectrally(layer)

    def forward(self, vae: "VAE", x: Tensor, step: int) -> dict[str, Tensor]:
        z = vae.encode(x).rsample()
        reconstruction = -vae.decode(z).log_prob(x)
        embedding = z.square().sum(-1) / 2
        smoothness = self._smoothness(vae, z)
        loss = reconstruction + self.embedding * embedding + self.weight * smoothness
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "embedding": embedding,
            "smoothness": smoothness,
            "objective": -loss,
        }

    def _smoothness(self, vae: "VAE", z: Tensor) -> Tensor:
        if self.regularizer == "l2":
            return _squares(vae.decoder)
        if self.regularizer == "gradient_penalty":
            return _slope(vae, z)
        return z.new_zeros(())


def _squares(module: nn.Module) -> Tensor:
    return torch.stack([weight.square().sum() for weight in module.parameters()]).sum() / 2


def _is_linear(layer: nn.Module) -> bool:
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 1


def _slope(vae: "VAE", z: Tensor) -> Tensor:
    """|J|^2 / 2 (B,) of the decoder's mean: E |J v|^2 = |J|^2 for v ~ N(0, I)."""
    v = torch.randn_like(z)
    with warnings.catch_warnings(), torch.inference_mode(False):  # in which older torch says 0
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        with forward_ad.dual_level():  # torch.func.jvp allows no running statistics
            mean = vae.decode(forward_ad.make_dual(z + 0, v + 0)).mean
            slope: Any = forward_ad.unpack_dual(mean).tangent
    return slope.square().flatten(1).sum(1) / 2
