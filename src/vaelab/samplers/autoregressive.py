"""An autoregressive prior, drawn one code after the other: `sampler=autoregressive`.

Reference: Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016),
arXiv:1606.05328
"""

from typing import Any

import torch
from torch import Tensor

from vaelab.priors.pixelcnn import PixelCNN
from vaelab.samplers.base import Sampler
from vaelab.vae import VAE


class AutoregressiveSampler(Sampler):
    """c_i ~ p(c_i | c_1 ... c_{i-1}) with its logits divided by the temperature, then their codes.

    For a run with prior=pixelcnn; it needs no codes of images.
    """

    fitted = False
    p: Any

    def prepare(self, vae: VAE) -> None:
        if not isinstance(vae.prior, PixelCNN):
            raise ValueError(
                f"sampler=autoregressive: {type(vae.prior).__name__}, the prior of this run, is "
                "not autoregressive: set sampler=prior"
            )
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: logits are divided by it, above 0")
        self.p = vae.latents()

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        return self.p.sample(torch.Size([n]), temperature=self.temperature)
