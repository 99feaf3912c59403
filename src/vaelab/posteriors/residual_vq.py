"""Residual vector quantization, a sum of codes of several codebooks: `posterior=residual_vq`.

References:
    Autoregressive Image Generation using Residual Quantization (Lee et al., 2022), section 3.1,
    arXiv:2203.01941
    HiFi-Codec: Group-residual Vector quantization for High Fidelity Audio Codec (Yang et al.,
    2023), arXiv:2305.02765, for groups
"""

from typing import Any

import torch
from torch import Tensor, nn

from vaelab.distributions.codebook import ResidualCodes
from vaelab.posteriors.base import check_count
from vaelab.posteriors.quantizer import Quantizer, check_is_multiple
from vaelab.posteriors.vq import VQ
from vaelab.runtime.errors import UserError


class ResidualVQ(Quantizer):
    """The point mass at several codes for each vector of the encoder output.

    The encoder output is split into vectors v of length dim, and each vector into `groups` parts.
    Level 1 has the code nearest to a part, and level l the code nearest to what the levels before
    it left over:

        r_1 = v,    e_l = the code of codebook l nearest to r_l,    r_{l+1} = r_l - e_l

    z consists of the codes of all levels, so that it determines its indices; the decoder gets their
    sums. Each level of each group has a codebook, which is learned as that of `VQ`.

    Arguments:
        latent_dim: The length of z, a multiple of dim depth: `depth` times the number of encoder
            outputs and of decoder inputs.
        codes: The number of codes K in each codebook.
        dim: The length of the vectors that are quantized.
        depth: The number of levels.
        groups: The number of parts of a vector, each with codebooks of its own.
        decay, epsilon, revive: See `VQ`.

    Raises:
        UserError: If the sizes do not match or an argument is out of range.
    """

    def __init__(
        self,
        latent_dim: int,
        codes: int = 512,
        dim: int = 5,
        depth: int = 4,
        groups: int = 1,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        revive: float = 0.03,
    ):
        super().__init__()
        check_count("codes", codes)
        check_count("dim", dim)
        check_count("depth", depth)
        check_count("groups", groups)
        if dim % groups:
            raise UserError(
                f"posterior.groups={groups} must divide posterior.dim={dim}: change one of them"
            )
        check_is_multiple(
            latent_dim, dim * depth, f"posterior.dim={dim} times posterior.depth={depth}"
        )
        self.inputs = self.decoder_inputs = latent_dim // depth
        self.codes, self.dim, self.depth, self.groups = codes, dim, depth, groups
        self.books = depth * groups
        size = self.inputs // groups
        self.layers = nn.ModuleList(  # in the order of the codes of a position: by group and level
            VQ(size, codes, self.code_length, decay, epsilon, revive) for _ in range(self.books)
        )

    @property
    def code_length(self) -> int:
        return self.dim // self.groups

    def forward(self, out: Tensor) -> ResidualCodes:
        codebook = self.get_codebook()  # a copy from before the update
        indices = []
        for group, part in enumerate(self._split_groups(out.detach())):
            for layer in self._get_levels(group):
                q = layer(part)
                indices.append(q.indices)
                part = part - q.loc
        return ResidualCodes(out, torch.stack(indices, -1).flatten(-2), codebook, self.depth)

    def get_codebook(self) -> Tensor:
        codebooks = torch.stack([layer.codebook for layer in self.layers])  # type: ignore[misc]
        return codebooks if self.books > 1 else codebooks[0]

    def embed(self, z: Tensor) -> Tensor:
        """Return the sums (*, latent_dim / depth) of the codes of all levels."""
        return z.unflatten(-1, (-1, self.depth, self.code_length)).sum(-2).flatten(-2)

    @torch.no_grad()
    def initialize(self, out: Tensor) -> None:
        """Initialize each codebook with vectors that the levels before it leave over."""
        for group, part in enumerate(self._split_groups(out)):
            for layer in self._get_levels(group):
                layer.initialize(part)
                part = part - layer(part).loc

    def _get_levels(self, group: int) -> list[Any]:
        """Return the layers of a group, each a VQ."""
        return list(self.layers)[group * self.depth : (group + 1) * self.depth]

    def _split_groups(self, out: Tensor) -> list[Tensor]:
        """Split encoder outputs (*, n dim) into the parts (*, n code_length) of each group."""
        parts = self._split(out).unflatten(-1, (self.groups, -1))
        return [part.flatten(-2) for part in parts.unbind(-2)]
