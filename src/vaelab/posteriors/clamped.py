"""A diagonal normal whose log variance is clamped: `posterior=clamped`.

Reference: High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022),
appendix G, arXiv:2112.10752
"""

from torch import Tensor

from vaelab.distributions.normal import DiagonalNormal
from vaelab.posteriors.diagonal import Diagonal


class Clamped(Diagonal):
    """The posterior q(z|x) = N(z; m(x), diag(s(x)^2)) with log s^2 clamped to 2 [-bound, bound].

    The encoder outputs log s^2, as in the autoencoders of latent diffusion, so that their weights
    mean the same here. Beyond the bound, log s^2 has no gradient.
    """

    def forward(self, out: Tensor) -> DiagonalNormal:
        mean, log_variance = out.chunk(2, dim=-1)
        return DiagonalNormal(mean, (log_variance / 2).clamp(-self.bound, self.bound))
