"""Sampling one code after the other from an autoregressive prior: `sampler=autoregressive`.

Reference: Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016),
arXiv:1606.05328
"""

from typing import Any

import torch
from torch import Tensor

from vaelab.priors.pixelcnn import PixelCNN
from vaelab.priors.transformer import Transformer
from vaelab.runtime.errors import UserError
from vaelab.samplers.base import Sampler
from vaelab.vae import VAE


class AutoregressiveSampler(Sampler):
    """Samples code indices c_i ~ p(c_i | c_1 ... c_{i-1}) and looks up their codebook vectors.

    The temperature divides the logits of p. The sampler is for runs with prior=pixelcnn or
    prior=transformer and is not fitted.
    """

    needs_fit = False
    p: Any

    def prepare(self, vae: VAE) -> None:
        if not isinstance(vae.prior, PixelCNN | Transformer):
            raise UserError(
                f"sampler=autoregressive: {type(vae.prior).__name__}, the prior of this run, is "
                "not autoregressive: set sampler=prior"
            )
        if not self.temperature > 0:
            raise UserError(
                f"temperature={self.temperature}: sampler=autoregressive divides the logits by "
                "it, so it must be above 0"
            )
        self.p = vae.latents()

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        return self.p.sample(torch.Size([n]), temperature=self.temperature)
